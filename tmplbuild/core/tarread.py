"""Reading a tar stream, member by member, without seeking.

Formats: POSIX ustar and pax (pax(1)), GNU long names, long links and sparse files (the GNU tar
manual, "Tar Internals"), old v7. A stream that breaks the format, or exceeds the limits, is a
VerifyError; what a member's *name* may be is the extractor's business (`tmplbuild.core.untar`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from tmplbuild.errors import VerifyError

BLOCK = 512
_CHUNK = 1 << 20
_MAX_HEADER = 1 << 20
_MAX_GLOBAL = 64
_MAX_SEGMENTS = 1 << 20
_MAX_ID = (1 << 32) - 2  # (uid_t) -1 means "leave as it is" to chown(2)
_MAX_TIME = (1 << 63) - 1
_SECOND = 1_000_000_000

_FIELDS = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
_NO_SUM = sum(b" " * 8)
_ZEROS = bytes(BLOCK)

Kind = Literal["file", "dir", "symlink", "hardlink", "char", "block", "fifo"]
_KINDS: dict[bytes, Kind] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"S": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"3": "char",
    b"4": "block",
    b"5": "dir",
    b"6": "fifo",
}


class Source(Protocol):
    """What is read from: `read(n)` gives at most n bytes, and none at the end."""

    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What a stream may come to before it is refused: members, bytes of all files' sizes, and bytes
    that they take on disk (the holes of sparse files left out)."""

    members: int = 4_000_000
    size: int = 1 << 40
    stored: int = 1 << 40


@dataclass(frozen=True, slots=True)
class Member:
    """One member. Names are bytes decoded as file names are (surrogateescape), as the archive
    spells them. `size` is the file's size in bytes; `segments` are (offset, length) of what a
    sparse file holds, None for a plain one. Extended attributes by their full name."""

    kind: Kind
    name: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int = 0
    link: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[str, bytes] = field(default_factory=dict)
    segments: tuple[tuple[int, int], ...] | None = None

    @property
    def stored(self) -> int:
        """Bytes of content that the archive holds."""
        return self.size if self.segments is None else sum(length for _, length in self.segments)


def damaged(why: str) -> VerifyError:
    """The error for a stream that is no tar archive, or one cut short."""
    return VerifyError("a tar archive cannot be read", why=why)


