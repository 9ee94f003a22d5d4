"""TEMPLATE_BUILD.tar.zst, which Proxmox VE unpacks fastest (`pct`, --zstd by the suffix)."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import BinaryIO, cast

from tmplbuild.archives.zstd import open_writer
from tmplbuild.publish.draft import Draft


class _Sink:
    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._stack = ExitStack()
        self._stream: BinaryIO | None = None

    def __enter__(self) -> _Sink:
        draft = self._draft
        out = self._stack.enter_context(draft.create(draft.dated("tar.zst"), "tar.zst"))
        # always with workers: their output does not depend on how many there are, but on there being some
        stream = open_writer(cast(BinaryIO, out), level=draft.settings.zstd_level, threads=max(draft.jobs, 1))
        self._stream = stream
        return self

    def write(self, data: bytes, /) -> None:
        assert self._stream is not None
        self._stream.write(data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._stream is not None
        try:
            if error is None:
                self._stream.close()
        except BaseException as late:
            error = late
            raise
        finally:
            self._stack.__exit__(type(error) if error else None, error, None)


def sink(draft: Draft) -> _Sink:
    """Takes the tar stream."""
    return _Sink(draft)
