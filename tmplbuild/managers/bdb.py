"""Berkeley DB's hash files, read only: the form of rpm's database for twenty years ("Packages").

Pages are looked through one by one, whichever bucket they belong to, since all records are wanted.
The layout is that of Berkeley DB 4 and 5 (src/dbinc/db_page.h): page headers of 26 bytes, then offsets
of items that were put down from the page's end; long items lie in chains of overflow pages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tmplbuild.errors import VerifyError

MAGIC = 0x00061561
_META = struct.Struct("8x I I I I B B")  # page number, magic, version, page size, encryption, type
_HEAD = struct.Struct("8x I I I H H B B")  # page number, previous, next, entries, high offset, level, type
_HASH_META, _OVERFLOW = 8, 7
_HASH_PAGES = (2, 13)  # unsorted and sorted
_KEYDATA, _OFFPAGE = 1, 3


def is_hash(data: bytes) -> bool:
    """Whether a file begins as a Berkeley DB hash does, in either byte order."""
    return data[12:16] in (MAGIC.to_bytes(4, "little"), MAGIC.to_bytes(4, "big"))


def records(data: bytes, where: str) -> Iterator[tuple[bytes, bytes]]:
    """Every key with its value, in the order of pages. Raises VerifyError for what is no such file."""
    order = "<" if data[12:16] == MAGIC.to_bytes(4, "little") else ">"
    meta, head = struct.Struct(order + _META.format), struct.Struct(order + _HEAD.format)
    if not is_hash(data) or len(data) < 512:
        raise _bad(where, "it does not begin as a hash of Berkeley DB")
    _, _, _, size, encrypted, kind = meta.unpack_from(data)
    if kind != _HASH_META or encrypted or size not in (1 << n for n in range(9, 17)):
        raise _bad(where, f"type {kind}, pages of {size} bytes, encryption {encrypted}")
    view = memoryview(data)

    def chain(number: int, length: int) -> bytes:
        parts: list[memoryview] = []
        left = length
        for _ in range(len(data) // size):
            if not left:
                break
            start = number * size
            if not 0 < start <= len(data) - size:
                raise _bad(where, f"page {number} is not in the file")
            _, _, following, _, used, _, kind = head.unpack_from(data, start)
            if kind != _OVERFLOW or not 0 < used <= size - head.size:
                raise _bad(where, f"page {number} is no overflow page")
            parts.append(view[start + head.size : start + head.size + min(used, left)])
            left -= len(parts[-1])
            number = following
        if left:
            raise _bad(where, "a chain of pages ends too early, or never")
        return b"".join(parts)

    def item(start: int, offset: int, end: int) -> bytes | None:
        if not head.size <= offset < end <= size:
            raise _bad(where, f"an item of page {start // size} lies outside of it")
        kind = data[start + offset]
        if kind == _KEYDATA:
            return data[start + offset + 1 : start + end]
        if kind == _OFFPAGE and end - offset >= 12:
            number, length = struct.unpack_from(order + "II", data, start + offset + 4)
            if length > len(data):
                raise _bad(where, "an item is longer than the file")
            return chain(number, length)
        return None  # duplicates: rpm has none here

    for start in range(size, len(data) - size + 1, size):
        *_, entries, _, _, kind = head.unpack_from(data, start)
        if kind not in _HASH_PAGES or entries < 2:
            continue
        if head.size + 2 * entries > size:
            raise _bad(where, f"page {start // size} has {entries} items")
        offsets = struct.unpack_from(f"{order}{entries}H", data, start + head.size)
        ends = (size, *offsets[:-1])
        for at in range(0, entries - 1, 2):
            key = item(start, offsets[at], ends[at])
            value = item(start, offsets[at + 1], ends[at + 1])
            if key is not None and value is not None:
                yield key, value


def _bad(where: str, why: str) -> VerifyError:
    return VerifyError("a database cannot be read", where=where, why=why)
