"""What apk reads: /etc/apk/repositories, a line a repository (apk-repositories(5)), and /etc/apk/keys.

A signature names its key by the name of the file there. The package with the distribution's keys brings it;
of an archive with keys of its own the recipe says the name (`vendor`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tmplbuild.core.tree import Tree
from tmplbuild.recipes.lending import with_own_keys
from tmplbuild.recipes.model import Archive

_REPOSITORIES = "/etc/apk/repositories"
_KEYS = "/etc/apk/keys"


def write(tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes]) -> list[str]:
    """See `tmplbuild.stages.configure.Writer`."""
    for path in tree.glob("/etc/apk/repositories.d/*"):
        tree.remove(path)
    tree.write(_REPOSITORIES, lines(archives), mode=0o644)
    keys = _keys(archives, beside)
    for path, key in keys.items():
        tree.write(path, key, mode=0o644)
    return [_REPOSITORIES, *keys]


def lent(
    tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes]
) -> dict[str, str | bytes]:
    """See `tmplbuild.stages.borrowed.Lender`. apk reads no list that is not signed."""
    own = {role: with_own_keys(archive) for role, archive in archives.items()}
    text = tree.read_text(_REPOSITORIES) if tree.is_file(_REPOSITORIES) else ""
    return {_REPOSITORIES: text + lines(archives), **_keys(own, beside)}


def lines(archives: Mapping[str, Archive]) -> str:
    """The repositories; apk adds the architecture's directory, with which a suite's name ends, by itself."""
    return "".join(
        f"{archive.public.rstrip('/')}/{suite.rpartition('/')[0]}".rstrip("/") + "\n"
        for archive in archives.values()
        for suite in archive.suites
    )


def _keys(archives: Mapping[str, Archive], beside: Callable[[str], bytes]) -> dict[str, bytes]:
    return {
        f"{_KEYS}/{archive.vendor}": beside(f"keys/{archive.keys[0]}.pub")
        for archive in archives.values()
        if archive.own_keys
    }
