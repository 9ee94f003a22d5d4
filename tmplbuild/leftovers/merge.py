"""Three versions of a text into one, line by line (the idea is diff3(1)'s).

Lines that all three versions share stand still. Between two such places there is a region: where
only one side changed it, the change is taken; where both made the same change, it is taken once;
where they differ, it is a conflict. Changes that touch each other are one region.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

MAX_PAIRS = 2_000_000
"""Pairs of equal lines that are looked at (about a second's work). Texts that have more, since they are
long and all lines are alike, count as changed between the first difference and the last."""


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

    Data that are no text (a NUL byte) are one conflict, unless one side is as it was or both are equal.
    """
    if ours == theirs or theirs == base:
        return Merged(ours)
    if ours == base:
        return Merged(theirs)
    if b"\0" in base + ours + theirs:
        return Merged(None, (Conflict((base,), (ours,), (theirs,)),))
    out: list[bytes] = []
    conflicts: list[Conflict] = []
    for was, we, they in _regions(lines_of(base), lines_of(ours), lines_of(theirs)):
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
    """(place in base, in other, lines) of what the two have in common, in order."""
    most = min(len(base), len(other))
    head = _equal(base, other, most)
    tail = _equal(base[::-1], other[::-1], most - head)
    inner, others = base[head : len(base) - tail], other[head : len(other) - tail]
    found = [(0, 0, head), (len(base) - tail, len(other) - tail, tail)]
    counts = Counter(others)
    if sum(counts[line] for line in inner) <= MAX_PAIRS:
        matcher = SequenceMatcher(None, inner, others, autojunk=False)
        blocks = matcher.get_matching_blocks()
        found[1:1] = [(head + block.a, head + block.b, block.size) for block in blocks]
    return [row for row in found if row[2]]


def _equal(one: list[bytes], other: list[bytes], most: int) -> int:
    """How many lines the two begin with alike, at most `most`."""
    return next((at for at in range(most) if one[at] != other[at]), most)
