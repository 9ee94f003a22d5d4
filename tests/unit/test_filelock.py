"""Locks on files: who only looks at one stands in nobody's way."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace as Clock

import pytest

from tmplbuild.core import filelock, runstate
from tmplbuild.errors import BusyError


@contextmanager
def onlooker(path: Path) -> Iterator[None]:
    """Somebody asks over and over whether a lock is held."""
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            filelock.is_held(path)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_lock_is_held_while_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / "below" / "lock"
    assert not filelock.is_held(path)
    with filelock.exclusive(path, "another one works"):
        assert filelock.is_held(path)
        with (
            pytest.raises(BusyError, match="another one works") as error,
            filelock.exclusive(path, "another one works"),
        ):
            pass
        assert f"process {os.getpid()} holds the lock since" in error.value.why
    assert not filelock.is_held(path)


def test_a_look_at_a_lock_makes_nobody_busy(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    with onlooker(path):
        for _ in range(300):
            with filelock.exclusive(path, "taken"):
                pass


def test_a_look_at_a_ve_keeps_nobody_from_it(tmp_path: Path) -> None:
    (tmp_path / "101").mkdir()
    (tmp_path / "101" / runstate.LOCK).touch()
    with onlooker(tmp_path / "101" / runstate.LOCK):
        for _ in range(300):
            os.close(runstate.lock_veid(str(tmp_path), "101"))


def test_what_a_killed_holder_left_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    told, over = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:  # it forks, and what it forked has its lock
        try:
            os.close(over[1])
            with filelock.exclusive(path, "taken"):
                if os.fork() == 0:
                    os.write(told[1], b"x")
                    os.read(over[0], 1)
                    os._exit(0)
                signal.pause()
        finally:
            os._exit(1)
    assert os.read(told[0], 1) == b"x"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert filelock.is_held(path)
    really = filelock._is_dying

    def is_dying(holder: str) -> bool:
        os.close(over[1])
        monkeypatch.setattr(filelock, "_is_dying", really)
        return really(holder)

    monkeypatch.setattr(filelock, "_is_dying", is_dying)
    with filelock.exclusive(path, "taken"):
        pass


def test_who_is_dying() -> None:
    assert not filelock._is_dying(str(os.getpid()))
    assert not filelock._is_dying("unknown")
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert filelock._is_dying(str(pid))  # its parent has not looked yet
    os.waitpid(pid, 0)
    assert filelock._is_dying(str(pid))


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with filelock.exclusive(Path("lock"), "taken"):
        assert filelock.is_held("lock")


def test_a_lock_that_is_shared_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes: who tidies up is slow where the machine is."""
    path = tmp_path / "lock"
    tidier = filelock.opened(path)
    filelock.take(tidier)
    filelock.share(tidier)
    assert not filelock.is_held(path)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 100:
            os.close(tidier)

    hours = iter(range(0, 10**6, 3600))
    monkeypatch.setattr(filelock, "time", Clock(sleep=pause, monotonic=lambda: next(hours), time=time.time))
    with filelock.exclusive(path, "taken"):
        assert len(pauses) == 100


def test_who_tidies_up_keeps_nobody_from_a_ve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tidier = runstate.lock_veid(str(tmp_path), "101", to_clear=True)
    monkeypatch.setattr(filelock, "time", Clock(sleep=lambda s: os.close(tidier), monotonic=time.monotonic))
    os.close(runstate.lock_veid(str(tmp_path), "101"))
