"""A tar stream as .tar.gz, where it is not the template's own: a layer or a .wsl file with changes."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from types import TracebackType
from typing import BinaryIO, cast

from tmplbuild.artifact.gzipped import GzipWriter
from tmplbuild.publish.draft import Draft, Layer, told

_LEVEL = 10
_LAYER = ".layer.tar.gz"


class _Sink:
    """Parameters: `kind` of the file, "" for the layer of the OCI archive, which is no file of its own."""

    def __init__(self, draft: Draft, kind: str) -> None:
        self._draft = draft
        self._kind = kind
        self._stack = ExitStack()
        self._tar = hashlib.sha256()

    def __enter__(self) -> _Sink:
        draft, stack = self._draft, self._stack
        if self._kind:
            out = cast(BinaryIO, stack.enter_context(draft.create(draft.dated(self._kind), self._kind)))
        else:
            with told(draft.place):
                out = stack.enter_context((draft.place / _LAYER).open("xb"))
        self._writer = stack.enter_context(GzipWriter(out, level=_LEVEL, jobs=draft.jobs))
        return self

    def write(self, data: bytes, /) -> None:
        self._writer.write(data)
        if not self._kind:
            self._tar.update(data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                done = self._writer.finish()
                if not self._kind:
                    path = self._draft.place / _LAYER
                    self._draft.layer = Layer(path, done.size, done.sha256, self._tar.hexdigest())
        except BaseException as late:
            error = late
            raise
        finally:
            self._stack.__exit__(type(error) if error else None, error, None)


def layer(draft: Draft) -> _Sink:
    """Takes the tar stream of the OCI archive's layer."""
    return _Sink(draft, "")


def wsl(draft: Draft) -> _Sink:
    """Takes the tar stream of the .wsl file."""
    return _Sink(draft, "wsl")
