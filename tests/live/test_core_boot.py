"""Debian boots in a VE, is used, and stops: systemd and sysvinit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core_trees import NOTHING, copy, debian, layers, mounts_but_others, traces, wait_until
from tests.screen import spawn
from tmplbuild.core import Core, Limits, Rootfs
from tmplbuild.core.console import LIMIT
from tmplbuild.errors import BusyError, HostError, StageError

pytestmark = [pytest.mark.root, pytest.mark.trees, pytest.mark.live]


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    core = Core(tmp_path / "run")
    yield core
    core.gc()
    assert traces(core) == NOTHING


@pytest.mark.parametrize("how", ["overlay", "idmap", "shift"])
def test_systemd_boots_without_failed_units_and_stops(tmp_path: Path, how: str) -> None:
    core = Core(tmp_path / "run", copy="shift" if how == "shift" else "auto")
    rootfs = layers(tmp_path) if how == "overlay" else copy(tmp_path)
    with core.start("sd", rootfs, init=True, net="proxy") as ve:
        assert (ve.kind, ve.mode, ve.bits) == ("systemd", how, 64)
        assert ve.exec(["systemctl", "is-system-running"]).stdout == b"running\n"
        assert ve.exec(["systemctl", "list-units", "--failed", "--no-legend"]).stdout == b""
        assert ve.exec(["systemd-detect-virt"]).stdout == b"container-other\n"
        assert ve.exec(["systemd-run", "--wait", "--pipe", "echo", "hello"]).stdout == b"hello\n"
        assert ve.exec(["systemctl", "is-enabled", "apt-daily.timer"]).stdout == b"masked-runtime\n"
        assert ve.stop() == "clean"
        assert ve.stop() == "already"
    assert traces(core) == NOTHING
    top = rootfs.upper or rootfs.directory
    assert top is not None
    assert not (top / "etc/systemd/system/apt-daily.timer").exists()  # masks are /run's


def test_a_second_boot_of_the_same_layer(core: Core, tmp_path: Path) -> None:
    rootfs = layers(tmp_path)
    for _ in range(2):
        with core.start("sd", rootfs, init=True, mask_units=["cron.service"]) as ve:
            assert ve.exec(["systemctl", "is-system-running"]).stdout == b"running\n"
            assert ve.exec(["readlink", "/run/systemd/system/cron.service"]).stdout == b"/dev/null\n"


@pytest.mark.parametrize("kind", ["systemd", "systemd-11", "systemd-13"])
def test_what_is_asked_to_be_masked_is_so_though_the_tree_has_it_in_etc(
    core: Core, tmp_path: Path, kind: str
) -> None:
    rootfs = layers(tmp_path, kind)
    assert rootfs.upper is not None
    units = rootfs.upper / "etc/systemd/system"
    (units / "multi-user.target.wants").mkdir(parents=True)
    for name in ("asked.service", "fstrim.timer", "other.service"):
        service = "[Timer]\nOnBootSec=1d\n" if name.endswith(".timer") else "[Service]\nExecStart=true\n"
        (units / name).write_text(service)
        (units / "multi-user.target.wants" / name).symlink_to(f"/etc/systemd/system/{name}")
    with core.start("sd", rootfs, init=True, mask_units=["asked.service"]) as ve:
        asked = ["systemctl", "show", "-P", "LoadState", "asked.service", "fstrim.timer", "other.service"]
        assert ve.exec(asked).stdout.split() == [b"masked", b"loaded", b"loaded"]
        assert ve.exec(["systemctl", "is-system-running"]).stdout == b"running\n"


def test_sysvinit_boots_to_its_run_level_and_stops(core: Core, tmp_path: Path) -> None:
    with core.start("sysv", layers(tmp_path, "sysvinit"), init=True, net="proxy") as ve:
        assert ve.kind == "sysvinit"
        assert ve.exec(["runlevel"]).stdout == b"N 2\n"
        assert not ve.exec(["pgrep", "-x", "rc|rcS|startpar"]).ok
        assert not ve.exec(["test", "-e", "/run/systemd"]).ok
        assert b"INIT: Entering runlevel: 2" in ve.console_log.read_bytes()
        assert ve.stop() == "clean"


@pytest.mark.parametrize("kind", ["systemd-11", "systemd-13"])
def test_older_and_newer_systemds(core: Core, tmp_path: Path, kind: str) -> None:
    rootfs = layers(tmp_path, kind)
    for _ in range(2):
        with core.start("sd", rootfs, init=True) as ve:
            assert ve.kind == "systemd"
            assert ve.exec(["systemctl", "is-system-running"]).stdout == b"running\n"
            assert ve.stop() == "clean"


@pytest.mark.parametrize("kind", ["sysvinit", "openrc"])
def test_openrc_boots_below_sysvinit_and_by_itself(core: Core, tmp_path: Path, kind: str) -> None:
    rootfs = layers(tmp_path, "openrc")
    if kind == "openrc":
        assert rootfs.upper is not None
        (rootfs.upper / "usr/sbin").mkdir(parents=True)
        (rootfs.upper / "usr/sbin/init").symlink_to("openrc-init")
    for _ in range(2):
        with core.start("rc", rootfs, init=True) as ve:
            assert ve.kind == kind
            assert ve.exec(["rc-status", "--runlevel"]).stdout == b"default\n"
            assert b"rc.local" in ve.exec(["rc-status"]).stdout
            assert ve.stop() == "clean"


def test_a_command_as_process_1(core: Core, tmp_path: Path) -> None:
    log = tmp_path / "console"
    script = "trap 'echo over; exit 0' TERM; echo begun; while :; do sleep 0.05; done"
    for turn in (1, 2):
        with core.start("cmd", layers(tmp_path), init=["sh", "-c", script], console_log=log) as ve:
            assert ve.kind == "command"
            assert ve.exec(["ps", "-p", "1", "-o", "comm="]).stdout == b"sh\n"
            assert wait_until(lambda turn=turn: log.read_bytes().count(b"begun") == turn)
            assert ve.stop() == "clean"
    assert log.read_text().count("over") == 2
    ve = core.start("cmd", layers(tmp_path), init=["sleep", "4603"])
    assert ve.stop(timeout_s=0.2) == "killed"  # process 1 gets no signal that it does not handle
    ve.detach()
    with pytest.raises(HostError, match="nowhere"):
        core.start("cmd", layers(tmp_path), init=["nowhere"])


def test_a_ve_that_reboots_itself_comes_back_as_it_was(core: Core, tmp_path: Path) -> None:
    ve = core.start("re", layers(tmp_path), init=True, tether=False, net="venet", limits=Limits(pids=900))
    ve.detach()
    ve.set_limits(Limits(pids=800))
    first = ve.pid
    ve.exec(["systemctl", "reboot"])

    def is_back() -> bool:
        found = core.list()
        return [info.state for info in found] == ["running"] and found[0].pid != first

    assert wait_until(is_back)
    again = core.attach("re")
    assert again.limits == Limits(pids=800)
    assert again.exec(["systemctl", "is-system-running", "--wait"]).stdout == b"running\n"
    assert again.exec(["cat", "/proc/net/dev"]).stdout.count(b"venet0") == 1
    assert again.console_log.read_text().count("Welcome to") == 2
    assert again.stop() == "clean"


def test_the_consoles_log_does_not_grow_without_end(core: Core, tmp_path: Path) -> None:
    log = tmp_path / "console"
    much = ["sh", "-c", "seq 1500000; echo last; exec sleep 4604"]  # 10 MB
    with core.start("log", layers(tmp_path), init=much, console_log=log) as ve:
        assert wait_until(lambda: log.read_bytes().endswith(b"last\r\n"))
        assert log.stat().st_size <= LIMIT
        assert log.with_name("console.1").stat().st_size <= LIMIT
        ve.kill()


def test_the_host_keeps_its_mounts_through_a_sysvinit_boot(core: Core, tmp_path: Path) -> None:
    before = mounts_but_others(tmp_path)
    with core.start("sysv", layers(tmp_path, "sysvinit"), init=True):
        pass
    assert mounts_but_others(tmp_path) == before
    for path in ("/", "/sys", "/proc"):
        assert not os.statvfs(path).f_flag & os.ST_RDONLY, path


def test_two_boot_side_by_side_and_an_id_is_unique(core: Core, tmp_path: Path) -> None:
    with core.start("one", layers(tmp_path / "a"), init=True) as one:
        with core.start("two", layers(tmp_path / "b", "sysvinit"), init=True) as two:
            assert not one.exec(["touch", "/run/mine"], cwd="/run").rc
            assert not two.exec(["test", "-e", "/run/mine"]).ok
            with pytest.raises(BusyError):
                core.start("one", layers(tmp_path / "c"), init=True)
            assert sorted(info.veid for info in core.list()) == ["one", "two"]


def test_a_power_off_from_within(core: Core, tmp_path: Path) -> None:
    ve = core.start("off", layers(tmp_path), init=True)
    ve.exec(["systemctl", "poweroff"])
    assert ve.stop() in ("clean", "already")
    assert traces(core) == NOTHING
    ve.detach()


def test_an_init_that_ends_at_once_is_an_error_with_its_last_words(core: Core, tmp_path: Path) -> None:
    with pytest.raises(StageError) as caught:
        core.start("bad", with_init(tmp_path, "#!/bin/sh\necho these are my last words\nexit 1\n"), init=True)
    assert "ended" in caught.value.why
    assert any("last words" in line for line in caught.value.tail)


def test_an_init_that_never_gets_ready_is_stopped(core: Core, tmp_path: Path) -> None:
    with pytest.raises(StageError) as caught:
        core.start(
            "bad", with_init(tmp_path, "#!/bin/sh\necho waiting\nexec sleep 4605\n"), init=True, timeout_s=3
        )
    assert "3 seconds" in caught.value.why
    assert "waiting" in "".join(caught.value.tail)


def test_the_console_can_be_kept(core: Core, tmp_path: Path) -> None:
    log = tmp_path / "console"
    with core.start("log", layers(tmp_path, "sysvinit"), init=True, console_log=log) as ve:
        assert ve.console_log == log
    assert b"Will now halt" in log.read_bytes()


def with_init(where: Path, script: str) -> Rootfs:
    rootfs = layers(where)
    assert rootfs.upper is not None
    usr = rootfs.upper / "usr"
    (usr / "sbin").mkdir(parents=True)
    (usr / "sbin/init").write_text(script)
    (usr / "sbin/init").chmod(0o755)
    return rootfs


def test_a_32_bit_machines_name(core: Core, tmp_path: Path) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("only an amd64 kernel names itself i686: run it on such a machine")
    with core.start("i386", layers(tmp_path), init=True, bits=32) as ve:
        assert ve.exec(["uname", "-m"]).stdout == b"i686\n"
        assert ve.exec(["systemd-run", "--wait", "--pipe", "uname", "-m"]).stdout == b"i686\n"


SHELL = """
import sys
from pathlib import Path
from tmplbuild.core import Core, Rootfs
run, lower, upper = sys.argv[1:]
with Core(Path(run)).start("sh", Rootfs.overlay((Path(lower),), Path(upper)), init=False) as ve:
    sys.exit(ve.shell())
"""


def test_a_shell_on_a_real_terminal(core: Core, tmp_path: Path) -> None:
    upper = layers(tmp_path).upper
    argv = [sys.executable, "-c", SHELL, str(core.state_dir), str(debian("systemd")), str(upper)]
    pid, screen = spawn(argv, {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    screen.expect(b"# ")
    screen.type(b"stty rows 33 cols 99; tty; echo size=$(stty size)\n")
    screen.expect(b"/dev/pts/1")
    screen.expect(b"size=33 99")
    screen.type(b"sleep 4606\n")
    screen.expect(b"sleep 4606")
    asks = ["pgrep", "-xf", "sleep 4606"]
    assert wait_until(lambda: subprocess.run(asks, capture_output=True, check=False).returncode == 0)
    screen.type(b"\x03")  # Ctrl-C ends the sleep, not the shell
    screen.expect(b"# ")
    screen.type(b"exit 7\n")
    screen.drain()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    os.close(screen.master)
