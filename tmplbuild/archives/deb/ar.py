"""The ar container of a .deb (deb(5); the common format of ar(5), without GNU's or BSD's long names)."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tmplbuild.errors import VerifyError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_MAGIC = b"!<arch>\n"
_HEADER = 60


@dataclass(frozen=True, slots=True)
class Entry:
    """A member: its name, and where its bytes lie in the file."""

    name: str
    offset: int
    size: int


def entries(fd: int, where: str) -> Iterator[Entry]:
    """The members of the archive open as `fd`, in order; `where` names it in errors.

    Raises VerifyError if it is no such archive or is cut short.
    """
    end = os.fstat(fd).st_size
    if os.pread(fd, len(_MAGIC), 0) != _MAGIC:
        raise _bad(where, "it is not an ar archive")
    at = len(_MAGIC)
    while at < end:
        header = os.pread(fd, _HEADER, at)
        size_field = header[48:58].rstrip(b" ")
        if len(header) < _HEADER or header[58:] != b"`\n" or not size_field.isdigit():
            raise _bad(where, f"the member's header at byte {at} is malformed")
        entry = Entry(header[:16].rstrip(b" ").rstrip(b"/").decode("latin-1"), at + _HEADER, int(size_field))
        if entry.offset + entry.size > end:
            raise _bad(where, f"member {entry.name} is cut short")
        yield entry
        at = entry.offset + entry.size + entry.size % 2


class Part(io.RawIOBase):
    """The bytes of one entry as a stream of their own; `fd` stays the caller's, its position unused."""

    def __init__(self, fd: int, entry: Entry) -> None:
        super().__init__()
        self._fd = fd
        self._at = entry.offset
        self._end = entry.offset + entry.size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)[: self._end - self._at]
        count = os.preadv(self._fd, [view], self._at) if view else 0
        self._at += count
        return count


def _bad(where: str, why: str) -> VerifyError:
    return VerifyError("a package cannot be read", where=where, why=why)
