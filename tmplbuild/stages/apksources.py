"""What apk reads: /etc/apk/repositories, a line a repository (apk-repositories(5)), and keys in
/etc/apk/keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tmplbuild.core.tree import Tree
from tmplbuild.recipes.model import Archive

_REPOSITORIES = "/etc/apk/repositories"
_KEYS = "/etc/apk/keys"


def write(tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes]) -> list[str]:
    """See `tmplbuild.stages.configure.Writer`."""
    for path in tree.glob("/etc/apk/repositories.d/*"):
        tree.remove(path)
    made = [_REPOSITORIES]
    for archive in archives.values():
        for key in archive.keys if archive.own_keys else ():
            made.append(f"{_KEYS}/{key}.rsa.pub")
            tree.write(made[-1], beside(f"keys/{key}.pub"), mode=0o644)
    tree.write(_REPOSITORIES, lines(archives), mode=0o644)
    return made


def lines(archives: Mapping[str, Archive]) -> str:
    """The repositories; apk adds the architecture's directory, with which a suite's name ends, by itself."""
    return "".join(
        f"{archive.public.rstrip('/')}/{suite.rpartition('/')[0]}\n"
        for archive in archives.values()
        for suite in archive.suites
    )
