"""Zstandard (RFC 8878): the one module that imports the library.

Frames are written with a checksum, so that a cached file that rotted on disk is noticed when read.
"""

from __future__ import annotations

from typing import BinaryIO, cast

import zstandard

from tmplbuild.errors import VerifyError

Damaged = zstandard.ZstdError
"""What the library itself raises for damaged data."""


class _Reader:
    """zstandard's reader with the one kind of error that the other formats' readers have."""

    def __init__(self, file: BinaryIO) -> None:
        decompressor = zstandard.ZstdDecompressor()
        self._stream = decompressor.stream_reader(file, read_size=1 << 17, read_across_frames=True)

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stream.close()  # type: ignore[no-untyped-call]

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._stream.read(size)
        except zstandard.ZstdError as error:
            raise EOFError(f"zstd data are damaged: {error}") from error


def open_reader(file: BinaryIO) -> BinaryIO:
    """The uncompressed stream of `file`, all its frames one after another, for `read` and `close`;
    closing it closes `file`.

    Reading damaged data raises EOFError. Data cut short simply end: the reader must know their end.
    """
    return cast(BinaryIO, _Reader(file))


def open_writer(file: BinaryIO, *, level: int = 3, threads: int = 0) -> BinaryIO:
    """A stream that compresses into `file` as one frame. Closing it ends the frame and leaves `file` open.

    Parameters:
        level: 1 to 22.
        threads: worker threads beside the caller's (0: none).
    """
    compressor = zstandard.ZstdCompressor(level=level, threads=threads, write_checksum=True)
    return cast(BinaryIO, compressor.stream_writer(file, closefd=False))


def compress(data: bytes, *, level: int = 3) -> bytes:
    """`data` as one frame that states its size."""
    return zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True).compress(data)


def decompress(data: bytes, *, limit: int) -> bytes:
    """All of a frame that states its size. Raises VerifyError if damaged or larger than `limit` bytes."""
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= limit:
            raise VerifyError("compressed data are larger than they may be", why=f"{size} bytes")
        return zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError as error:
        raise VerifyError("compressed data are damaged", why=str(error)) from error


def patch(data: bytes, base: bytes, *, level: int) -> bytes:
    """`data` in terms of `base`, as zstd --patch-from does it: `patched` with the same base gives it back."""
    known = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, source_size=len(data), dict_size=len(base), window_log=_window(data, base), enable_ldm=True
    )
    return zstandard.ZstdCompressor(dict_data=known, compression_params=parameters).compress(data)


def patched(data: bytes, base: bytes, *, most: int) -> bytes:
    """What `patch` was given. Raises EOFError for what is damaged, of another base, or over `most` bytes."""
    known = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    try:
        if zstandard.frame_content_size(data) > most:
            raise EOFError("the patch makes more than can be right")
        return zstandard.ZstdDecompressor(dict_data=known, max_window_size=1 << 31).decompress(data)
    except zstandard.ZstdError as error:
        raise EOFError(f"the patch does not fit: {error}") from error


def _window(data: bytes, base: bytes) -> int:
    """So large that all of the base is in sight; the format allows 31 on 64 bits."""
    return min(max((len(data) + len(base)).bit_length(), 20), 31)
