"""A copy of the process that does things beside it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from tests.workshop import ROOT
from tmplbuild import errors
from tmplbuild.core import aside as module
from tmplbuild.core.aside import Aside, GoneError, Say
from tmplbuild.errors import StageError, TmplbuildError


class Clerk:
    def __init__(self, say: Say) -> None:
        self.say = say
        self.said: list[str] = []
        self.bell = threading.Event()

    def note(self, word: str) -> list[str]:
        self.said.append(word)
        return self.said

    def fail(self) -> None:
        raise StageError("it failed", where="here", why="so", tail=("a", "b"))

    def fail_oddly(self) -> None:
        raise OddError(lambda: None)

    def call(self, word: str) -> None:
        self.say(word)

    def wait(self) -> str:
        self.bell.wait()
        return "rung"

    def ring(self) -> None:
        self.bell.set()

    def nice(self) -> tuple[int, int]:
        return os.getpriority(os.PRIO_PROCESS, 0), os.getsid(0)

    def leave(self) -> None:
        os._exit(1)

    def call_off(self) -> None:
        raise asyncio.CancelledError

    def linger(self, path: Path) -> None:
        try:
            self.say("lingering")
            time.sleep(60)
        finally:
            path.write_text("cleaned up")


class OddError(Exception):
    """One that cannot be pickled."""


def test_what_it_is_told_is_done_in_order() -> None:
    aside = Aside(Clerk)
    aside.tell("note", "a")
    assert aside.tell("note", word="b").result() == ["a", "b"]
    assert aside.answered
    aside.close()
    with pytest.raises(GoneError):
        aside.tell("note", "c").result()


def test_errors_come_back_as_they_are() -> None:
    aside = Aside(Clerk)
    with pytest.raises(StageError) as caught:
        aside.tell("fail").result()
    assert (caught.value.where, caught.value.why, caught.value.tail) == ("here", "so", ("a", "b"))
    with pytest.raises(RuntimeError, match="OddError"):
        aside.tell("fail_oddly").result()
    assert aside.tell("note", "on it goes").result() == ["on it goes"]
    aside.close()


def test_all_errors_of_ours_can_travel() -> None:
    def kinds(of: type[TmplbuildError]) -> list[type[TmplbuildError]]:
        return [of, *(one for kind in of.__subclasses__() for one in kinds(kind))]

    for kind in kinds(TmplbuildError):
        if kind.__module__ != errors.__name__:
            continue

        def make(say: Say, kind: type[TmplbuildError] = kind) -> object:
            raise kind("what", where="where", why="why", hint="hint")

        aside = Aside(make)
        with pytest.raises(kind) as caught:
            aside.tell("anything").result()
        assert str(caught.value) == str(kind("what", where="where", why="why", hint="hint"))
        aside.close()


def test_it_may_speak_unasked() -> None:
    heard: list[str] = []
    aside = Aside(Clerk, heard=heard.append)
    aside.tell("call", "ho").result()
    assert heard == ["ho"]
    aside.close()


def test_what_waits_keeps_nobody_waiting() -> None:
    aside = Aside(Clerk, at_once=("wait",))
    waiting = aside.tell("wait")
    aside.tell("ring").result()
    assert waiting.result() == "rung"
    aside.close()


def test_it_lets_others_go_first_until_it_is_waited_for() -> None:
    aside = Aside(Clerk, nice=19)
    nice, session = aside.tell("nice").result()
    assert nice == 19
    assert session != os.getsid(0)
    aside.hurry()
    if os.geteuid() == 0:  # others may only step back
        assert aside.tell("nice").result()[0] == os.getpriority(os.PRIO_PROCESS, 0)
    aside.close()


def test_what_is_called_off_there_is_answered() -> None:
    aside = Aside(Clerk, at_once=("call_off",))
    with pytest.raises(GoneError):
        aside.tell("call_off").result(60)
    aside.tell("note", "on it goes").result()
    aside.close()


def test_one_that_ends_answers_nobody() -> None:
    aside = Aside(Clerk, at_once=("wait",))
    waiting = aside.tell("wait")
    with pytest.raises(GoneError):
        aside.tell("leave").result()
    with pytest.raises(GoneError):
        waiting.result()
    aside.close()


def test_one_that_is_stopped_cleans_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GRACE_S", 60)
    begun = threading.Event()
    aside = Aside(Clerk, heard=lambda said: begun.set())
    lost = aside.tell("linger", tmp_path / "file")
    begun.wait()
    aside.stop()
    assert (tmp_path / "file").read_text() == "cleaned up"
    with pytest.raises(GoneError):
        lost.result()


def test_it_ends_with_who_made_it(tmp_path: Path) -> None:
    code = """
        import os, signal
        from tmplbuild.core.aside import Aside
        class Clerk:
            def __init__(self, say):
                pass
            def pid(self):
                return os.getpid()
        print(Aside(Clerk).tell("pid").result(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    pid = int(done.stdout)
    deadline = time.monotonic() + 60
    while _runs(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_much_is_asked_and_much_is_answered() -> None:
    """More than the socket holds, both ways: neither waits for the other to read first."""
    aside = Aside(Clerk)
    answers: list[list[str]] = []

    def talk() -> None:
        asked = [aside.tell("note", str(number) * 300_000) for number in range(10)]
        answers.extend(one.result() for one in asked)

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    thread.join(60)
    assert [len(one) for one in answers] == list(range(1, 11))
    aside.close()
