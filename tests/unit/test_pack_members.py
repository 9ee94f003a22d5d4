"""Kept members: used when whole, never when torn, and shared by runs at once."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.pack_trees import packed
from tmplbuild.archives.cache import remove_unlocked
from tmplbuild.artifact.members import MemberCache
from tmplbuild.errors import StoreError
from tmplbuild.events import Event, Note


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "etc").mkdir(parents=True)
    (root / "etc/a").write_text("a" * 3000)
    return root


@pytest.fixture
def cache(tmp_path: Path) -> MemberCache:
    return MemberCache(tmp_path / "members")


def kept(cache: MemberCache) -> list[Path]:
    return sorted(path for path in cache.directory.glob("*/*") if path.is_file())


def test_a_second_pack_reuses_all_and_gives_the_same_bytes(
    tree: Path, tmp_path: Path, cache: MemberCache
) -> None:
    plain = packed(tree, tmp_path / "plain.tar.gz")
    first = packed(tree, tmp_path / "one.tar.gz", members=cache)
    second = packed(tree, tmp_path / "two.tar.gz", members=cache)
    assert (plain.reused, first.reused, second.reused) == (0, 0, second.members)
    assert plain.sha256 == first.sha256 == second.sha256
    assert (tmp_path / "plain.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_a_change_compresses_only_its_member(tree: Path, tmp_path: Path, cache: MemberCache) -> None:
    packed(tree, tmp_path / "one.tar.gz", members=cache)
    times = os.stat(tree / "etc")
    (tree / "etc/a").write_text("b")
    os.utime(tree / "etc", ns=(times.st_atime_ns, times.st_mtime_ns))
    done = packed(tree, tmp_path / "two.tar.gz", members=cache)
    assert (done.members, done.reused) == (2, 1)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "sum"])
def test_a_torn_member_is_not_used(tree: Path, tmp_path: Path, cache: MemberCache, damage: str) -> None:
    wanted = packed(tree, tmp_path / "one.tar.gz", members=cache)
    for path in kept(cache):
        data = bytearray(path.read_bytes())
        if damage == "cut":
            del data[-40:]
        elif damage == "flip":
            data[len(data) // 2] ^= 1
        elif damage == "sum":
            data[-1] ^= 1
        else:
            data.clear()
        path.write_bytes(data)
    done = packed(tree, tmp_path / "two.tar.gz", members=cache)
    assert (done.reused, done.sha256) == (0, wanted.sha256)
    assert packed(tree, tmp_path / "three.tar.gz", members=cache).reused == done.members


def test_level_and_library_are_in_the_key(cache: MemberCache) -> None:
    raw = memoryview(b"raw")
    keys = {cache.key(6, "x/1", raw), cache.key(7, "x/1", raw), cache.key(6, "x/2", raw)}
    assert len(keys) == 3


def test_a_member_that_is_used_is_young(cache: MemberCache) -> None:
    old, used = "a" * 64, "b" * 64
    for key in (old, used):
        cache.put(key, b"member")
    (cache.directory / "aa" / "README").write_text("not ours")
    for path in cache.directory.glob("*/*"):
        os.utime(path, (1000, 1000))
    assert cache.get(used) == b"member"
    assert {path.stat().st_mtime > 1000: path.name for path in MemberCache.files(cache.directory)} == {
        False: "a" * 62,
        True: "b" * 62,
    }


def test_drafts_of_dead_runs_are_among_the_files(cache: MemberCache) -> None:
    cache.put("c" * 64, b"member")
    draft = cache.directory / "cc" / f".{'c' * 62}.1.1"
    draft.write_bytes(b"half")
    assert draft in MemberCache.files(cache.directory)


def test_runs_share_a_cache(cache: MemberCache) -> None:
    keys = [f"{number:064x}" for number in range(40)]

    def work(start: int) -> int:
        good = 0
        for key in keys[start:] + keys[:start]:
            cache.put(key, key.encode() * 100)
            good += cache.get(key) in (key.encode() * 100, None)
            for path in MemberCache.files(cache.directory):
                remove_unlocked(path)
        return good

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(0, 40, 10))) == [40] * 4


def test_a_cache_that_cannot_be_written_costs_only_time(
    tree: Path, tmp_path: Path, cache: MemberCache
) -> None:
    for number in range(256):
        (cache.directory / f"{number:02x}").write_text("in the way")
    events: list[Event] = []
    done = packed(tree, tmp_path / "t.tar.gz", members=cache, emit=events.append)
    assert done.sha256 == packed(tree, tmp_path / "plain.tar.gz").sha256
    (note,) = (event for event in events if isinstance(event, Note))
    assert note.level == "warning"
    assert str(cache.directory) in note.text


def test_a_cache_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made") as caught:
        MemberCache(tmp_path / "file" / "members")
    assert str(tmp_path) in caught.value.where


def test_the_cache_is_private(cache: MemberCache) -> None:
    assert cache.directory.stat().st_mode & 0o777 == 0o700


def test_processes_share_a_cache(tree: Path, tmp_path: Path, cache: MemberCache) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.pack_trees import packed\n"
        "from tmplbuild.artifact.members import MemberCache\n"
        "print(packed(Path(sys.argv[1]), Path(sys.argv[2]), members=MemberCache(Path(sys.argv[3]))).sha256)"
    )
    argv = [sys.executable, "-c", script, str(tree)]
    runs = [
        subprocess.Popen(
            [*argv, str(tmp_path / f"{number}.tar.gz"), str(cache.directory)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for number in range(3)
    ]
    assert len({run.communicate()[0] for run in runs}) == 1
    assert [run.returncode for run in runs] == [0, 0, 0]
