"""Builds that run beside each other as processes of their own, and are called off."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tmplbuild.core import process
from tmplbuild.engine import workers as module
from tmplbuild.engine.budget import Budget, Need
from tmplbuild.engine.workers import Ended, Job, Workers

PROGRAM = """
import signal, sys
from pathlib import Path

def stop(number, frame):
    Path(sys.argv[2]).write_text("cleaned up")
    sys.exit(130)

signal.signal(signal.SIGTERM, stop)
Path(sys.argv[2] + "-runs").touch()
if sys.argv[1] == "wait":
    signal.pause()
"""


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands for a build."""
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setattr(
        process, "_ourselves", lambda words: [sys.executable, str(tmp_path / "program.py"), *words]
    )


def job(word: str, file: Path) -> Job:
    return Job(file.name, (word, str(file)), Need(1, 0))


def test_a_build_that_is_just_being_started_is_stopped_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined = threading.Event()
    really = threading.Thread.join

    def join(thread: threading.Thread, timeout: float | None = None) -> None:
        if thread.name == "build slow":
            joined.set()
        really(thread, timeout)

    class Slow(process.Sibling):
        """Its process is there when the run has been interrupted."""

        def __init__(self, words: tuple[str, ...], env: dict[str, str]) -> None:
            if words[0] == "wait":
                assert joined.wait(60)
            super().__init__(words, env)
            if words[0] == "wait":  # a Python that begins knows no signals yet
                while not (tmp_path / "slow-runs").exists():
                    threading.Event().wait(0.01)

    monkeypatch.setattr(threading.Thread, "join", join)
    monkeypatch.setattr(module, "Sibling", Slow)

    def interrupt(ended: Ended) -> None:
        raise KeyboardInterrupt

    heard: list[Any] = []
    budget = Budget(jobs=2, memory_mib=1000, keep_free_mib=0, place=tmp_path)
    workers = Workers(budget, {}, emit=heard.append)
    with pytest.raises(KeyboardInterrupt):
        workers.run([job("end", tmp_path / "quick"), job("wait", tmp_path / "slow")], interrupt)
    assert (tmp_path / "slow").read_text() == "cleaned up"
