"""Set-versions: the symbols that a library exports, or a program wants, packed into a version.

`set:` + one letter for the bits a value has (bpp, 10..32 as d..z) + one for the Golomb-Rice
parameter (M, 7..31 as a..y, below bpp) + base62 text. The text's bits, lowest first in each digit,
are Golomb-Rice codes: zeros for value >> M, a one, then the low M bits, lowest first. The values are
the differences between the sorted hashes of the symbols' names. `Z` in the text is an escape: it
stands for 61, 62 or 63 by the two high bits of the next digit, whose low four bits follow.

Format and meaning: ALT's rpm (lib/set.c). A provided set satisfies a wanted one if it holds all of
it; sets of different bpp are compared by the bits that both have.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable

PREFIX = "set:"
_MAX_TEXT = 1 << 20
_MIN_BPP, _MAX_BPP = 10, 32
_MIN_M, _MAX_M = 7, 31

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ESCAPE = 61
_PIECE = re.compile(r"Z?[0-9a-zA-Z]")


def _lowest_first(value: int, width: int) -> str:
    return format(value, f"0{width}b")[::-1]


def _pieces() -> dict[str, str]:
    """The bits that each digit, and each escape with its digit, stands for."""
    table = {digit: _lowest_first(value, 6) for value, digit in enumerate(_DIGITS[:_ESCAPE])}
    for value in range(48):
        high, low = divmod(value, 16)
        table["Z" + _DIGITS[value]] = _lowest_first(_ESCAPE + high, 6) + _lowest_first(low, 4)
    return table


_BITS = _pieces()


def is_set(version: str) -> bool:
    """Whether a version is a set-version."""
    return version.startswith(PREFIX)


def decode(version: str) -> tuple[int, frozenset[int]]:
    """The bits a value has, and the values, of a set-version.

    Raises ValueError for what no encoder makes.
    """
    text = version.removeprefix(PREFIX)
    bpp, shift = _parameters(text)
    values: list[int] = []
    value = 0
    for delta in _golomb(_bits(text[2:]), shift):
        if values and not delta:
            raise ValueError("a set-version holds a value twice")
        value += delta
        if value >> bpp:
            raise ValueError("a set-version holds a value that has too many bits")
        values.append(value)
    return bpp, frozenset(values)


class _Decoded:
    """Sets that were decoded, the least used forgotten: a library's is compared with what each of its
    users wants. Bounded by the values it holds, some 80 bytes each."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._found: OrderedDict[str, tuple[int, frozenset[int]]] = OrderedDict()

    def decode(self, version: str) -> tuple[int, frozenset[int]]:
        """As `decode`."""
        found = self._found.get(version)
        if found is not None:
            self._found.move_to_end(version)
            return found
        found = self._found[version] = decode(version)
        self._count += len(found[1])
        while self._count > self._limit and len(self._found) > 1:
            self._count -= len(self._found.popitem(last=False)[1][1])
        return found


_provided = _Decoded(1_500_000)


def compare(provided: str, wanted: str) -> int | None:
    """1, 0, -1 as `provided` holds more than, the same as or a part of `wanted`; None if neither
    holds the other, or one of them cannot be decoded."""
    try:
        have_bpp, have = _provided.decode(provided)
        want_bpp, want = decode(wanted)
    except ValueError:
        return None
    bpp = min(have_bpp, want_bpp)
    have, want = _reduced(have, have_bpp, bpp), _reduced(want, want_bpp, bpp)
    if have == want:
        return 0
    if have > want:
        return 1
    return -1 if have < want else None


def lacking(provided: str, wanted: str) -> int:
    """How many of the wanted values `provided` lacks. Raises ValueError."""
    have_bpp, have = decode(provided)
    want_bpp, want = decode(wanted)
    bpp = min(have_bpp, want_bpp)
    return len(_reduced(want, want_bpp, bpp) - _reduced(have, have_bpp, bpp))