class TarReader:
    """Iterate over it for the members; between two of them `chunks()` or `read()` gives the content.

    Parameters:
        file: the uncompressed stream, at its start.
        limits: what it may come to.

    Raises VerifyError for a damaged stream, and what `file.read` raises.
    """

    def __init__(self, file: Source, limits: Limits | None = None) -> None:
        self._file = file
        self._limits = limits or Limits()
        self._left = 0  # content bytes of the current member not read yet
        self._pad = 0
        self._total = self._stored = 0
        self._global: dict[str, bytes] = {}

    def __iter__(self) -> Iterator[Member]:
        count = 0
        while (member := self._next()) is not None:
            count += 1
            self._total += member.size
            self._stored += member.stored
            most = self._limits
            if count > most.members or self._total > most.size or self._stored > most.stored:
                raise VerifyError(
                    "a tar archive is larger than it may be",
                    where=member.name,
                    why=f"{count} members, {self._total} bytes, {self._stored} of them not holes; at most "
                    f"{most.members}, {most.size}, {most.stored}",
                )
            yield member
        self._drain()

    def chunks(self) -> Iterator[bytes]:
        """The rest of the current member's content, in pieces (of a sparse file: its segments joined)."""
        while self._left:
            yield self.read(_CHUNK)

    def read(self, size: int) -> bytes:
        """At most `size` bytes of the current member's content; fewer only at its end."""
        data = self._exactly(min(size, self._left))
        self._left -= len(data)
        return data

    # -- headers ---------------------------------------------------------------------------------

    def _next(self) -> Member | None:
        local: dict[str, bytes] = {}
        long_name = long_link = b""
        while True:
            self._skip()
            block = self._block()
            if block is None:
                return None
            fields = _FIELDS.unpack(block)
            kind = fields[7]
            if kind in (b"x", b"X", b"g", b"L", b"K"):
                data = self._extra(_number(fields[4]))
                if kind == b"g":
                    self._keep_global(_records(data))
                elif kind in (b"x", b"X"):
                    local = _records(data)
                elif kind == b"L":
                    long_name = data.rstrip(b"\0")
                else:
                    long_link = data.rstrip(b"\0")
                continue
            return self._member(block, fields, {**self._global, **local}, long_name, long_link)

    def _keep_global(self, records: dict[str, bytes]) -> None:
        # they hold for every later member: a row of ever new ones must not add up to gigabytes
        self._global.update(records)
        size = sum(len(key) + len(value) for key, value in self._global.items())
        if len(self._global) > _MAX_GLOBAL or size > _MAX_HEADER:
            raise damaged("its global headers are larger than they may be")

    def _member(
        self,
        block: bytes,
        fields: tuple[bytes, ...],
        pax: dict[str, bytes],
        long_name: bytes,
        long_link: bytes,
    ) -> Member:
        kind = _KINDS.get(fields[7])
        name = pax.get("path") or long_name or _short_name(fields)
        if kind is None:
            raise damaged(f"member {_text(name)!r} has an unknown type {fields[7]!r}")
        if kind == "file" and name.endswith(b"/") and fields[7] in (b"0", b"\0"):
            kind = "dir"  # how v7 tar spells a directory
        link = pax.get("linkpath") or long_link or _cut(fields[8])
        size = _pax_number(pax, "size", fields[4]) if kind == "file" else 0
        self._left, self._pad = size, -size % BLOCK
        segments = None
        if kind == "file":
            name, size, segments = self._sparse(block, fields[7], pax, name, size)
        return Member(
            kind=kind,
            name=_text(name),
            mode=_number(fields[1]) & 0o7777,
            uid=_owner(pax, "uid", fields[2]),
            gid=_owner(pax, "gid", fields[3]),
            mtime_ns=_mtime(pax, fields[5]),
            size=size,
            link=_text(link),
            device=(_number(fields[12]), _number(fields[13])) if kind in ("char", "block") else (0, 0),
            xattrs=_xattrs(pax),
            segments=segments,
        )

    def _sparse(
        self, block: bytes, kind: bytes, pax: dict[str, bytes], name: bytes, stored: int
    ) -> tuple[bytes, int, tuple[tuple[int, int], ...] | None]:
        """Name, real size and segments of a file; the map is taken off the content."""
        if kind == b"S":
            real, segments = self._old_sparse(block)
        elif pax.get("GNU.sparse.major") == b"1" and pax.get("GNU.sparse.minor") == b"0":
            name = pax.get("GNU.sparse.name", name)
            real, segments = _digits(pax.get("GNU.sparse.realsize", b"")), self._sparse_map()
        elif "GNU.sparse.map" in pax:
            name = pax.get("GNU.sparse.name", name)
            numbers = [_digits(item) for item in pax["GNU.sparse.map"].split(b",")]
            real, segments = _digits(pax.get("GNU.sparse.size", b"")), _pairs(numbers)
        elif any(key.startswith("GNU.sparse.") for key in pax):
            raise damaged(f"{_text(name)!r} is a sparse file in a form that is not read (GNU.sparse 0.0)")
        else:
            return name, stored, None
        end = 0
        for offset, length in segments:
            if offset < end:
                raise damaged(f"the map of the sparse file {_text(name)!r} is out of order")
            end = offset + length
        if end > real or sum(length for _, length in segments) != self._left:
            raise damaged(f"the map of the sparse file {_text(name)!r} does not fit its content")
        return name, real, segments

    def _old_sparse(self, block: bytes) -> tuple[int, tuple[tuple[int, int], ...]]:
        """GNU's type S: four segments in the header, 21 in each extension block."""
        numbers, more = _old_entries(block[386:482]), block[482]
        real = _number(block[483:495])
        while more:
            extension = self._exactly(BLOCK)
            numbers += _old_entries(extension[:504])
            more = extension[504]
            if len(numbers) > 2 * _MAX_SEGMENTS:
                raise damaged("a sparse file has too many segments")
        return real, _pairs(numbers)

    def _sparse_map(self) -> tuple[tuple[int, int], ...]:
        """The map of GNU.sparse 1.0: decimal lines before the content, padded to whole blocks."""
        lines: list[bytes] = []
        rest = b""
        wanted = 1
        while len(lines) < wanted:
            if not self._left:
                raise damaged("the map of a sparse file is cut short")
            parts = (rest + self.read(BLOCK)).split(b"\n")
            rest = parts.pop()
            lines += parts
            if lines and wanted == 1:
                wanted = 1 + 2 * _digits(lines[0])
                if wanted > 2 * _MAX_SEGMENTS:
                    raise damaged("a sparse file has too many segments")
        return _pairs([_digits(line) for line in lines[1:wanted]])

    # -- bytes -----------------------------------------------------------------------------------

    def _block(self) -> bytes | None:
        """The next header block, checked; None at the end of the archive."""
        block = self._file.read(BLOCK)
        while 0 < len(block) < BLOCK:
            more = self._file.read(BLOCK - len(block))
            if not more:
                raise damaged("it ends within a header")
            block += more
        if not block:
            raise damaged("its end is missing")
        if block == _ZEROS:
            return None
        stated = _number(block[148:156])
        if sum(block) - sum(block[148:156]) + _NO_SUM != stated:
            raise damaged("a header's checksum is wrong")
        return block

    def _extra(self, size: int) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise damaged(f"a header of {size} bytes")
        self._left, self._pad = size, -size % BLOCK
        return self.read(size)

    def _skip(self) -> None:
        for _ in self.chunks():
            pass
        self._exactly(self._pad)
        self._pad = 0

    def _drain(self) -> None:
        """Read what follows the end mark: the checksum of the compressed form stands behind it."""
        left = self._limits.size
        while data := self._file.read(_CHUNK):
            left -= len(data)
            if left < 0:
                raise damaged("too much follows its end")

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size) if size else b""
        if len(data) == size:
            return data
        parts = [data]
        missing = size - len(data)
        while missing:
            more = self._file.read(missing)
            if not more:
                raise damaged("it ends within a member")
            parts.append(more)
            missing -= len(more)
        return b"".join(parts)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _cut(raw: bytes) -> bytes:
    return raw.split(b"\0", 1)[0]


