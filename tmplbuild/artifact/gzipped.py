"""Gzip members, compressed by several threads, written in order.

A .gz file may be a row of members, each complete in itself (RFC 1952, 2.2); every reader joins
them. What the bytes are depends on the data, on where members are cut, and on the level: not on
the number of threads, nor on the time (a member's header carries none).
"""

from __future__ import annotations

import gzip
import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, NamedTuple, Protocol

import deflate

PIECE = 2 << 20
"""A member never holds more than this many bytes of raw data. The window of deflate is 32 KiB, so
larger ones are hardly smaller when compressed; smaller ones share the work better and bound memory."""

_PENDING = 48 << 20
"""Most raw bytes that wait for their turn, however many threads there are."""

LIBRARY = f"libdeflate/{deflate.__version__}"
"""What made the bytes: a member from another version may differ."""


class Gone(Exception):
    """A member that was to be spliced in is kept no more, or damaged."""


class _Member(NamedTuple):
    """A member: its bytes, whether they came from the cache, and the name there ("" without a cache)."""

    data: bytes | bytearray
    reused: bool
    key: str


class _Waiting(NamedTuple):
    """A member on its way: its raw bytes' number, what becomes of them, and the buffer that they are in."""

    size: int
    member: Future[_Member]
    buffer: memoryview | None


class Members(Protocol):
    """Where compressed members are kept for the next run (`tmplbuild.artifact.members`)."""

    def key(self, level: int, library: str, raw: memoryview) -> str:
        """The name of the member that `raw` becomes."""
        ...

    def get(self, key: str) -> bytes | None:
        """The verified member, or None."""
        ...

    def put(self, key: str, member: bytes | bytearray) -> None:
        """Keep a member."""
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """Size in bytes and hex digest of the file, and the size of the stream in it; `reused` members of
    `members` came from the cache; `made` says of each its name there ("" without one), its size in the file
    and that of its raw bytes."""

    size: int
    sha256: str
    raw_size: int
    members: int
    reused: int
    made: tuple[tuple[str, int, int], ...]


