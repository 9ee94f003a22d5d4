"""Commands in a VE without init: statuses, streams, time limits, whole trees of processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace as Clock

import pytest

from tests.conftest import Places
from tests.core_trees import layers, wait_until
from tmplbuild.core import VE, Core, cgroup
from tmplbuild.core.ve import _Command
from tmplbuild.errors import UsageError

pytestmark = [pytest.mark.root, pytest.mark.trees, pytest.mark.live]


@pytest.fixture(scope="module")
def core(places: Places) -> Core:
    return Core(places("exec") / "run")


@pytest.fixture(scope="module")
def ve(core: Core, places: Places) -> Iterator[VE]:
    with core.start("exec", layers(places("exec")), init=False) as running:
        yield running


def running(ve: VE, mark: str) -> bool:
    """Whether a process with `mark` on its command line runs in the VE."""
    return ve.exec(["pgrep", "-xf", f"sleep {mark}"]).ok


@pytest.mark.parametrize("status", [0, 1, 2, 100, 127, 255])
def test_exit_statuses_are_true(ve: VE, status: int) -> None:
    result = ve.exec(["sh", "-c", f"exit {status}"])
    assert (result.rc, result.signal, result.timed_out) == (status, None, False)


@pytest.mark.parametrize("name", ["TERM", "KILL", "SEGV", "PIPE"])
def test_signals_are_told(ve: VE, name: str) -> None:
    number = signal.Signals[f"SIG{name}"]
    result = ve.exec(["sh", "-c", f"kill -{name} $$"])
    assert (result.rc, result.signal) == (128 + number, number)


def test_what_cannot_be_run_has_a_shells_statuses(ve: VE) -> None:
    assert ve.exec(["no-such-program"]).rc == 127
    assert ve.exec(["/no/such/program"]).rc == 127
    assert ve.exec(["/etc/passwd"]).rc == 126
    assert ve.exec(["/etc"]).rc == 126
    assert b"no-such-program" in ve.exec(["no-such-program"]).stderr
    assert ve.exec(["true"], cwd="/no/such/folder").rc == 126
    assert ve.exec(["true"], user="nobody-at-all").rc == 126


def test_a_script_with_a_missing_interpreter_is_not_found(ve: VE) -> None:
    ve.exec(["sh", "-c", "printf '#!/no/such\\n' >/tmp/script; chmod +x /tmp/script"])
    assert ve.exec(["/tmp/script"]).rc == 127


def test_output_streams_while_the_command_runs(ve: VE) -> None:
    reader, writer = os.pipe()
    seen: list[tuple[bytes, str]] = []

    def take(data: bytes, name: str) -> None:
        seen.append((data, name))
        if data == b"one\n":  # the command goes on only after its first line has come here
            os.write(writer, b"go\n")

    result = ve.exec(["sh", "-c", "echo one; read word; echo $word >&2"], stdin=reader, output=take)
    os.close(reader)
    os.close(writer)
    assert result.ok
    assert seen == [(b"one\n", "stdout"), (b"go\n", "stderr")]


def test_much_output_and_much_input_arrive_whole(ve: VE) -> None:
    data = os.urandom(3 << 20)
    result = ve.exec(["sh", "-c", "tee /dev/stderr"], stdin=data)
    assert result.stdout == data
    assert result.stderr == data


def test_a_script_goes_in_by_standard_input(ve: VE) -> None:
    assert ve.exec(["sh", "-s"], stdin=b"echo $((6 * 7))\nexit 4\n").rc == 4


def test_long_argument_lists(ve: VE) -> None:
    words = [f"word-{number:06}" for number in range(20_000)]
    assert ve.exec(["sh", "-c", "echo $#", "sh", *words]).stdout == b"20000\n"
    assert ve.exec(["sh", "-c", "true", "x" * 200_000]).rc == 126  # one word's limit: MAX_ARG_STRLEN


def test_the_environment_is_clean(ve: VE, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "1")
    rows = ve.exec(["/usr/bin/env"], env={"MINE": "a b"}).stdout.decode().splitlines()
    assert sorted(row.partition("=")[0] for row in rows) == [
        "HOME", "LOGNAME", "MINE", "PATH", "USER", "container",
    ]  # fmt: skip


def test_no_descriptor_of_ours_comes_along(ve: VE) -> None:
    result = ve.exec(["ls", "/proc/self/fd"])
    assert result.stdout.split() == [b"0", b"1", b"2", b"3"]  # 3 is the listing's own


def test_signals_are_as_a_login_has_them(ve: VE) -> None:
    rows = dict(
        line.split(":\t")
        for line in ve.exec(["cat", "/proc/self/status"]).stdout.decode().splitlines()
        if line.startswith("Sig")
    )
    # 32 and 33 are glibc's own: posix_spawn (make uses it) leaves them ignored, and nobody else can set them
    assert int(rows["SigIgn"], 16) & ~(0b11 << 31) == 0
    assert int(rows["SigBlk"], 16) == 0


def test_users_and_folders(ve: VE) -> None:
    result = ve.exec(["sh", "-c", "id -u; id -g; id -G; pwd; echo $HOME"], user="www-data", cwd="/var")
    assert result.stdout.split() == [b"33", b"33", b"33", b"/var", b"/var/www"]
    assert ve.exec(["id"], user="6:34").stdout == b"uid=6(man) gid=34(backup) groups=34(backup)\n"
    assert ve.exec(["id", "-u"], user="4321").stdout == b"4321\n"


def test_a_time_limit_kills_the_whole_tree_of_processes(ve: VE) -> None:
    script = "setsid sh -c 'trap \"\" TERM HUP; sleep 4101 & sleep 4101' & sleep 4101"
    result = ve.exec(["sh", "-c", script], timeout_s=0.3)
    assert (result.rc, result.signal, result.timed_out) == (137, signal.SIGKILL, True)
    assert not running(ve, "4101")


def test_output_before_a_time_limit_is_kept(ve: VE, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is over when it has written something: by another clock than the machine's."""
    really, read = time.monotonic, _Command._read
    written: list[bool] = []

    def reads(command: _Command, fd: int) -> bool:
        written.append(read(command, fd))
        return written[-1]

    monkeypatch.setattr(_Command, "_read", reads)
    monkeypatch.setattr("tmplbuild.core.ve.time", Clock(monotonic=lambda: really() + 3600 * any(written)))
    result = ve.exec(["sh", "-c", "echo here; exec sleep 4102"], timeout_s=1800)
    assert result.timed_out
    assert result.stdout == b"here\n"


