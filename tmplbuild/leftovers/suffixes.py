"""Which names are leftovers of which package manager, and what they hold.

    manager    new version beside the file   old version beside the file       unfinished
    dpkg       .dpkg-dist                     .dpkg-old -bak -backup -remove    .dpkg-new .dpkg-tmp
    ucf        .ucf-dist                      .ucf-old (.merge-error: neither)  .ucf-new
    rpm        .rpmnew                        .rpmsave .rpmorig                 ;HEX
    pacman     .pacnew                        .pacsave[.N] .pacorig             .part in its cache
    apk        .apk-new                                                        .apk.HEX
    slackware  .new                           .orig

dpkg(1), dpkg-maintscript-helper(1), ucf(1), rpm(8), pacman(8) "Handling config files", apk-tools'
database.c, Slackware's doinst.sh and slackpkg(8).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Side = Literal["new", "old", "waste", "unfinished"]
"""`new`: the version that a package brought. `old`: the one that was in use before. `waste`: neither,
a by-product. `unfinished`: a temporary name, which must not outlive its transaction."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A name that a package manager made: `base` is the file that it stands beside."""

    path: str
    base: str
    side: Side
    manager: str
    suffix: str


_F = r"(?P<base>.*/[^/]+?)"

_TABLE: dict[str, tuple[tuple[Side, str], ...]] = {
    "dpkg": (
        ("new", _F + r"(?P<suffix>\.dpkg-dist)"),
        ("old", _F + r"(?P<suffix>\.dpkg-(old|bak|backup|remove))"),
        ("unfinished", _F + r"(?P<suffix>\.dpkg-(new|tmp))"),
    ),
    "ucf": (
        ("new", _F + r"(?P<suffix>\.ucf-dist)"),
        ("old", _F + r"(?P<suffix>\.ucf-old)"),
        ("waste", _F + r"(?P<suffix>\.merge-error)"),
        ("unfinished", _F + r"(?P<suffix>\.ucf-new)"),
    ),
    "rpm": (
        ("new", _F + r"(?P<suffix>\.rpmnew)"),
        ("old", _F + r"(?P<suffix>\.rpm(save|orig))"),
        ("unfinished", _F + r"(?P<suffix>;[0-9a-f]{8})"),
    ),
    "pacman": (
        ("new", _F + r"(?P<suffix>\.pacnew)"),
        ("old", _F + r"(?P<suffix>\.pac(save(\.\d+)?|orig))"),
        ("unfinished", r"(?P<base>/var/cache/pacman/pkg/.+?)(?P<suffix>\.part)"),
    ),
    "apk": (
        ("new", _F + r"(?P<suffix>\.apk-new)"),
        ("unfinished", r"(?P<base>.*/)(?P<suffix>\.apk\.[0-9a-f]{20,})"),
    ),
    "slackware": (
        ("new", _F + r"(?P<suffix>\.new)"),
        ("old", _F + r"(?P<suffix>\.orig)"),
    ),
}

MANAGERS = tuple(_TABLE)


class Names:
    """The names that are leftovers of a recipe's package managers.

    Parameters:
        managers: whose names are known (see the table above).
        suffixes: further endings; the side is that of the manager who uses such an ending, "waste"
            for one that nobody is known to use.
        unfinished: further endings of unfinished transactions.
    """

    def __init__(
        self, managers: Sequence[str], suffixes: Sequence[str] = (), unfinished: Sequence[str] = ()
    ) -> None:
        self._rules = [
            (name, side, re.compile(pattern, re.DOTALL))
            for name in managers
            for side, pattern in _TABLE[name]
        ]
        for suffix in unfinished:
            self._rules.append(("", "unfinished", _ending(suffix)))
        for suffix in suffixes:
            name, side = known(suffix)
            self._rules.append((name, side, _ending(suffix)))
        endings = {rule.pattern.partition("(?P<suffix>")[2] for _, _, rule in self._rules}
        self._likely = re.compile("|".join(f"(?:{ending}\\Z" for ending in sorted(endings)), re.DOTALL)

    def read(self, path: str) -> Leftover | None:
        """What the name of a file says, None for an ordinary one."""
        if not self._likely.search(path):  # of nearly all; the rules themselves take a while
            return None
        for manager, side, pattern in self._rules:
            if match := pattern.fullmatch(path):
                return Leftover(path, match["base"], side, manager, match["suffix"])
        return None


def known(suffix: str) -> tuple[str, Side]:
    """The manager that uses an ending, and the side it stands for; ("", "waste") if nobody does."""
    for manager, rules in _TABLE.items():
        for side, pattern in rules:
            if re.fullmatch(pattern, f"/etc/x{suffix}", re.DOTALL):
                return manager, side
    return "", "waste"


def _ending(suffix: str) -> re.Pattern[str]:
    return re.compile(_F + f"(?P<suffix>{re.escape(suffix)})", re.DOTALL)
