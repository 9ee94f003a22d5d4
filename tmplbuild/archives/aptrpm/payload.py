"""The compressed payload of a package as a stream: which compression it is, its first bytes say."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Callable
from typing import BinaryIO, Protocol, cast

from tmplbuild.archives import zstd
from tmplbuild.archives.deb import ar
from tmplbuild.errors import VerifyError

_DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError)
_CHUNK = 1 << 17
_MEMORY = 256 << 20  # bytes; xz -9 needs 65 MiB to unpack

_MAGICS = (
    (b"\xfd7zXZ\0", "xz"),
    (b"\x5d\0\0", "lzma"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"07070", "none"),
)


class Stream(Protocol):
    """What gives at most `size` bytes, and none at the end."""

    def read(self, size: int = -1, /) -> bytes: ...


def open_payload(fd: int, offset: int, where: str) -> Stream:
    """The uncompressed payload that begins at `offset` of the file open as `fd` (the caller's).

    Raises VerifyError for a compression that is not known; so does reading what is damaged.
    """
    first = os.pread(fd, 8, offset)
    kind = next((kind for magic, kind in _MAGICS if first.startswith(magic)), None)
    if kind is None:
        raise VerifyError(
            "a package is compressed in a way that is not known",
            where=where,
            why=f"its payload begins with {first.hex()}",
        )
    size = os.fstat(fd).st_size - offset
    raw = cast(BinaryIO, io.BufferedReader(ar.Part(fd, ar.Entry("payload", offset, size)), _CHUNK))
    return _Checked(_uncompressed(raw, kind), where)


def _uncompressed(raw: BinaryIO, kind: str) -> Stream:
    if kind == "gzip":
        return gzip.GzipFile(fileobj=raw, mode="rb")
    if kind == "zstd":
        return zstd.open_reader(raw)
    if kind == "none":
        return raw
    return _Inflated(raw, _ENGINES[kind])


class _Checked:
    """A stream whose damage is a VerifyError, whoever reads it."""

    def __init__(self, stream: Stream, where: str) -> None:
        self._stream = stream
        self._where = where

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._stream.read(size)
        except _DAMAGED as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # trouble with the file itself
            raise VerifyError("a package is damaged", where=self._where, why=str(error)) from error


class _Engine(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


_ENGINES: dict[str, Callable[[], _Engine]] = {
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY),
    "lzma": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_MEMORY),
    "bzip2": bz2.BZ2Decompressor,
}


class _Inflated:
    """A decompressor's output, piece by piece: lzma's own file class takes any amount of memory."""

    def __init__(self, raw: BinaryIO, make: Callable[[], _Engine]) -> None:
        self._raw = raw
        self._make = make
        self._engine = make()

    def read(self, size: int = -1, /) -> bytes:
        while True:
            data = b""
            if self._engine.eof:
                data = self._engine.unused_data or self._raw.read(_CHUNK)
                if not data:
                    return b""
                self._engine = self._make()
            elif self._engine.needs_input:
                data = self._raw.read(_CHUNK)
                if not data:
                    raise EOFError("the compressed data end too early")
            found = self._engine.decompress(data, size)
            if found:
                return found
