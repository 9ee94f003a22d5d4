"""Compressed files read piece by piece: no piece is larger than a fixed bound, whatever the file says."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tmplbuild.archives import zstd

_CHUNK = 1 << 20
_XZ_MEMORY = 256 << 20  # bytes; xz -9 needs 65 MiB to unpack

SUFFIXES = (".xz", ".gz", ".bz2", "")
"""The compressions of a Debian archive's indexes, best first; `pieces` reads .zst, too."""

DAMAGED = (lzma.LZMAError, zlib.error, EOFError, OSError, ValueError)
"""What `pieces` raises for a damaged file."""


def pieces(path: Path, suffix: str) -> Iterator[bytes]:
    """The unpacked bytes of a file. Raises one of DAMAGED for what is damaged or ends too early."""
    with path.open("rb") as file:
        if suffix == "":
            while data := file.read(_CHUNK):
                yield data
        elif suffix == ".gz":
            yield from _gzip(file)
        elif suffix == ".zst":
            yield from _zstd(file)
        else:
            yield from _members(file, suffix)


def _gzip(file: BinaryIO) -> Iterator[bytes]:
    data = file.read(_CHUNK)
    if not data:
        raise EOFError("the file is empty")
    while data:
        engine = zlib.decompressobj(wbits=31)
        while not engine.eof:
            if not data:
                raise EOFError("the file ends too early")
            yield engine.decompress(data, _CHUNK)
            data = engine.unconsumed_tail or (b"" if engine.eof else file.read(_CHUNK))
        data = engine.unused_data.lstrip(b"\0") or file.read(_CHUNK)


def _zstd(file: BinaryIO) -> Iterator[bytes]:
    with zstd.open_reader(file) as stream:
        while data := stream.read(_CHUNK):
            yield data


def _members(file: BinaryIO, suffix: str) -> Iterator[bytes]:
    data = file.read(_CHUNK)
    if not data:
        raise EOFError("the file is empty")
    while data:
        engine = (
            lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
            if suffix == ".xz"
            else bz2.BZ2Decompressor()
        )
        while not engine.eof:
            if engine.needs_input and not data:
                raise EOFError("the file ends too early")
            yield engine.decompress(data, _CHUNK)
            data = b"" if engine.eof or not engine.needs_input else file.read(_CHUNK)
        data = engine.unused_data.lstrip(b"\0") or file.read(_CHUNK)
