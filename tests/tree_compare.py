"""Comparing two root file systems path by path."""

from __future__ import annotations

import fnmatch
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tmplbuild.core import Tree


@dataclass(frozen=True)
class Fact:
    """All that is compared of one path."""

    type: str
    mode: int
    uid: int
    gid: int
    link: str
    content: bytes
    xattrs: tuple[tuple[str, bytes], ...]


def facts(tree: Tree) -> dict[str, Fact]:
    """Every path of a tree."""
    found: dict[str, Fact] = {}
    for path, state in tree.walk("/"):
        kind = stat.filemode(state.st_mode)[0]
        found[path] = Fact(
            type=kind,
            mode=0 if kind == "l" else stat.S_IMODE(state.st_mode),
            uid=state.st_uid,
            gid=state.st_gid,
            link=tree.readlink(path) if kind == "l" else "",
            content=tree.read_bytes(path) if kind == "-" else b"",
            xattrs=tuple(tree.xattrs(path).items()),
        )
    return found


@dataclass(frozen=True)
class Allowed:
    """A difference that may be: paths (fnmatch), what differs ("ours", "theirs": only there), why."""

    paths: str
    what: str
    why: str


def lines(raw: bytes) -> object:
    """A file in which the order of the lines means nothing."""
    return sorted(raw.splitlines())


def stanzas(raw: bytes) -> object:
    """A file in which the order of the stanzas means nothing."""
    return sorted(re.split(rb"\n\n+", raw.strip()))


Reader = Callable[[bytes], object]


def compare(
    ours: Mapping[str, Fact],
    theirs: Mapping[str, Fact],
    allowed: tuple[Allowed, ...],
    unordered: Mapping[str, Reader],
) -> tuple[list[str], set[Allowed]]:
    """The differences that are not allowed, one line each; and those of `allowed` that occurred.

    Parameters:
        unordered: how the content of some paths is read before it is compared.
    """
    unlisted: list[str] = []
    used: set[Allowed] = set()
    for path in sorted({*ours, *theirs}):
        for what, told in _differences(ours.get(path), theirs.get(path), unordered.get(path)):
            row = next(
                (one for one in allowed if what in one.what.split() and _matches(path, one.paths)), None
            )
            if row is None:
                unlisted.append(f"{path}: {what} {told}")
            else:
                used.add(row)
    return unlisted, used


def _differences(one: Fact | None, other: Fact | None, reader: Reader | None) -> list[tuple[str, str]]:
    if one is None or other is None:
        return [("theirs" if one is None else "ours", "")]
    found = []
    for name in ("type", "mode", "uid", "gid", "link", "xattrs"):
        left, right = getattr(one, name), getattr(other, name)
        if left != right:
            found.append((name, f"{left!r} / {right!r}"))
    if one.content != other.content and (reader is None or reader(one.content) != reader(other.content)):
        found.append(("content", f"{len(one.content)} / {len(other.content)} bytes"))
    return found


def _matches(path: str, patterns: str) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns.split())
