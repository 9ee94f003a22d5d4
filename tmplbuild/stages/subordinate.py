"""Subordinate ids of a new account: what rootless containers in the container run as, subuid(5).

useradd(8) gives them where the distribution has /etc/subuid and /etc/subgid, to people alone, out of the
range that login.defs(5) names (SUB_UID_MIN and the like).
"""

from __future__ import annotations

import re

from tmplbuild.core.tree import Tree

_DEFAULTS = {"MIN": 100_000, "MAX": 600_100_000, "COUNT": 65_536}
_PEOPLE = {"UID_MIN": 1000, "UID_MAX": 60_000}


def give(tree: Tree, name: str, uid: int) -> None:
    """Give a new account its ranges, unless it has some."""
    defs = _defs(tree)
    first, last = (defs.get(key, value) for key, value in _PEOPLE.items())
    if not first <= uid <= last:
        return
    for kind in ("UID", "GID"):
        path = f"/etc/sub{kind.lower()}"
        least, most, count = (defs.get(f"SUB_{kind}_{key}", value) for key, value in _DEFAULTS.items())
        if not tree.is_file(path) or count <= 0:
            continue
        text = tree.read_text(path)
        rows = [row for line in text.split("\n") if len(row := line.split(":")) == 3]
        taken = [(int(at), int(many)) for _, at, many in rows if at.isdecimal() and many.isdecimal()]
        start = _free(taken, least, most, count)
        if start is not None and not any(row[0] in (name, str(uid)) for row in rows):
            tree.write(path, f"{text}{name}:{start}:{count}\n")


def _free(taken: list[tuple[int, int]], least: int, most: int, count: int) -> int | None:
    """Where the first gap of this size begins; None where there is none."""
    start = least
    for at, many in sorted(taken):
        if at - start >= count:
            break
        start = max(start, at + many)
    return start if start + count - 1 <= most else None


def _defs(tree: Tree) -> dict[str, int]:
    """The numbers in login.defs, which openSUSE keeps below /usr."""
    found: dict[str, int] = {}
    for path in ("/usr/etc/login.defs", "/etc/login.defs"):
        text = tree.read_text(path) if tree.is_file(path) else ""
        for key, value in re.findall(r"(?m)^[ \t]*(\w+)[ \t]+(\d{1,10})[ \t]*$", text):
            found[key] = int(value)
    return found
