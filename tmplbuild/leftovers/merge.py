"""Three versions of a text into one, line by line (the idea is diff3(1)'s).

Lines that all three versions share stand still. Between two such places there is a region: where
only one side changed it, the change is taken; where both made the same change, it is taken once;
where they differ, it is a conflict. Changes that touch each other are one region.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

MAX_LINES = 20_000
"""Longer texts are not compared: the time grows with the square, and no configuration is that long."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A region that both sides changed, differently."""

    base: tuple[bytes, ...]
    ours: tuple[bytes, ...]
    theirs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Merged:
    """What came of a merge: `text` is None when there are conflicts."""

    text: bytes | None
    conflicts: tuple[Conflict, ...] = ()


def merge(base: bytes, ours: bytes, theirs: bytes) -> Merged:
    """Merge the changes of `ours` and `theirs` since `base`.

    Data that are no text (a NUL byte) and texts of more than MAX_LINES lines are one conflict,
    unless one side is as it was or both are equal.
    """
    if ours == theirs or theirs == base:
        return Merged(ours)
    if ours == base:
        return Merged(theirs)
    texts = [lines_of(text) for text in (base, ours, theirs)]
    if b"\0" in base + ours + theirs or max(map(len, texts)) > MAX_LINES:
        return Merged(None, (Conflict((base,), (ours,), (theirs,)),))
    out: list[bytes] = []
    conflicts: list[Conflict] = []
    for was, we, they in _regions(*texts):
        if we == they or they == was:
            out += we
        elif we == was:
            out += they
        else:
            conflicts.append(Conflict(tuple(was), tuple(we), tuple(they)))
    return Merged(None, tuple(conflicts)) if conflicts else Merged(b"".join(out))


def lines_of(text: bytes) -> list[bytes]:
    """The lines with their newlines; only a newline ends a line."""
    lines = text.split(b"\n")
    last = lines.pop()
    return [line + b"\n" for line in lines] + ([last] if last else [])


_Region = tuple[Sequence[bytes], Sequence[bytes], Sequence[bytes]]


def _regions(base: list[bytes], ours: list[bytes], theirs: list[bytes]) -> Iterator[_Region]:
    """Stable and changed regions in turn; put together, each version is whole again."""
    at_base = at_ours = at_theirs = 0
    for start, we, they, size in _stable(base, ours, theirs):
        yield base[at_base:start], ours[at_ours:we], theirs[at_theirs:they]
        yield base[start : start + size], ours[we : we + size], theirs[they : they + size]
        at_base, at_ours, at_theirs = start + size, we + size, they + size
    yield base[at_base:], ours[at_ours:], theirs[at_theirs:]


def _stable(base: list[bytes], ours: list[bytes], theirs: list[bytes]) -> Iterator[tuple[int, int, int, int]]:
    """(place in base, in ours, in theirs, lines) of every run that all three have."""
    left, right = _matches(base, ours), _matches(base, theirs)
    i = j = 0
    while i < len(left) and j < len(right):
        a, b = left[i], right[j]
        start, end = max(a[0], b[0]), min(a[0] + a[2], b[0] + b[2])
        if start < end:
            yield start, a[1] + start - a[0], b[1] + start - b[0], end - start
        if a[0] + a[2] <= b[0] + b[2]:
            i += 1
        else:
            j += 1


def _matches(base: list[bytes], other: list[bytes]) -> list[tuple[int, int, int]]:
    matcher = SequenceMatcher(None, base, other, autojunk=False)
    return [(block.a, block.b, block.size) for block in matcher.get_matching_blocks() if block.size]
