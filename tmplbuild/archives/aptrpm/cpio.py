"""Reading a cpio stream of the "new ASCII" kind (cpio(5)), which is what packages hold.

Packages of rpm's format 6, and those with files of 4 GiB and more, have a kind of rpm's own: a member is but
the number of a file in the package's header, which tells the rest (rpm's lib/cpio.cc, "stripped").

A stream that breaks the format, or exceeds the limits, is a VerifyError; what a member's name may be
is for its reader to judge.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from tmplbuild.errors import VerifyError

_MAGICS = (b"070701", b"070702")
_STRIPPED = b"07070X"
_HEX = re.compile(rb"(?:[0-9a-fA-F]{8})+\Z")
_MAGIC, _HEAD, _STRIPPED_HEAD = 6, 110, 14
_TRAILER = "TRAILER!!!"
_MAX_NAME = 4096
_CHUNK = 1 << 20
_MAX_PADDING = 1 << 16


class Source(Protocol):
    """What is read from: `read(n)` gives at most n bytes, and none at the end."""

    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What a stream may come to before it is refused: members, and bytes of all their contents."""

    members: int = 2_000_000
    size: int = 1 << 36


@dataclass(frozen=True, slots=True)
class Member:
    """One member as the stream has it; `mode` holds the type too, `links` how many names the inode has."""

    name: str
    mode: int
    inode: tuple[int, int, int]
    links: int
    mtime: int
    size: int
    device: tuple[int, int]


class CpioReader:
    """Iterate over it for the members; between two of them `chunks()` gives the content.

    Parameters:
        file: the uncompressed stream, at its start.
        where: what it is, for messages.
        numbered: the member that stands for the file with a number; None: there are no such members.

    Raises VerifyError for a damaged stream, and what `file.read` raises.
    """

    def __init__(
        self,
        file: Source,
        where: str,
        limits: Limits | None = None,
        numbered: Callable[[int], Member] | None = None,
    ) -> None:
        self._numbered = numbered
        self._file = file
        self._where = where
        self._limits = limits or Limits()
        self._left = 0
        self._pad = 0

    def __iter__(self) -> Iterator[Member]:
        count = total = 0
        while (member := self._next()).name != _TRAILER:
            count += 1
            total += member.size
            if count > self._limits.members or total > self._limits.size:
                raise self._bad(f"it is larger than it may be: {count} members, {total} bytes")
            yield member
        self._drain()

    def chunks(self) -> Iterator[bytes]:
        """The rest of the current member's content, in pieces."""
        while self._left:
            data = self._exactly(min(_CHUNK, self._left))
            self._left -= len(data)
            yield data

    def _next(self) -> Member:
        for _ in self.chunks():
            pass
        self._exactly(self._pad)
        self._pad = 0
        head = self._exactly(_MAGIC)
        if head == _STRIPPED and self._numbered is not None:
            return self._stripped(self._numbered)
        head += self._exactly(_HEAD - _MAGIC)
        if head[:_MAGIC] not in _MAGICS or not _HEX.match(head[_MAGIC:]):
            raise self._bad("a member's header is malformed")
        inode, mode, _, _, links, mtime, size, major, minor, rmajor, rminor, length, _ = (
            int(head[at : at + 8], 16) for at in range(6, _HEAD, 8)
        )
        if not 1 <= length <= _MAX_NAME:
            raise self._bad(f"a member's name has {length} bytes")
        raw = self._exactly(length + -(_HEAD + length) % 4)[:length]
        if raw.find(b"\0") != length - 1:
            raise self._bad("a member's name does not end where it should")
        self._left, self._pad = size, -size % 4
        name = raw[:-1].decode("utf-8", "surrogateescape")
        return Member(name, mode, (major, minor, inode), links, mtime, size, (rmajor, rminor))

    def _stripped(self, numbered: Callable[[int], Member]) -> Member:
        number = self._exactly(_STRIPPED_HEAD - _MAGIC)
        if not _HEX.match(number):
            raise self._bad("a member's header is malformed")
        self._exactly(-_STRIPPED_HEAD % 4)
        member = numbered(int(number, 16))
        self._left, self._pad = member.size, -member.size % 4
        return member

    def _drain(self) -> None:
        """Read what pads the stream: a compression's own checks come last."""
        left = _MAX_PADDING
        while data := self._file.read(_CHUNK):
            left -= len(data)
            if left < 0:
                raise self._bad("it goes on behind its end")

    def _exactly(self, count: int) -> bytes:
        data = self._file.read(count) if count else b""
        while len(data) < count:
            more = self._file.read(count - len(data))
            if not more:
                raise self._bad("it ends too early")
            data += more
        return data

    def _bad(self, why: str) -> VerifyError:
        return VerifyError("a package's payload cannot be read", where=self._where, why=why)
