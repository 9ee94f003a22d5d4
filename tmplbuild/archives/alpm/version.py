"""Versions as pacman orders them: [EPOCH:]VERSION[-RELEASE], vercmp(8)."""

from __future__ import annotations

import re

_WORD = re.compile(r"[0-9]+|[A-Za-z]+")
_SIGNS = "".join(chr(code) for code in range(128) if not chr(code).isalnum())


def compare(one: str, other: str) -> int:
    """Below, equal to or above 0, as `one` is older than, as new as, or newer than `other`. Releases count
    only where both have one."""
    one, other = (text.encode("ascii", "replace").decode() for text in (one, other))
    (epoch1, version1, release1), (epoch2, version2, release2) = _split(one), _split(other)
    order = _compare(epoch1, epoch2) or _compare(version1, version2)
    if order or release1 is None or release2 is None:
        return order
    return _compare(release1, release2)


def _split(text: str) -> tuple[str, str, str | None]:
    epoch, colon, rest = text.partition(":")
    if not colon or not epoch.isdigit():
        epoch, rest = "0", text
    version, dash, release = rest.rpartition("-")
    return (epoch, version, release) if dash else (epoch, rest, None)


def _compare(one: str, other: str) -> int:
    while one and other:
        (gap1, one), (gap2, other) = _gap(one), _gap(other)
        if not one or not other:
            break
        if gap1 != gap2:
            return -1 if gap1 < gap2 else 1
        (word1, one), (word2, other) = _word(one), _word(other)
        if order := _alike(word1, word2):
            return order
    # What goes on is newer, unless it goes on with letters: 1.0 is newer than 1.0rc1, and older than 1.0.a.
    if not one and not other:
        return 0
    return -1 if (not one and not other[0].isalpha()) or one[:1].isalpha() else 1


def _gap(text: str) -> tuple[int, str]:
    """How many signs come first, and the rest."""
    rest = text.lstrip(_SIGNS)
    return len(text) - len(rest), rest


def _word(text: str) -> tuple[str, str]:
    """The digits or the letters that come first, and the rest."""
    found = _WORD.match(text)
    assert found is not None
    return found[0], text[found.end() :]


def _alike(one: str, other: str) -> int:
    if one[0].isdigit() != other[0].isdigit():
        return 1 if one[0].isdigit() else -1
    if one[0].isdigit():
        return (int(one) > int(other)) - (int(one) < int(other))
    return (one > other) - (one < other)


def satisfies(version: str, operator: str, bound: str) -> bool:
    """Whether a version fits a condition; operators are <, <=, =, >=, >."""
    order = compare(version, bound)
    return (
        (order == 0 and "=" in operator) or (order < 0 and "<" in operator) or (order > 0 and ">" in operator)
    )
