"""A .tar.gz of ours read back by several threads: its members are independent of one another.

Where a member begins is told by the ten bytes that begin each of ours. That the same bytes might stand
within one is harmless: what is cut there fails its checksum, and is refused.
"""

from __future__ import annotations

import gzip
import io
import itertools
import mmap
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from tmplbuild.artifact.gzipped import inflate

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BEGIN = re.compile(rb"\x1f\x8b\x08\x00{5}[\x00\x02\x04]\xff")  # as libdeflate writes it (RFC 1952, 2.3)
_AHEAD = 8  # members that wait to be read


@contextmanager
def open_members(path: Path, jobs: int, cuts: Sequence[tuple[int, int]] | None = None) -> Iterator[BinaryIO]:
    """The uncompressed stream of a file that `GzipWriter` wrote; every checksum in it is checked.

    Parameters:
        jobs: inflating threads.
        cuts: where the members that are wanted begin and end, in order; all, looked for, if not given.

    Raises OSError when it cannot be opened; reading raises gzip.BadGzipFile for a damaged file.
    """
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ThreadPoolExecutor(max(jobs, 1), thread_name_prefix="inflate") as pool,
    ):
        stream = _Stream(data, pool, _found(data) if cuts is None else cuts)
        try:
            yield cast(BinaryIO, io.BufferedReader(stream, 1 << 18))
        finally:
            stream.drop()


def _found(data: mmap.mmap) -> Iterable[tuple[int, int]]:
    begins = [found.start() for found in _BEGIN.finditer(data)]
    if begins[:1] != [0]:
        raise gzip.BadGzipFile("it does not begin as one of ours")
    return itertools.pairwise([*begins, len(data)])


class _Stream(io.RawIOBase):
    def __init__(self, data: mmap.mmap, pool: ThreadPoolExecutor, cuts: Iterable[tuple[int, int]]) -> None:
        super().__init__()
        self._data = data
        self._pool = pool
        self._cuts = iter(cuts)
        self._waiting: deque[Future[memoryview]] = deque()
        self._now = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        while not self._now:
            for begin, end in itertools.islice(self._cuts, _AHEAD - len(self._waiting)):
                self._waiting.append(self._pool.submit(self._inflate, begin, end))
            if not self._waiting:
                return 0
            self._now = self._waiting.popleft().result()
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._now))
        view[:size] = self._now[:size]
        self._now = self._now[size:]
        return size

    def drop(self) -> None:
        """Let go of what nobody will read."""
        while self._waiting:
            self._waiting.pop().cancel()

    def _inflate(self, begin: int, end: int) -> memoryview:
        return memoryview(inflate(self._data[begin:end]))
