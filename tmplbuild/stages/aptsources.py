"""What apt reads on Debian and its kin: sources.list(5) in either style, and archives' own keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tmplbuild.core.tree import Tree
from tmplbuild.recipes.lending import with_own_keys
from tmplbuild.recipes.model import Archive

_PARTS = "/etc/apt/sources.list.d"
_KEYRINGS = "/etc/apt/keyrings"


def write_list(tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes]) -> list[str]:
    """Write /etc/apt/sources.list as the only one; see `tmplbuild.stages.configure.Writer`."""
    for path in tree.glob("/etc/apt/sources.list.d/*"):
        tree.remove(path)
    tree.write("/etc/apt/sources.list", one_line_style(archives), mode=0o644)
    return ["/etc/apt/sources.list", *_write_keys(tree, archives, beside)]


def write_deb822(tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes]) -> list[str]:
    """Write /etc/apt/sources.list.d/NAME.sources as the only one; see `tmplbuild.stages.configure.Writer`."""
    for path in ["/etc/apt/sources.list", *tree.glob("/etc/apt/sources.list.d/*")]:
        tree.remove(path)
    path = f"/etc/apt/sources.list.d/{next(iter(archives))}.sources"
    tree.write(path, deb822_style(archives, _keyring(tree)), mode=0o644)
    return [path, *_write_keys(tree, archives, beside)]


def lent(
    tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes]
) -> dict[str, str | bytes]:
    """See `tmplbuild.stages.borrowed.Lender`."""
    own = {role: with_own_keys(archive) for role, archive in archives.items()}
    return {f"{_PARTS}/tmplbuild-borrowed.sources": deb822_style(own, ""), **_keys(own, beside)}


def _write_keys(tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes]) -> list[str]:
    """Give the tree the certificates of archives that come with keys of their own."""
    found = _keys(archives, beside)
    for path, certificate in found.items():
        tree.write(path, certificate, mode=0o644)
    return list(found)


def _keys(archives: Mapping[str, Archive], beside: Callable[[str], bytes]) -> dict[str, bytes]:
    return {
        path: beside(f"keys/{key}.asc")
        for role, archive in archives.items()
        for key, path in zip(archive.keys, _own_keys(role, archive), strict=False)
    }


def _own_keys(role: str, archive: Archive) -> list[str]:
    if not archive.own_keys:
        return []
    return [f"{_KEYRINGS}/{role}-{key}.asc" for key in archive.keys]


def one_line_style(archives: Mapping[str, Archive]) -> str:
    """`deb [ signed-by=FILE,... ] URI SUITE COMPONENT...` lines."""
    rows = []
    for role, archive in archives.items():
        own = ",".join(_own_keys(role, archive))
        options = f"[ signed-by={own} ] " if own else ""
        rows += [
            f"deb {options}{archive.public} {suite} {' '.join(archive.components)}\n"
            for suite in archive.suites
        ]
    return "".join(rows)


def deb822_style(archives: Mapping[str, Archive], keyring: str) -> str:
    """One stanza an archive.

    Parameters:
        keyring: the distribution's own keyring in the tree; none where empty.
    """
    stanzas = []
    for role, archive in archives.items():
        rows = {
            "Types": "deb",
            "URIs": archive.public,
            "Suites": " ".join(archive.suites),
            "Components": " ".join(archive.components),
            "Signed-By": " ".join(_own_keys(role, archive)) or keyring,
        }
        stanzas.append("".join(f"{key}: {value}\n" for key, value in rows.items() if value))
    return "\n".join(stanzas)


def _keyring(tree: Tree) -> str:
    """The distribution's keyring in the tree, if its package brought one."""
    found = [*tree.glob("/usr/share/keyrings/*-archive-keyring.pgp")]
    found += tree.glob("/usr/share/keyrings/*-archive-keyring.gpg")
    return found[0] if found else ""
