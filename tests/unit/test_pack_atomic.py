"""A file is there whole or not at all, and nothing is left beside it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workshop import other_umask
from tmplbuild.artifact.atomic import atomic_file, remove_stale, write_atomic
from tmplbuild.errors import StoreError

ROOT = Path(__file__).parents[2]


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "t.tar.gz").write_bytes(b"old")
    return tmp_path / "t.tar.gz"


def test_the_new_file_replaces_the_old_one(path: Path) -> None:
    with other_umask(0o077), atomic_file(path) as out:
        out.write(b"ne")
        out.write(memoryview(b"w"))
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o7777 == 0o644
    assert names(path.parent) == ["t.tar.gz"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, OSError])
def test_an_error_leaves_the_old_file_and_nothing_else(path: Path, error: type[BaseException]) -> None:
    def fails() -> None:
        with atomic_file(path) as out:
            out.write(b"half")
            raise error

    with pytest.raises(error):
        fails()
    assert path.read_bytes() == b"old"
    assert names(path.parent) == ["t.tar.gz"]


def test_a_killed_runs_part_goes_with_the_next_run(path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tmplbuild.artifact.atomic import atomic_file\n"
        "with atomic_file(Path(sys.argv[1])) as out:\n"
        "    out.write(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(names(path.parent)) == 2
    write_atomic(path, b"new")
    assert names(path.parent) == ["t.tar.gz"]
    assert path.read_bytes() == b"new"


def test_the_part_of_a_living_run_stays(path: Path) -> None:
    with atomic_file(path) as slow:
        slow.write(b"slow")
        write_atomic(path, b"quick")
        assert path.read_bytes() == b"quick"
        assert len(names(path.parent)) == 2
    assert path.read_bytes() == b"slow"
    assert names(path.parent) == ["t.tar.gz"]


def test_only_parts_of_this_name_are_removed(path: Path) -> None:
    others = [".t.tar.gz.ab.cd.tmplbuild-part", ".u.tar.gz.ab.tmplbuild-part", ".t.tar.gz.ab.part"]
    for name in [*others, ".t.tar.gz.0a1b.tmplbuild-part"]:
        (path.parent / name).write_text("")
    assert remove_stale(path) == [path.parent / ".t.tar.gz.0a1b.tmplbuild-part"]
    assert names(path.parent) == sorted([*others, "t.tar.gz"])


def test_a_link_in_the_place_of_a_part_is_not_followed(path: Path, tmp_path: Path) -> None:
    (path.parent / ".t.tar.gz.0a1b.tmplbuild-part").symlink_to(path)
    assert remove_stale(path) == []
    assert path.read_bytes() == b"old"


def test_a_part_that_is_locked_by_another_is_not_removed(path: Path) -> None:
    part = path.parent / ".t.tar.gz.0a1b.tmplbuild-part"
    with open(part, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert remove_stale(path) == []
    assert remove_stale(path) == [part]


def test_a_missing_directory_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        write_atomic(tmp_path / "none" / "t.tar.gz", b"")
    assert caught.value.where == str(tmp_path / "none" / "t.tar.gz")
    assert "mkdir -p" in caught.value.hint


def test_a_directory_in_the_place_of_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.tar.gz" / "in it").mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be written"):
        write_atomic(tmp_path / "t.tar.gz", b"x")
    assert names(tmp_path) == ["t.tar.gz"]


def test_a_very_long_name_has_room_for_its_part(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_atomic(path, b"x")
    assert names(tmp_path) == [path.name]


def test_a_full_disk_is_told_with_bytes(path: Path) -> None:
    """EFBIG (a file size limit) takes the way of ENOSPC; a really full one is in tests/component."""
    script = (
        "import resource, sys; from pathlib import Path; from tmplbuild.errors import StoreError\n"
        "from tmplbuild.artifact.atomic import atomic_file\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    with atomic_file(Path(sys.argv[1]), needed=5000) as out:\n"
        "        out.write(bytes(1500))\n"
        "except StoreError as error: print(error.why)"
    )
    argv = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "needed: at least 5000 bytes, free: " in done.stdout
    assert path.read_bytes() == b"old"
    assert names(path.parent) == ["t.tar.gz"]
