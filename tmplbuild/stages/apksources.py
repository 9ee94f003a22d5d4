"""What apk reads: /etc/apk/repositories, a line a repository (apk-repositories(5)).

A signature names its key by the name of the file in /etc/apk/keys, which a recipe does not know: the package
with the keys brings that file, or `configure.files` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tmplbuild.core.tree import Tree
from tmplbuild.recipes.model import Archive

_REPOSITORIES = "/etc/apk/repositories"


def write(tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes]) -> list[str]:
    """See `tmplbuild.stages.configure.Writer`."""
    for path in tree.glob("/etc/apk/repositories.d/*"):
        tree.remove(path)
    tree.write(_REPOSITORIES, lines(archives), mode=0o644)
    return [_REPOSITORIES]


def lines(archives: Mapping[str, Archive]) -> str:
    """The repositories; apk adds the architecture's directory, with which a suite's name ends, by itself."""
    return "".join(
        f"{archive.public.rstrip('/')}/{suite.rpartition('/')[0]}\n"
        for archive in archives.values()
        for suite in archive.suites
    )
