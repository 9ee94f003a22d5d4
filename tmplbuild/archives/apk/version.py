"""Alpine's versions: how they are ordered, and when one fits a condition.

The form is DIGITS{.DIGITS}{LETTER}{_SUFFIX{DIGITS}}{~HASH}{-rDIGITS}; apk-package(5), "PACKAGE METADATA",
and the table of cases that apk-tools ships for its own tests.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TypeAlias

_TOKEN = re.compile(
    r"(?P<digits>\.\d+)|(?P<letter>[a-z])|_(?P<suffix>[a-z]+)(?P<number>\d*)|~(?P<hash>[0-9a-f]+)|-r(?P<revision>\d+)"
)
_SUFFIXES = ("alpha", "beta", "pre", "rc", "", "cvs", "svn", "git", "hg", "p")
_PLAIN = _SUFFIXES.index("")

# The kinds of parts, in the order in which they may come. Where one version goes on and the other does
# not, or they go on differently, the kind decides: what comes earlier in this list is the greater one.
_FIRST, _DIGITS, _LETTER, _SUFFIX, _NUMBER, _HASH, _REVISION, _END = range(8)

_Part: TypeAlias = tuple[int, str]


@lru_cache(maxsize=65536)
def _parts(version: str) -> tuple[_Part, ...]:
    """The parts of a version. Raises ValueError for what is none."""
    head = re.match(r"\d+", version)
    if head is None:
        raise ValueError(f"not a version: {version!r}")
    parts: list[_Part] = [(_FIRST, head[0])]
    at = head.end()
    while at < len(version):
        found = _TOKEN.match(version, at)
        if found is None:
            raise ValueError(f"not a version: {version!r}")
        at = found.end()
        for part in _of(found):
            if part[0] < parts[-1][0] and not (part[0] == _SUFFIX and parts[-1][0] == _NUMBER):
                raise ValueError(f"not a version: {version!r}")
            if part[0] == parts[-1][0] and part[0] not in (_DIGITS, _SUFFIX):
                raise ValueError(f"not a version: {version!r}")
            parts.append(part)
    return (*parts, (_END, ""))


def _of(found: re.Match[str]) -> list[_Part]:
    if found["digits"] is not None:
        return [(_DIGITS, found["digits"][1:])]
    if found["letter"] is not None:
        return [(_LETTER, found["letter"])]
    if found["suffix"] is not None:
        if found["suffix"] not in _SUFFIXES:
            raise ValueError(f"not a version's suffix: {found['suffix']!r}")
        number = [(_NUMBER, found["number"])] if found["number"] else []
        return [(_SUFFIX, found["suffix"]), *number]
    if found["hash"] is not None:
        return [(_HASH, found["hash"])]
    return [(_REVISION, found["revision"])]


def is_version(text: str) -> bool:
    """Whether a text is a version."""
    try:
        _parts(text)
    except ValueError:
        return False
    return True


def compare(one: str, other: str, *, fuzzy: bool = False) -> int:
    """Below, equal to or above 0, as `one` is older than, as new as, or newer than `other`.

    Parameters:
        fuzzy: `one` is equal where it begins with all parts of `other`.

    Raises ValueError for what is no version.
    """
    left, right = _parts(one), _parts(other)
    for a, b in zip(left, right, strict=False):
        if a[0] != b[0]:
            return 0 if fuzzy and b[0] == _END else _unlike(a, b)
        if order := _alike(a, b):
            return order
    return 0


def _alike(a: _Part, b: _Part) -> int:
    kind, one, other = a[0], a[1], b[1]
    if kind == _SUFFIX:
        return _SUFFIXES.index(one) - _SUFFIXES.index(other)
    # with a zero in front they are fractions: 1.09 is before 1.1
    as_text = kind in (_LETTER, _HASH, _END) or (kind == _DIGITS and "0" in (one[0], other[0]))
    if as_text:
        return (one > other) - (one < other)
    return (int(one) > int(other)) - (int(one) < int(other))


def _unlike(a: _Part, b: _Part) -> int:
    """The order of versions that are the same up to here, and go on in different ways."""
    if a[0] == _SUFFIX and _SUFFIXES.index(a[1]) < _PLAIN:
        return -1
    if b[0] == _SUFFIX and _SUFFIXES.index(b[1]) < _PLAIN:
        return 1
    return b[0] - a[0]


def satisfies(version: str, operator: str, bound: str) -> bool:
    """Whether a version fits a condition such as ">=1.2"; operators are made of <, >, = and ~."""
    order = compare(version, bound, fuzzy="~" in operator)
    if order == 0:
        return "=" in operator or "~" in operator
    return (">" if order > 0 else "<") in operator
