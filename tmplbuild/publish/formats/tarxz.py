"""rootfs.tar.xz, as LXC's download template wants it by name (`tar -J`), and TEMPLATE_BUILD.tar.xz, the
template itself, where LXC's differs: for systemd's importd, which hangs over a .tar.gz of many members.

Pieces are compressed side by side, each a stream of its own: xz(1) and every liblzma reader join them
("concatenated streams"), and the bytes do not depend on the number of threads. Both files are cut at the same
places of the template's tar, so that a piece that is the same in both is compressed once.
"""

from __future__ import annotations

import hashlib
import lzma
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType

from tmplbuild.publish.draft import Draft, HashedFile

NAME = "rootfs.tar.xz"
KIND = "tar.xz"
PLAIN = "plain.tar.xz"
"""The kind of the template itself, where "tar.xz" is not."""
PIECE = 24 << 20
"""Three times the dictionary of level 6, as xz -T chooses its blocks: larger ones are hardly smaller."""
_KEPT = 2  # pieces that the other file may want: it is never further behind


class _Sink:
    """Parameters: `name` and `kind` of the file; `told`: others say where to cut (`cut`)."""

    def __init__(self, draft: Draft, name: str, kind: str, *, told: bool = False) -> None:
        self._draft = draft
        self._name = name
        self._kind = kind
        self._told = told
        self._pool = ThreadPoolExecutor(draft.jobs, thread_name_prefix="xz")
        self._waiting: deque[Future[bytes]] = deque()
        self._piece = bytearray()
        self._stack = ExitStack()
        self._out: HashedFile | None = None

    def __enter__(self) -> _Sink:
        self._out = self._stack.enter_context(self._draft.create(self._name, self._kind))
        return self

    def write(self, data: bytes, /) -> None:
        self._piece += data
        while not self._told and len(self._piece) >= PIECE:
            self._submit(bytes(self._piece[:PIECE]))
            del self._piece[:PIECE]

    def cut(self) -> None:
        """A piece ends here."""
        self._submit(bytes(self._piece))
        self._piece.clear()

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
        known, key = self._draft.pieces, hashlib.sha256(piece).digest()
        if key not in known:
            known[key] = self._pool.submit(lzma.compress, piece, lzma.FORMAT_XZ, -1, level)
            for old in list(known)[:-_KEPT]:
                del known[old]
        self._waiting.append(known[key])

    def _write_first(self) -> None:
        assert self._out is not None
        self._out.write(self._waiting.popleft().result())


def sink(draft: Draft) -> _Sink:
    """Takes the tar stream of rootfs.tar.xz."""
    return _Sink(draft, NAME, KIND)


def changed(draft: Draft) -> _Sink:
    """Takes that of a rootfs.tar.xz that differs from the template."""
    return _Sink(draft, NAME, KIND, told=True)


def plain(draft: Draft) -> _Sink:
    """Takes the template's own then."""
    return _Sink(draft, draft.dated("tar.xz"), PLAIN)
