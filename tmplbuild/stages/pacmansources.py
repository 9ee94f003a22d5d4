"""What pacman reads: /etc/pacman.d/mirrorlist, which the sections of pacman.conf include."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tmplbuild.core.tree import Tree
from tmplbuild.recipes.model import Archive

_MIRRORS = "/etc/pacman.d/mirrorlist"
_CONF = "/etc/pacman.conf"


def write(tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes]) -> list[str]:
    """See `tmplbuild.stages.configure.Writer`. The package's pacman.conf stays, with a section more for each
    repository of the recipe that it has none for."""
    text = tree.read_text(_CONF) if tree.is_file(_CONF) else ""
    lines = text.splitlines()
    names = [suite.partition("/")[0] for archive in archives.values() for suite in archive.suites]
    more = [name for name in dict.fromkeys(names) if f"[{name}]" not in lines]
    made = [_MIRRORS]
    if more:
        sections = "".join(f"\n[{name}]\nInclude = {_MIRRORS}\n" for name in more)
        tree.write(_CONF, text + sections, mode=0o644)
        made.append(_CONF)
    tree.write(_MIRRORS, servers(archives), mode=0o644)
    return made


def servers(archives: Mapping[str, Archive]) -> str:
    """A line for each place of a repository below an address; $repo stands for its name, $arch for Arch's
    word."""
    rows: dict[str, None] = {}
    for archive in archives.values():
        for suite in archive.suites:
            rows[f"Server = {archive.public.rstrip('/')}/$repo/{suite.partition('/')[2]}\n"] = None
    return "".join(rows)
