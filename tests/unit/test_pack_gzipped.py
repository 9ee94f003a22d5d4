"""The writer of gzip members: in order, by several threads, and nothing left behind."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import threading
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmplbuild.artifact.gzipped import PIECE, GzipWriter


class Meeting:
    """A cache that keeps nothing; two members' threads meet in it, or the test fails."""

    def __init__(self) -> None:
        self._both = threading.Barrier(2)

    def key(self, level: int, library: str, raw: memoryview) -> str:
        return f"{level} {library} {raw[0]}"

    def get(self, key: str) -> bytes | None:
        self._both.wait(timeout=60)
        return None

    def put(self, key: str, member: bytes | bytearray) -> None:
        pass


class Full(io.RawIOBase, BinaryIO):  # type: ignore[misc]
    """A disk that takes nothing."""

    def write(self, data: object) -> int:
        raise OSError(28, "No space left on device")


def helpers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("deflate", "sha256"))]


def test_two_jobs_compress_at_once() -> None:
    with GzipWriter(io.BytesIO(), level=1, jobs=2, cache=Meeting()) as gz:
        for letter in (b"a", b"b"):
            gz.write(letter * 10)
            gz.cut()
        assert gz.finish().members == 2


@pytest.mark.parametrize("jobs", [1, 2, 7])
def test_many_pieces_come_out_in_order_with_the_right_digests(jobs: int) -> None:
    data = os.urandom(4096) * (PIECE * 21 // 4096) + b"the end"  # more than wait at once with two jobs
    out = io.BytesIO()
    with GzipWriter(out, level=1, jobs=jobs) as gz:
        gz.write(data)
        done = gz.finish()
    assert gzip.decompress(out.getvalue()) == data
    assert (done.size, done.sha256) == (len(out.getvalue()), hashlib.sha256(out.getvalue()).hexdigest())
    assert done.raw_size == len(data)
    assert done.members == 22


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.binary(max_size=5000)), max_size=30), st.integers(1, 3))
def test_any_cuts_join_to_the_stream(parts: list[bytes | None], jobs: int) -> None:
    out = io.BytesIO()
    with GzipWriter(out, level=1, jobs=jobs) as gz:
        for part in parts:
            if part is None:
                gz.cut()
            else:
                gz.write(part)
        done = gz.finish()
    data = b"".join(part for part in parts if part is not None)
    assert gzip.decompress(out.getvalue()) == data
    assert done.raw_size == len(data)
    assert done.sha256 == hashlib.sha256(out.getvalue()).hexdigest()


def written(out: BinaryIO, pieces: int, *, fail: type[BaseException] | None = None) -> None:
    with GzipWriter(out, level=1, jobs=3) as gz:
        gz.write(bytes(pieces * PIECE))
        if fail is not None:
            raise fail
        gz.finish()


def test_no_thread_runs_on_after_an_error() -> None:
    with pytest.raises(OSError, match="No space left"):
        written(Full(), 40)
    assert helpers() == []


def test_no_thread_runs_on_when_it_is_left_early() -> None:
    with pytest.raises(KeyboardInterrupt):
        written(io.BytesIO(), 3, fail=KeyboardInterrupt)
    assert helpers() == []
