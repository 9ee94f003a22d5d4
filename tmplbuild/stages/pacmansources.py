"""What pacman reads: sections of pacman.conf, and /etc/pacman.d/mirrorlist, which the distribution's include.

Keys of an archive's own are a keyring beside the distribution's: `pacman-key --populate` reads all of them,
pacman-key(8).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tmplbuild.core.tree import Tree
from tmplbuild.recipes.model import Archive

_MIRRORS = "/etc/pacman.d/mirrorlist"
_CONF = "/etc/pacman.conf"
_KEYRINGS = "/usr/share/pacman/keyrings"


def write(tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes]) -> list[str]:
    """See `tmplbuild.stages.configure.Writer`. The package's pacman.conf stays, with a section more for each
    repository of the recipe that it has none for: those of the first archive use the mirror list."""
    text = tree.read_text(_CONF) if tree.is_file(_CONF) else ""
    lines = text.splitlines()
    first = next(iter(archives))
    more = "".join(
        f"\n[{name}]\n" + (f"Include = {_MIRRORS}\n" if role == first else f"Server = {server}\n")
        for role, archive in archives.items()
        for name, server in _repositories(archive).items()
        if f"[{name}]" not in lines
    )
    made = [_MIRRORS]
    if more:
        tree.write(_CONF, text + more, mode=0o644)
        made.append(_CONF)
    tree.write(_MIRRORS, servers(archives[first]), mode=0o644)
    for role, archive in archives.items():
        if archive.own_keys:
            ring = f"{_KEYRINGS}/{role}"
            tree.write(f"{ring}.gpg", beside(f"keys/{archive.keyring}"), mode=0o644)
            tree.write(f"{ring}-trusted", "".join(f"{key}:4:\n" for key in archive.keys), mode=0o644)
            made += [f"{ring}.gpg", f"{ring}-trusted"]
    return made


def lent(tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes]) -> dict[str, str]:
    """See `tmplbuild.stages.borrowed.Lender`."""
    text = tree.read_text(_CONF) if tree.is_file(_CONF) else ""
    more = "".join(
        f"\n[{name}]\nSigLevel = Never\nServer = {server}\n"
        for archive in archives.values()
        for name, server in _repositories(archive).items()
    )
    return {_CONF: text + more}


def servers(archive: Archive) -> str:
    """A line for each place of a repository below the address; $repo stands for its name, $arch for Arch's
    word."""
    rows: dict[str, None] = {}
    for suite in archive.suites:
        rows[f"Server = {archive.public.rstrip('/')}/$repo/{suite.partition('/')[2]}\n"] = None
    return "".join(rows)


def _repositories(archive: Archive) -> dict[str, str]:
    """The address of each repository, by its name."""
    address = archive.public.rstrip("/")
    return {suite.partition("/")[0]: f"{address}/{suite}" for suite in archive.suites}
