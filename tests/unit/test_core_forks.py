"""Runs as copies of a process that is kept."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.workshop import ROOT
from tmplbuild.core import process
from tmplbuild.core.forks import Keeper

KEPT = """
import os, signal, sys, threading, time
from pathlib import Path
from tmplbuild.core import process
from tmplbuild.core.forks import serve
from tmplbuild.core.process import die_with_parent

def main(words):
    match words:
        case ["say", *said]:
            print(*said)
            print("to err", file=sys.stderr)
            return 3
        case ["about"]:
            here = [fd for fd in os.listdir("/proc/self/fd") if int(fd) > 2]
            print(os.getpid(), os.getppid(), os.getsid(0), len(here), os.environ.get("MINE"))
            print(*(signal.getsignal(one) == signal.SIG_DFL for one in (signal.SIGTERM, signal.SIGCHLD)))
            globals()["left"] = globals().get("left", 0) + 1
            print(left)
        case ["fall"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["raise"]:
            raise RuntimeError("unlucky")
        case ["wait"]:
            print("waiting", os.getpid(), flush=True)
            signal.pause()
        case ["deaf"]:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print("waiting", os.getpid(), flush=True)
            while True:
                signal.pause()
    return 0

die_with_parent()
process._ourselves = lambda words: [sys.executable, "-c", "import sys; print('anew', *sys.argv[1:])", *words]
more = threading.Event()
if "thread" in sys.argv:
    threading.Thread(target=more.wait, daemon=True).start()

def is_old():
    while Path(sys.argv[2] + "-busy").exists():  # it looks at many files
        Path(sys.argv[2] + "-looks").touch()
        time.sleep(0.01)
    return Path(sys.argv[2]).exists()

def fork(really=os.fork):
    if Path(sys.argv[2] + "-full").exists():
        raise BlockingIOError("no room")
    return really()

os.fork = fork
serve(int(sys.argv[1]), main, is_old)
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return tmp_path / "old"


@pytest.fixture
def keeper(tmp_path: Path, old: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keeper]:
    """Of a tool that does what `KEPT` says; where it begins anew, it only says what it was told."""
    made = keeper_of(tmp_path, old, monkeypatch)
    yield made
    made.close()


def keeper_of(place: Path, old: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> Keeper:
    (place / "kept.py").write_text(KEPT)
    monkeypatch.setattr(process, "_ourselves", lambda words: [sys.executable, str(place / "kept.py"), *words])
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return Keeper(lambda fd: [str(fd), str(old), *more], {"MINE": "1"})


def said(keeper: Keeper, *words: str) -> tuple[int, list[str]]:
    run = keeper.start(words)
    lines = [line.decode().rstrip() for line in run.lines()]
    return run.wait()[0], lines


def test_output_and_status(keeper: Keeper) -> None:
    run = keeper.start(["say", "one", "two"])
    assert list(run.lines()) == [b"one two\n"]
    assert run.wait() == (3, "to err\n")


def test_who_listens_may_go_and_come_back(keeper: Keeper) -> None:
    run = keeper.start(["wait"])
    for line in run.lines():
        assert line.startswith(b"waiting")
        break
    run.stop()
    assert list(run.lines()) == []
    assert run.wait()[0] == -signal.SIGTERM


def test_a_copy_is_what_a_fresh_process_would_be(keeper: Keeper) -> None:
    for _ in range(2):  # nothing is left of the one before
        status, lines = said(keeper, "about")
        pid, parent, session, more, mine = lines[0].split()
        assert status == 0
        assert (session, mine) == (pid, "1")
        assert parent != str(os.getpid())
        assert more == "1"  # the directory that it looks at
        assert lines[1:] == ["True True", "1"]


def test_copies_run_beside_each_other_and_are_stopped_one_by_one(keeper: Keeper) -> None:
    first, second = keeper.start(["wait"]), keeper.start(["wait"])
    assert next(first.lines()).startswith(b"waiting")
    assert next(second.lines()).startswith(b"waiting")
    second.stop()
    assert second.wait()[0] == -signal.SIGTERM
    assert said(keeper, "say", "x")[0] == 3
    first.stop()
    assert first.wait()[0] == -signal.SIGTERM
    first.stop()  # there is nobody to hear it


def test_one_that_is_deaf_is_killed(keeper: Keeper) -> None:
    run = keeper.start(["deaf"])
    assert next(run.lines()).startswith(b"waiting")
    run.stop()
    run.kill()
    assert run.wait()[0] == -signal.SIGKILL


def test_one_that_is_stopped_as_it_ends_takes_nobody_along(keeper: Keeper, old: Path) -> None:
    ending, other = keeper.start(["wait"]), keeper.start(["wait"])
    copy = pid_of(next(ending.lines()))
    next(other.lines())
    busy, looks = old.with_name("old-busy"), old.with_name("old-looks")
    busy.touch()
    with ThreadPoolExecutor(1) as pool:
        third = pool.submit(said, keeper, "say", "x")
        until(looks.exists)  # who is kept hears of nothing now
        os.kill(copy, signal.SIGKILL)
        until(lambda: state(copy) == "Z")
        ending.stop()
        busy.unlink()
        assert third.result()[0] == 3
    assert ending.wait()[0] == -signal.SIGKILL
    other.stop()
    assert other.wait()[0] == -signal.SIGTERM


@pytest.mark.parametrize(("word", "status"), [("fall", -signal.SIGKILL), ("raise", 1)])
def test_a_crash_is_its_own(keeper: Keeper, word: str, status: int) -> None:
    assert said(keeper, word)[0] == status
    assert said(keeper, "say", "x") == (3, ["x"])


def pid_of(line: bytes) -> int:
    return int(line.split()[1])


def test_who_is_kept_may_be_killed(keeper: Keeper) -> None:
    run = keeper.start(["wait"])
    copy = pid_of(next(run.lines()))
    kept = int(Path(f"/proc/{copy}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(kept, signal.SIGKILL)
    assert run.wait()[0] == -signal.SIGKILL  # the copies go with it
    until_gone(copy)
    assert said(keeper, "say", "x")[0] == 3  # by another one, or by a run of its own


def test_the_end_takes_all_along(keeper: Keeper) -> None:
    run = keeper.start(["deaf"])
    copy = pid_of(next(run.lines()))
    keeper.close()
    until_gone(copy)
    assert run.wait()[0] == -signal.SIGKILL


def test_a_program_that_was_changed_begins_anew(keeper: Keeper, old: Path) -> None:
    assert said(keeper, "say", "x")[1] == ["x"]
    old.touch()
    assert said(keeper, "say", "x") == (0, ["anew say x"])


def test_where_there_is_no_room_for_a_copy_the_others_run_on(keeper: Keeper, old: Path) -> None:
    other = keeper.start(["wait"])
    next(other.lines())
    old.with_name("old-full").touch()
    alone = keeper.start(["say", "x"])
    assert isinstance(alone, process.Sibling)  # a run of its own
    alone.wait()
    other.stop()
    assert other.wait()[0] == -signal.SIGTERM


def test_one_that_has_threads_is_not_copied(
    tmp_path: Path, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = keeper_of(tmp_path, old, monkeypatch, "thread")
    assert said(keeper, "say", "x") == (0, ["anew say x"])
    keeper.close()


def until_gone(pid: int) -> None:
    until(lambda: not Path(f"/proc/{pid}").exists() or state(pid) == "Z")


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
