"""xz as a stream of bounded memory: what a header asks for is not simply given (xz(1), --memlimit)."""

from __future__ import annotations

import io
import lzma
from typing import BinaryIO

MEMORY = 256 << 20
"""Bytes that decompressing may take; xz -9 needs 65 MiB."""
_PIECE = 1 << 18


class XzStream(io.RawIOBase):
    """Reads the content of an xz file: one stream after the other, padding between them allowed.

    Raises lzma.LZMAError for damaged data and for a stream that wants more memory than `MEMORY`;
    EOFError for one that is cut short.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ended = False
        self._decoder: lzma.LZMADecompressor | None = None
        self._ahead = b""  # compressed bytes after the end of a stream

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._ended:
            data = self._some(len(buffer))
            if data:
                buffer[: len(data)] = data
                return len(data)
        return 0

    def _some(self, size: int) -> bytes:
        """The next bytes, at most `size`; none at the end or where more must be read first."""
        if self._decoder is None:
            piece = self._ahead or self._file.read(_PIECE)
            self._ahead = piece.lstrip(b"\0")  # streams may be padded with zeros
            self._ended = not piece
            if not self._ahead:
                return b""
            self._decoder = lzma.LZMADecompressor(memlimit=MEMORY)
            data, self._ahead = self._ahead, b""
        elif self._decoder.needs_input:
            data = self._file.read(_PIECE)
            if not data:
                raise EOFError("the xz stream ends in the middle")
        else:
            data = b""
        found = self._decoder.decompress(data, size)
        if self._decoder.eof:
            self._ahead = self._decoder.unused_data
            self._decoder = None
        return found
