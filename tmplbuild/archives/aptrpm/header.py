"""RPM headers: tagged values behind an index (rpm's file format, "Header structure").

A header is eight bytes of magic, the number of index entries and of data bytes, the entries (tag,
type, offset, count), the data. The index of a header is checked when the header is opened; a value
is read, and checked, when it is asked for. Nothing is trusted: an offset, a count or a missing NUL
that is wrong is a VerifyError that names the byte.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from tmplbuild.errors import VerifyError

MAGIC = b"\x8e\xad\xe8\x01\0\0\0\0"
PREAMBLE = 16
ENTRY = 16

CHAR, INT8, INT16, INT32, INT64, STRING, BINARY, STRINGS, I18N = range(1, 10)

# the tags that are read here (rpmtag.h; apt's own from a million up)
NAME, VERSION, RELEASE, EPOCH = 1000, 1001, 1002, 1003
BUILDTIME, SIZE, GROUP, ARCH, SOURCERPM = 1006, 1009, 1016, 1022, 1044
PROVIDENAME, PROVIDEFLAGS, PROVIDEVERSION = 1047, 1112, 1113
REQUIREFLAGS, REQUIRENAME, REQUIREVERSION = 1048, 1049, 1050
CONFLICTFLAGS, CONFLICTNAME, CONFLICTVERSION = 1053, 1054, 1055
OBSOLETENAME, OBSOLETEFLAGS, OBSOLETEVERSION = 1090, 1114, 1115
DIRINDEXES, BASENAMES, DIRNAMES = 1116, 1117, 1118
DISTTAG, SOURCEPACKAGE = 1155, 1106
RECOMMENDNAME, RECOMMENDVERSION, RECOMMENDFLAGS = 5046, 5047, 5048
SUPPLEMENTNAME, SUPPLEMENTVERSION, SUPPLEMENTFLAGS = 5052, 5053, 5054
APT_FILENAME, APT_FILESIZE, APT_MD5, APT_SHA256 = 1000000, 1000001, 1000005, 1000007
APT_BLAKE2B, APT_DIRECTORY = 1000009, 1000010

_MAX_ENTRIES = 0xFFFF  # rpm's own limit
_MAX_COUNT = 1 << 20
_FIXED = {INT16: ("H", 2), INT32: ("I", 4), INT64: ("Q", 8)}
_WIDTH = {0: 0, CHAR: 1, INT8: 1, INT16: 2, INT32: 4, INT64: 8, STRING: 1, BINARY: 1, STRINGS: 1, I18N: 1}
_SIZES = struct.Struct(">II")


class Malformed(VerifyError):
    """An RPM header that is not one."""

    def __init__(self, where: str, at: int, why: str) -> None:
        super().__init__("an RPM header cannot be read", where=where, why=f"the header at byte {at}: {why}")


class Header:
    """One header within `data`.

    Parameters:
        data: bytes (or a view of a memory map) that hold it.
        at: where it begins.
        where: what the data are, for messages.

    Raises VerifyError for an index that does not fit.
    """

    __slots__ = ("_index", "_start", "at", "data", "end", "where")

    def __init__(self, data: bytes | memoryview, at: int, where: str) -> None:
        self.data = view = memoryview(data)
        self.at = at
        self.where = where
        entries, size = preamble(view, at, where)
        start = self._start = at + PREAMBLE + entries * ENTRY
        self.end = start + size
        index = {}
        for tag, kind, offset, count in struct.iter_unpack(">IIII", view[at + PREAMBLE : start]):
            width = _WIDTH.get(kind)
            if width is None or offset > size or count * width > size - offset:
                raise Malformed(where, at, f"tag {tag} reaches beyond the data, or has an unknown type")
            index[tag] = (kind, offset, count)
        self._index = index

    def __contains__(self, tag: int) -> bool:
        return tag in self._index

    def tags(self) -> list[int]:
        """The tags that there are, in the order of the index."""
        return list(self._index)

    def text(self, tag: int) -> str:
        """A string, "" where there is none. Bytes that are no UTF-8 are kept as surrogates."""
        return self.raw(tag).decode("utf-8", "surrogateescape")

    def raw(self, tag: int) -> bytes:
        """A string's bytes, b"" where there is none (of a translated one, the first)."""
        found = self._index.get(tag)
        if found is None:
            return b""
        kind, offset, count = found
        if kind not in (STRING, I18N, STRINGS) or not count:
            raise self.bad(f"tag {tag} is no string")
        if kind == STRING and count != 1:
            raise self.bad(f"tag {tag} is {count} strings where one belongs")
        return self._split(tag, offset, 1)[0]

    def strings(self, tag: int) -> list[bytes]:
        """The strings of an array, an empty list where there is none."""
        found = self._index.get(tag)
        if found is None:
            return []
        kind, offset, count = found
        if kind not in (STRING, I18N, STRINGS):
            raise self.bad(f"tag {tag} is no array of strings")
        return self._split(tag, offset, count)

    def texts(self, tag: int) -> list[str]:
        """As `strings`, decoded as `text` decodes."""
        return [value.decode("utf-8", "surrogateescape") for value in self.strings(tag)]

    def numbers(self, tag: int) -> tuple[int, ...]:
        """The numbers of an array, an empty tuple where there is none."""
        found = self._index.get(tag)
        if found is None:
            return ()
        kind, offset, count = found
        start = self._start + offset
        if kind in (CHAR, INT8):
            return tuple(self.data[start : start + self._bounded(tag, count)])
        if kind not in _FIXED:
            raise self.bad(f"tag {tag} holds no numbers")
        letter = _FIXED[kind][0]
        return struct.unpack_from(f">{self._bounded(tag, count)}{letter}", self.data, start)

    def number(self, tag: int) -> int | None:
        """One number, None where there is none."""
        values = self.numbers(tag)
        if not values:
            return None
        if len(values) > 1:
            raise self.bad(f"tag {tag} is {len(values)} numbers where one belongs")
        return values[0]

    def binary(self, tag: int) -> bytes:
        """Opaque bytes, b"" where there are none."""
        found = self._index.get(tag)
        if found is None:
            return b""
        kind, offset, count = found
        if kind != BINARY:
            raise self.bad(f"tag {tag} is not binary")
        start = self._start + offset
        return bytes(self.data[start : start + count])

    def paths(self) -> list[bytes]:
        """The files that the header names."""
        names = self.strings(BASENAMES)
        if not names:
            return []
        folders = self.strings(DIRNAMES)
        indexes = self.numbers(DIRINDEXES)
        if len(indexes) != len(names) or max(indexes) >= len(folders):
            raise self.bad("its lists of files do not fit each other")
        return [folders[index] + name for index, name in zip(indexes, names, strict=True)]

    def bad(self, why: str) -> Malformed:
        """The error for something wrong in this header."""
        return Malformed(self.where, self.at, why)

    def _bounded(self, tag: int, count: int) -> int:
        if count > _MAX_COUNT:
            raise self.bad(f"tag {tag} has {count} values")
        return count

    def _split(self, tag: int, offset: int, count: int) -> list[bytes]:
        start = self._start + offset
        pieces = self._reach(start, self._bounded(tag, count))
        if len(pieces) != count:
            raise self.bad(f"tag {tag} has fewer strings than the index says")
        return pieces

    def _reach(self, start: int, count: int) -> list[bytes]:
        """The first `count` strings from `start`, fewer if the data end before: from a piece that
        grows, as what follows the strings may be much longer than they are."""
        size = 64 * count + 64
        while True:
            stop = min(start + size, self.end)
            pieces = bytes(self.data[start:stop]).split(b"\0", count)
            if len(pieces) > count or stop == self.end:
                pieces.pop()
                return pieces
            size *= 4


