"""Locks on files: who only looks at one stands in nobody's way."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tmplbuild.core import filelock, remains
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
    (tmp_path / "101" / remains.LOCK).touch()
    with onlooker(tmp_path / "101" / remains.LOCK):
        for _ in range(300):
            os.close(remains.lock_veid(str(tmp_path), "101"))


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with filelock.exclusive(Path("lock"), "taken"):
        assert filelock.is_held("lock")