class GzipWriter:
    """Writes a stream as gzip members: `write` data, `cut` where a member shall end, `finish`.

    Parameters:
        out: where the file goes; written by the caller's thread only.
        level: 1 to 12, libdeflate's.
        jobs: compressing threads.
        cache: kept members, or None.
        progress: called with the raw bytes that have been compressed and written so far.
        niceness: of the compressing threads (nice(2)).
        started: is told the number of each of them (gettid(2)).

    One more thread hashes what goes out, so that the caller's only reads and writes.
    Leaving the `with` block early drops what waits; nothing runs on after it.
    """

    def __init__(
        self,
        out: BinaryIO,
        *,
        level: int,
        jobs: int,
        cache: Members | None = None,
        progress: Callable[[int], None] | None = None,
        niceness: int = 0,
        started: Callable[[int], None] = lambda thread: None,
    ) -> None:
        self._out = out
        self._level = level
        self._cache = cache
        self._progress = progress
        self._pool = ThreadPoolExecutor(
            max(jobs, 1), thread_name_prefix="deflate", initializer=_begin, initargs=(niceness, started)
        )
        self._hasher = ThreadPoolExecutor(1, thread_name_prefix="sha256")
        # Enough that no thread is idle while the first in the row is a slow one or the caller is held up.
        self._most = min(_PENDING, (2 * max(jobs, 1) + 4) * PIECE)
        self._buffer = memoryview(bytearray(PIECE))
        self._spare: list[memoryview] = []
        self._filled = 0
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._hash = hashlib.sha256()
        self._hashed: list[Future[None]] = []
        self._made: list[tuple[str, int, int]] = []
        self._size = self._raw_size = self._done = self._begun = self._reused = 0

    def __enter__(self) -> GzipWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in (self._pool, self._hasher):
            pool.shutdown(wait=True, cancel_futures=True)

    @property
    def begun(self) -> int:
        """How many members there are so far, the one that is being filled left out."""
        return self._begun

    @property
    def room(self) -> int:
        """Bytes until the member is full (at least one)."""
        return PIECE - self._filled

    def tail(self, size: int) -> memoryview:
        """The place of the next `size` bytes (at most `room`): fill it, then `commit` it, or do not."""
        return self._buffer[self._filled : self._filled + size]

    def commit(self, size: int) -> None:
        """Take what the tail was filled with; a full member is ended and the next begun."""
        self._filled += size
        if self._filled == PIECE:
            self.cut()

    def write(self, data: bytes) -> None:
        """Add data to the member, or to as many as it fills."""
        at = 0
        while at < len(data):
            size = min(self.room, len(data) - at)
            self.tail(size)[:] = data[at : at + size]
            self.commit(size)
            at += size

    def cut(self) -> None:
        """End the member, if there is anything in it."""
        size = self._filled
        if not size:
            return
        self._make_way(size)
        if size <= PIECE // 2:  # a big buffer must not wait for a small member's turn
            self._submit(memoryview(bytes(self._buffer[:size])), None)
        else:
            self._submit(self._buffer[:size], self._buffer)
            self._buffer = self._spare.pop() if self._spare else memoryview(bytearray(PIECE))
        self._filled = 0

    def splice(self, pieces: Iterable[tuple[str, int]]) -> None:
        """Put in kept members, by name and raw size, instead of the data that they were made of.

        `finish` (or what is written next) raises Gone for one that is not there, or damaged.
        """
        self.cut()
        for key, size in pieces:
            self._make_way(size)
            self._wait_for(_Waiting(size, self._pool.submit(self._kept, key, size), None))

    def _make_way(self, size: int) -> None:
        while self._waiting and (self._waiting_bytes + size > self._most or self._waiting[0].member.done()):
            self._write_first()

    def _submit(self, raw: memoryview, buffer: memoryview | None) -> None:
        self._wait_for(_Waiting(len(raw), self._pool.submit(self._compress, raw), buffer))

    def _wait_for(self, one: _Waiting) -> None:
        self._waiting.append(one)
        self._waiting_bytes += one.size
        self._raw_size += one.size
        self._begun += 1

    def _kept(self, key: str, size: int) -> _Member:
        """A kept member, not inflated: it was when it was new, and its digest says that it is the same."""
        data = None if self._cache is None else self._cache.get(key)
        if data is None or int.from_bytes(data[-4:], "little") != size:  # RFC 1952, 2.3.1: ISIZE
            raise Gone(key)
        return _Member(data, True, key)

    def finish(self) -> Written:
        """End the last member and write all that waits. Raises what writing raises."""
        self.cut()
        while self._waiting:
            self._write_first()
        for hashed in self._hashed:
            hashed.result()
        return Written(
            self._size,
            self._hash.hexdigest(),
            self._raw_size,
            len(self._made),
            self._reused,
            tuple(self._made),
        )

    def _write_first(self) -> None:
        first = self._waiting.popleft()
        member, reused, key = first.member.result()
        if first.buffer is not None:
            self._spare.append(first.buffer)
        self._waiting_bytes -= first.size
        self._hashed.append(self._hasher.submit(self._hash.update, member))
        self._out.write(member)
        self._size += len(member)
        self._made.append((key, len(member), first.size))
        self._reused += reused
        self._done += first.size
        if self._progress is not None:
            self._progress(self._done)

    def _compress(self, raw: memoryview) -> _Member:
        if self._cache is None:
            return _Member(deflate.gzip_compress(raw, self._level), False, "")
        key = self._cache.key(self._level, LIBRARY, raw)
        kept = self._cache.get(key)
        if kept is not None:
            return _Member(kept, True, key)
        member = deflate.gzip_compress(raw, self._level)
        self._cache.put(key, member)
        return _Member(member, False, key)


def member_of(raw: bytes | memoryview, level: int) -> bytes:
    """One gzip member, as `GzipWriter` makes it of these bytes at this level."""
    return bytes(deflate.gzip_compress(raw, level))


def inflate(member: bytes) -> bytearray:
    """What a gzip member holds, its checksum verified. Raises gzip.BadGzipFile."""
    try:
        return deflate.gzip_decompress(member)
    except deflate.DeflateError as error:
        raise gzip.BadGzipFile(str(error)) from error


def _begin(niceness: int, started: Callable[[int], None]) -> None:
    """Lower the calling thread's priority: Linux keeps one for each thread (setpriority(2), NOTES)."""
    thread = threading.get_native_id()
    if niceness:
        os.setpriority(os.PRIO_PROCESS, thread, niceness)
    started(thread)
