"""rootfs.tar.xz, as LXC's download template wants it by name (`tar -J`); importd and Incus read it too.

Pieces are compressed side by side, each a stream of its own: xz(1) and every liblzma reader join them
("concatenated streams"), and the bytes do not depend on the number of threads.
"""

from __future__ import annotations

import lzma
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType

from tmplbuild.publish.draft import Draft, HashedFile

NAME = "rootfs.tar.xz"
PIECE = 24 << 20
"""Three times the dictionary of level 6, as xz -T chooses its blocks: larger ones are hardly smaller."""


class _Sink:
    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._pool = ThreadPoolExecutor(draft.jobs, thread_name_prefix="xz")
        self._waiting: deque[Future[bytes]] = deque()
        self._piece = bytearray()
        self._stack = ExitStack()
        self._out: HashedFile | None = None

    def __enter__(self) -> _Sink:
        self._out = self._stack.enter_context(self._draft.create(NAME, "tar.xz"))
        return self

    def write(self, data: bytes, /) -> None:
        self._piece += data
        if len(self._piece) >= PIECE:
            self._submit(bytes(self._piece[:PIECE]))
            del self._piece[:PIECE]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._submit(bytes(self._piece))
                while self._waiting:
                    self._write_first()
        except BaseException as late:
            error = late
            raise
        finally:
            self._pool.shutdown(cancel_futures=True)
            self._stack.__exit__(type(error) if error else None, error, None)

    def _submit(self, piece: bytes) -> None:
        while len(self._waiting) > self._draft.jobs:
            self._write_first()
        level = self._draft.settings.xz_level
        self._waiting.append(self._pool.submit(lzma.compress, piece, lzma.FORMAT_XZ, -1, level))

    def _write_first(self) -> None:
        assert self._out is not None
        self._out.write(self._waiting.popleft().result())


def sink(draft: Draft) -> _Sink:
    """Takes the tar stream."""
    return _Sink(draft)