def with_more(head: Header, texts: Mapping[int, str], numbers: Mapping[int, int]) -> bytes:
    """A header's bytes with further tags: strings and 32-bit numbers."""
    raw = bytes(head.data[head.at : head.end])
    split = PREAMBLE + _SIZES.unpack_from(raw, 8)[0] * ENTRY
    index, data = bytearray(raw[PREAMBLE:split]), bytearray(raw[split:])

    def add(tag: int, kind: int, value: bytes) -> None:
        index.extend(struct.pack(">IIII", tag, kind, len(data), 1))
        data.extend(value)

    for tag, number in numbers.items():
        data.extend(bytes(-len(data) % 4))
        add(tag, INT32, struct.pack(">I", number))
    for tag, text in texts.items():
        add(tag, STRING, text.encode("utf-8", "surrogateescape") + b"\0")
    return MAGIC + _SIZES.pack(len(index) // ENTRY, len(data)) + index + data


def preamble(view: memoryview, at: int, where: str) -> tuple[int, int]:
    """The number of index entries and of data bytes of the header at `at`.

    Raises VerifyError if there is no header, or not the whole of it.
    """
    entries, size = _preamble(view[at : at + PREAMBLE], at, where)
    if entries * ENTRY + size > len(view) - at - PREAMBLE:
        raise Malformed(where, at, f"{entries} entries and {size} bytes do not fit into the data")
    return entries, size


def length(first: bytes, where: str) -> int:
    """How many bytes a header has that begins with these (PREAMBLE of them). Raises VerifyError."""
    entries, size = _preamble(memoryview(first), 0, where)
    return PREAMBLE + entries * ENTRY + size


def _preamble(first: memoryview, at: int, where: str) -> tuple[int, int]:
    if first[:8] != MAGIC:
        raise Malformed(where, at, "no header begins here")
    if len(first) < PREAMBLE:
        raise Malformed(where, at, "it is cut short")
    entries, size = _SIZES.unpack_from(first, 8)
    if entries > _MAX_ENTRIES:
        raise Malformed(where, at, f"{entries} index entries are more than a header may have")
    return entries, size