def encode(values: Iterable[int], bpp: int) -> str:
    """The set-version of some values below 2**bpp.

    Raises ValueError for no values, a value out of range, or a `bpp` that is not in 10..32.
    """
    ordered = sorted(set(values))
    if not _MIN_BPP <= bpp <= _MAX_BPP:
        raise ValueError(f"{bpp} bits a value: 10 to 32 can be written")
    if not ordered or ordered[0] < 0 or ordered[-1] >> bpp:
        raise ValueError("a set-version holds one value at least, each below 2**bpp")
    shift = min(max(bpp - (len(ordered).bit_length() - 1) - 1, _MIN_M), _MAX_M)
    bits = []
    before = 0
    for value in ordered:
        delta, before = value - before, value
        bits.append("0" * (delta >> shift) + "1" + _lowest_first(delta & ((1 << shift) - 1), shift))
    return PREFIX + _letter(bpp) + _letter(shift) + _base62("".join(bits))


def of_symbols(symbols: Iterable[str], bpp: int) -> str:
    """The set-version of symbols' names. Raises ValueError as `encode` does."""
    mask = (1 << bpp) - 1
    return encode((_hash(symbol.encode()) & mask for symbol in symbols), bpp)


def _hash(name: bytes) -> int:
    """Bob Jenkins's one-at-a-time hash, 32 bits, with the start value that ALT's rpm uses."""
    value = 0x9E3779B9
    for byte in name:
        value = (value + byte) & 0xFFFFFFFF
        value = (value + (value << 10)) & 0xFFFFFFFF
        value ^= value >> 6
    value = (value + (value << 3)) & 0xFFFFFFFF
    value ^= value >> 11
    return (value + (value << 15)) & 0xFFFFFFFF


def _reduced(values: frozenset[int], have: int, bpp: int) -> frozenset[int]:
    if have == bpp:
        return values
    mask = (1 << bpp) - 1
    return frozenset(value & mask for value in values)


def _letter(number: int) -> str:
    return chr(ord("a") + number - 7)


def _parameters(text: str) -> tuple[int, int]:
    if not 3 <= len(text) <= _MAX_TEXT:
        raise ValueError("a set-version is too short or too long")
    bpp, shift = ord(text[0]) - ord("a") + 7, ord(text[1]) - ord("a") + 7
    if not _MIN_BPP <= bpp <= _MAX_BPP or not _MIN_M <= shift <= _MAX_M or shift >= bpp:
        raise ValueError("a set-version has parameters out of range")
    return bpp, shift


def _bits(text: str) -> str:
    pieces = _PIECE.findall(text)
    if sum(map(len, pieces)) != len(text):
        raise ValueError("a set-version holds a sign that is no base62 digit")
    try:
        return "".join([_BITS[piece] for piece in pieces])
    except KeyError:
        raise ValueError("a set-version holds a broken escape") from None


def _golomb(bits: str, shift: int) -> list[int]:
    values = []
    at, end = 0, len(bits)
    while at < end:
        one = bits.find("1", at)
        if one < 0:
            if end - at > 5:  # more than can fill up the last digit
                raise ValueError("a set-version ends in too many zeros")
            break
        low = bits[one + 1 : one + 1 + shift]
        if len(low) < shift:
            raise ValueError("a set-version is cut short")
        values.append((one - at) << shift | int(low[::-1], 2))
        at = one + 1 + shift
    return values


def _base62(bits: str) -> str:
    text = []
    at, high = 0, 0
    width = 6
    while at < len(bits):
        value = high | int(bits[at : at + width][::-1], 2)
        at += width
        if value < _ESCAPE:
            text.append(_DIGITS[value])
            high, width = 0, 6
        else:
            text.append(_DIGITS[_ESCAPE])
            high, width = (value - _ESCAPE) << 4, 4
    if width == 4:
        text.append(_DIGITS[high])
    return "".join(text)
