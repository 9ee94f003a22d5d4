"""Work shared with copies of the process."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest

from tmplbuild.core.crew import share
from tmplbuild.errors import StageError, StoreError


def children() -> str:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_are_in_order(workers: int) -> None:
    assert share(lambda number: number * 2, range(1000), workers) == list(range(0, 2000, 2))


def test_each_item_is_worked_on_once_by_several_processes(tmp_path: Path) -> None:
    def work(number: int) -> int:
        (tmp_path / str(number)).touch(exist_ok=False)
        while len(list(tmp_path.iterdir())) < 2:
            pass  # until the other one is at work, too
        return os.getpid()

    assert len(set(share(work, range(2), 2))) == 2
    assert not children()


def test_an_error_comes_back_whole_and_nothing_more_is_begun(tmp_path: Path) -> None:
    def work(number: int) -> None:
        (tmp_path / str(number)).touch()
        raise StoreError("the disk is full", where=f"/{number}", why="no space", hint="make room")

    with pytest.raises(StoreError) as caught:
        share(work, range(1000), 3)
    assert (caught.value.what, caught.value.why, caught.value.hint) == (
        "the disk is full",
        "no space",
        "make room",
    )
    assert len(list(tmp_path.iterdir())) <= 3
    assert not children()


def test_a_copy_that_is_killed_is_told_of(tmp_path: Path) -> None:
    caller = os.getpid()

    def work(number: int) -> int:
        if os.getpid() != caller:
            (tmp_path / "begun").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        while not (tmp_path / "begun").exists():
            pass
        return number

    with pytest.raises(StageError, match="killed"):
        share(work, range(2), 2)
    assert not children()


def test_an_interrupted_caller_leaves_no_copy() -> None:
    caller = os.getpid()

    def work(number: int) -> None:
        if os.getpid() == caller:
            raise KeyboardInterrupt
        signal.pause()

    with pytest.raises(KeyboardInterrupt):
        share(work, range(100), 3)
    assert not children()


def test_what_a_copy_had_begun_is_put_away(tmp_path: Path) -> None:
    caller = os.getpid()

    def work(number: int) -> None:
        if os.getpid() == caller:
            while not (tmp_path / "begun").exists():
                pass
            raise KeyboardInterrupt
        with tempfile.NamedTemporaryFile(dir=tmp_path):
            (tmp_path / "begun").touch()
            signal.pause()

    with pytest.raises(KeyboardInterrupt):
        share(work, range(100), 2)
    assert [path.name for path in tmp_path.iterdir()] == ["begun"]
