"""The door to subprocesses."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tmplbuild.core import process
from tmplbuild.errors import HostError, StageError


def test_output_and_status() -> None:
    done = process.run(["sh", "-c", "echo out; echo err >&2; exit 3"], ok=(0, 3))
    assert (done.rc, done.stdout, done.stderr) == (3, b"out\n", b"err\n")


def test_a_failure_has_status_and_last_words() -> None:
    with pytest.raises(StageError, match="make it") as caught:
        process.run(["sh", "-c", "echo why; exit 3"], what="make it")
    assert caught.value.why == "exit status 3"
    assert caught.value.tail == ("why",)


def test_a_signal_is_a_shells_status() -> None:
    assert process.run(["sh", "-c", "kill -9 $$"], ok=None).rc == 137


def test_a_missing_program() -> None:
    with pytest.raises(HostError, match="no-such-program"):
        process.run(["no-such-program"])


def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    names = [row.partition(b"=")[0] for row in process.run(["env"], env={"MINE": "1"}).stdout.splitlines()]
    assert b"SECRET" not in names
    assert b"MINE" in names


def test_input_larger_than_a_pipe_goes_through() -> None:
    data = os.urandom(1 << 20)
    assert process.run(["cat"], stdin=data).stdout == data
    assert process.run(["true"], stdin=data).rc == 0
    assert process.run(["cat"]).stdout == b""


def test_output_can_be_streamed() -> None:
    seen: list[tuple[bytes, str]] = []
    done = process.run(
        ["sh", "-c", "echo a; echo b >&2"], output=lambda data, name: seen.append((data, name))
    )
    assert sorted(seen) == [(b"a\n", "stdout"), (b"b\n", "stderr")]
    assert done.stdout == b""


def test_a_time_limit_kills_the_whole_group(tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    script = f"sleep 4701 & echo $! >{pidfile}; wait"
    with pytest.raises(StageError, match="run sh") as caught:
        process.run(["sh", "-c", script], timeout_s=3)
    assert "3 seconds" in caught.value.why
    # killed, it may take a moment to be gone; it would otherwise sleep for more than an hour
    deadline = time.monotonic() + 60
    while _alive(pidfile):
        assert time.monotonic() < deadline
        os.sched_yield()


def test_a_group_is_killed_only_while_its_number_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its leader was waited for, the number may be another group's."""
    killed: list[int] = []

    def killpg(pid: int, number: int) -> None:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)  # no child of ours: ChildProcessError
        killed.append(pid)
        really(pid, number)

    really = os.killpg
    monkeypatch.setattr(os, "killpg", killpg)
    assert process.run(["true"]).rc == 0
    with pytest.raises(StageError):
        process.run(["sleep", "60"], timeout_s=0.1)
    assert len(killed) == 2


def _alive(pidfile: Path) -> bool:
    try:
        stat = Path(f"/proc/{pidfile.read_text().strip()}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def test_an_interrupt_kills_the_command() -> None:
    pids: list[int] = []

    def interrupt(data: bytes, name: str) -> None:
        pids.append(int(data))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.run(["sh", "-c", "echo $$; exec sleep 4702"], output=interrupt)
    assert not Path(f"/proc/{pids[0]}").exists()
