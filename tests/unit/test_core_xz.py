"""xz streams: several in a row, padded, cut, damaged, and ones that ask for too much memory."""

from __future__ import annotations

import io
import lzma
import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmplbuild.core.xz import XzStream

DATA = os.urandom(300_000) + bytes(500_000)


def read(raw: bytes) -> bytes:
    return io.BufferedReader(XzStream(io.BytesIO(raw)), 1 << 16).read()


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=4), st.integers(0, 3))
def test_streams_in_a_row_with_padding(parts: list[bytes], zeros: int) -> None:
    raw = bytes(4 * zeros).join(lzma.compress(part) for part in parts)
    assert read(raw) == b"".join(parts)


def test_a_long_stream() -> None:
    assert read(lzma.compress(DATA)) == DATA


def test_cut_short() -> None:
    with pytest.raises(EOFError):
        read(lzma.compress(DATA)[:-100])


def test_damaged() -> None:
    raw = bytearray(lzma.compress(DATA))
    raw[len(raw) // 2] ^= 1
    with pytest.raises(lzma.LZMAError):
        read(bytes(raw))


def test_a_header_that_asks_for_gigabytes() -> None:
    with pytest.raises(lzma.LZMAError, match=r"[Mm]emory"):
        read(_with_dictionary(lzma.compress(b"x")))


def _with_dictionary(raw: bytes) -> bytes:
    """The same stream with the largest dictionary in its block header (xz-file-format, 3.1, 5.3.1)."""
    header = bytearray(raw[12:24])  # size byte, flags, filter id, size of properties, dictionary size...
    assert header[2] == 0x21
    header[4] = 40  # 4 GiB - 1
    header[8:12] = zlib.crc32(bytes(header[:8])).to_bytes(4, "little")
    return raw[:12] + bytes(header) + raw[24:]
