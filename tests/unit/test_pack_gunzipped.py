"""Members are read back in their order, whoever inflates them first; what is damaged is refused."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path

import pytest

from tmplbuild.artifact.gunzipped import open_members
from tmplbuild.artifact.gzipped import PIECE, GzipWriter


@pytest.fixture(params=[1, 6, 10, 12])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, bytes]:
    """A file of members small and large, some of which hold what looks like the begin of one."""
    head = gzip.compress(b"x", mtime=0)[:10]
    pieces = [b"a" * 10, os.urandom(3 * PIECE), b"", *(bytes([n]) * 5000 for n in range(40)), head * 50]
    out = io.BytesIO()
    with GzipWriter(out, level=request.param, jobs=2) as gz:
        for piece in pieces:
            gz.write(piece)
            gz.cut()
        gz.finish()
    path = tmp_path / "t.gz"
    path.write_bytes(out.getvalue())
    return path, b"".join(pieces)


@pytest.mark.parametrize("size", [1, 4096, -1])
def test_all_comes_back(written: tuple[Path, bytes], size: int) -> None:
    path, content = written
    with open_members(path, 3) as stream:
        if size == 1:
            assert b"".join(stream.read(1) for _ in range(20)) == content[:20]
        else:
            assert b"".join(iter(lambda: stream.read(size), b"")) == content


@pytest.mark.parametrize("at", [5, 11, 5000, -3])
def test_damage_is_found(written: tuple[Path, bytes], at: int) -> None:
    path, _ = written
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(gzip.BadGzipFile), open_members(path, 2) as stream:
        stream.read()


def test_a_file_cut_short_is_found(written: tuple[Path, bytes]) -> None:
    path, _ = written
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(gzip.BadGzipFile), open_members(path, 2) as stream:
        stream.read()