def _short_name(fields: tuple[bytes, ...]) -> bytes:
    name = _cut(fields[0])
    # GNU's own magic is "ustar  ": there the prefix field holds other things
    if fields[9] == b"ustar\x0000" and (prefix := _cut(fields[14])):
        return prefix + b"/" + name
    return name


def _number(raw: bytes) -> int:
    """A numeric field: octal digits, or GNU's base-256 when the first bit is set."""
    if raw[0] & 0x80:
        value = int.from_bytes(raw, "big")
        bits = 8 * len(raw)
        return value - (1 << bits) if raw[0] & 0x40 else value & ((1 << (bits - 1)) - 1)
    text = raw.strip(b" \0")
    if not text:
        return 0
    try:
        return int(_cut(text), 8)
    except ValueError:
        raise damaged(f"{raw!r} is not an octal number") from None


def _digits(raw: bytes) -> int:
    if not raw.isdigit() or len(raw) > 20:
        raise damaged(f"{raw[:40]!r} is not a decimal number")
    return int(raw)


def _pax_number(pax: dict[str, bytes], key: str, raw: bytes) -> int:
    value = _digits(pax[key]) if key in pax else _number(raw)
    if value < 0:
        raise damaged(f"a negative {key}")
    return value


def _owner(pax: dict[str, bytes], key: str, raw: bytes) -> int:
    value = _pax_number(pax, key, raw)
    if value > _MAX_ID:
        raise damaged(f"{key} {value}")
    return value


def _mtime(pax: dict[str, bytes], raw: bytes) -> int:
    """Nanoseconds since the epoch."""
    if "mtime" in pax:
        whole, _, part = pax["mtime"].partition(b".")
        sign = -1 if whole.startswith(b"-") else 1
        value = sign * (_digits(whole.lstrip(b"-")) * _SECOND + _digits((part + b"000000000")[:9]))
    else:
        value = _number(raw) * _SECOND
    if abs(value) > _MAX_TIME:
        raise damaged("a time that no file can carry")
    return value


def _records(data: bytes) -> dict[str, bytes]:
    """The "LENGTH KEY=VALUE\\n" records of a pax header."""
    records: dict[str, bytes] = {}
    start = 0
    while start < len(data):
        if not data[start:].strip(b"\0"):
            break
        stop = data.find(b" ", start, start + 20)
        length = _digits(data[start:stop]) if stop > 0 else 0
        record = data[start : start + length]
        key, sign, value = record[stop + 1 - start : -1].partition(b"=")
        if not sign or record[-1:] != b"\n" or length != len(record):
            raise damaged("a pax header is malformed")
        records[_text(key)] = value
        start += length
    return records


def _xattrs(pax: dict[str, bytes]) -> dict[str, bytes]:
    head = "SCHILY.xattr."
    return {key[len(head) :]: value for key, value in pax.items() if key.startswith(head)}


def _old_entries(raw: bytes) -> list[int]:
    return [_number(raw[at : at + 12]) for at in range(0, len(raw), 12) if raw[at : at + 12].strip(b"\0")]


def _pairs(numbers: list[int]) -> tuple[tuple[int, int], ...]:
    if len(numbers) % 2 or min(numbers, default=0) < 0:
        raise damaged("the map of a sparse file is malformed")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))
