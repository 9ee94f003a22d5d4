"""The order of Debian versions, deb-version(7): `[epoch:]upstream[-revision]`.

`key` turns a version into something that Python compares the right way, so that `max`, `sorted`
and `<` just work.
"""

from __future__ import annotations

import re
from functools import lru_cache

Part = tuple[tuple[int, ...], tuple[int, str]]
Key = tuple[tuple[int, str], tuple[Part, ...], tuple[Part, ...]]

_PAIRS = re.compile(r"([^0-9]*)([0-9]*)")
_NOTHING: Part = ((0,), (0, ""))
_RELATIONS = frozenset(("<<", "<=", "=", ">=", ">>"))


def _weight(sign: str) -> int:
    """A sign's place in the order: `~` before the end of the part, letters, then all else."""
    if sign == "~":
        return -1
    return ord(sign) if sign.isascii() and sign.isalpha() else ord(sign) + 256


def _number(digits: str) -> tuple[int, str]:
    # length first, then text: the numeric order without int(), which refuses very long numbers
    bare = digits.lstrip("0")
    return len(bare), bare


def _parts(text: str) -> tuple[Part, ...]:
    parts = [
        ((*(_weight(sign) for sign in word), 0), _number(digits)) for word, digits in _PAIRS.findall(text)
    ]
    while len(parts) > 1 and parts[-1] == _NOTHING:  # "0" stays: it is what no text at all counts as
        parts.pop()
    return (*parts, _NOTHING)  # the end itself takes part in the comparison: "1~" < "1"


@lru_cache(maxsize=16384)
def key(version: str) -> Key:
    """The place of `version` in the order; equal keys are equal versions ("1.0" and "0:1.00-0")."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "", version
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return _number(epoch), _parts(upstream), _parts(revision)


def compare(left: str, right: str) -> int:
    """-1, 0 or 1 as `left` is older than, equal to or newer than `right`."""
    a, b = key(left), key(right)
    return (a > b) - (a < b)


def satisfies(have: str, relation: str, wanted: str) -> bool:
    """Whether version `have` meets `relation` ("<<", "<=", "=", ">=", ">>", "" for any) to `wanted`."""
    if relation not in _RELATIONS:
        return True
    order = compare(have, wanted)
    return {"<<": order < 0, "<=": order <= 0, "=": order == 0, ">=": order >= 0, ">>": order > 0}[relation]