def test_a_daemon_that_a_command_leaves_lives_on_and_holds_nothing_up(ve: VE) -> None:
    result = ve.exec(["sh", "-c", "setsid sleep 4103 & echo started"])
    assert result.stdout == b"started\n"
    assert wait_until(lambda: running(ve, "4103"))
    ve.exec(["pkill", "-xf", "sleep 4103"])


def test_an_interrupt_kills_the_command(ve: VE) -> None:
    def interrupt(data: bytes, name: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ve.exec(["sh", "-c", "echo here; sleep 4104 & sleep 4104"], output=interrupt)
    assert not running(ve, "4104")


def test_a_command_dies_with_its_caller(ve: VE, core: Core) -> None:
    code = (
        "import sys; from pathlib import Path; from tmplbuild.core import Core; "
        f"Core(Path({str(core.state_dir)!r})).attach('exec').exec("
        "['sh', '-c', 'echo here; sleep 4105'], output=lambda data, name: print(data.decode(), flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as caller:
        assert caller.stdout is not None
        try:
            assert caller.stdout.readline() == b"here\n"
            assert wait_until(lambda: running(ve, "4105"))
        finally:
            caller.kill()
    assert wait_until(lambda: not running(ve, "4105"))


def test_commands_run_side_by_side(ve: VE) -> None:
    results: dict[int, int] = {}

    def one(number: int) -> None:
        results[number] = ve.exec(["sh", "-c", f"head -c 300000 /dev/zero | wc -c; exit {number}"]).rc

    threads = [threading.Thread(target=one, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: number for number in range(12)}


def test_a_terminal(ve: VE) -> None:
    result = ve.exec(["sh", "-c", "tty; test -t 0 && test -t 1 && test -t 2 && echo yes"], tty=True)
    assert result.stdout.split() == [b"/dev/pts/1", b"yes"]


def test_each_command_has_a_control_group_of_its_own_that_goes(ve: VE, core: Core) -> None:
    first = ve.exec(["cat", "/proc/self/cgroup"]).stdout.splitlines()[-1]
    second = ve.exec(["cat", "/proc/self/cgroup"]).stdout.splitlines()[-1]
    assert first != second
    inner = Path(cgroup.unified_root()) / core.owner / "exec" / "ve"
    assert wait_until(lambda: ve.exec(["true"]).ok and not list(inner.glob("tmplbuild.*")))


def test_nothing_to_run_is_refused(ve: VE) -> None:
    with pytest.raises(UsageError):
        ve.exec([])
    with pytest.raises(UsageError):
        ve.exec(["a\0b"])


def test_process_1_reaps(ve: VE) -> None:
    ve.exec(["sh", "-c", "(sh -c 'sleep 0 & :' &) ; true"])
    assert wait_until(lambda: b" Z" not in ve.exec(["ps", "-eo", "pid,stat"]).stdout)


def test_a_command_ends_when_the_ve_does(core: Core, tmp_path: Path) -> None:
    ve = core.start("ending", layers(tmp_path), init=False)
    killer = threading.Thread(target=ve.kill)

    def on_output(data: bytes, name: str) -> None:
        killer.start()

    assert ve.exec(["sh", "-c", "echo here; sleep 4106"], output=on_output).rc == 137
    killer.join()
