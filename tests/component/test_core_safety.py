"""What a VE's root must not be able to do, whatever it tries; the host is the same before and after."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import Places
from tests.core_trees import NOTHING, layers, traces, wait_until
from tmplbuild.core import VE, Core, Limits, Venet
from tmplbuild.errors import BusyError, HostError, TmplbuildError

pytestmark = [pytest.mark.root, pytest.mark.trees, pytest.mark.live]


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    core = Core(tmp_path / "run")
    yield core
    core.gc()
    assert traces(core) == NOTHING


@pytest.fixture(scope="module")
def jail(places: Places) -> Iterator[VE]:
    """A VE with everything that one can have but the host's network."""
    home = places("jail")
    core = Core(home / "run")
    limits = Limits(pids=100, memory_mib=256)
    with core.start("jail", layers(home), init=False, net=Venet(("192.0.2.191",)), limits=limits) as ve:
        yield ve


def host_state() -> dict[str, object]:
    """What a VE's root might want to change of the host; others' VEs and mounts may come and go."""
    settings = ("kernel/hostname", "kernel/panic", "kernel/core_pattern", "vm/swappiness")
    return {
        "root": os.statvfs("/").f_flag,
        "sys": os.statvfs("/sys").f_flag,
        "proc": os.statvfs("/proc").f_flag,
        "settings": [Path(f"/proc/sys/{name}").read_text() for name in settings],
        "swaps": [line.split()[0] for line in Path("/proc/swaps").read_text().splitlines()],
        "groups": Path("/sys/fs/cgroup").stat().st_mode,
    }


ATTEMPTS = {
    "see a process of the host": "test -d /proc/{me}/root/etc",
    "signal a process of the host": "kill -0 {me}",
    "look into the host's root": "ls /proc/1/root/{here}",
    "remount the host's sysfs": "mount -o remount,rw /sys",
    "mount a sysfs of the host to write to": "mount -t sysfs none /mnt && echo 0 >/mnt/kernel/mm/ksm/run",
    "mount the disk": "mknod /dev/disk b {major} {minor} && mount /dev/disk /mnt",
    "read the disk": "mknod /tmp/disk b {major} {minor} && head -c 1 /tmp/disk",
    "make a character device": "mknod /tmp/mem c 1 1",
    "mount the devices": "mount -t devtmpfs none /mnt",
    "raise its limit by version 1": "mount -t cgroup -o pids none /mnt && echo max >/mnt/pids.max",
    "make a group beside its own": "mount -t cgroup -o pids none /mnt && mkdir /mnt/x",
    "leave its control group": "echo $$ >/sys/fs/cgroup/../cgroup.procs",
    "raise its own limit": "echo max >/sys/fs/cgroup/pids.max",
    "set a sysctl of the host": "echo 1 >/proc/sys/kernel/panic",
    "switch swap": "echo 1 >/proc/sys/vm/swappiness",
    "write where a crash would run a program": "echo '|/tmp/x' >/proc/sys/kernel/core_pattern",
    "press the magic key": "echo b >/proc/sysrq-trigger",
    "set the clock": "date -s 2001-01-01",
    "read the kernel's log": "dmesg",
    "read the kernel's memory": "head -c 1 /proc/kcore",
    "load a module": "{syscall} init_module",
    "replace the kernel": "{syscall} kexec_load",
    "load a program into the kernel": "{syscall} bpf",
    "open a file by its handle": "{syscall} open_by_handle_at",
    "reach the machine's ports": "{syscall} iopl",
}

# The numbers of x86_64: perl's syscall() tells what the kernel answers, which is EPERM where it looks at
# the privilege first. A handle is looked at before.
CALLS = {
    "init_module": "175, 0, 0, $text",
    "kexec_load": "246, 0, 0, 0, 0",
    "bpf": "321, 5, $text, 72",
    "open_by_handle_at": "304, -100, $handle, 0",
    "iopl": "172, 3",
}


@pytest.mark.parametrize("what", ATTEMPTS)
def test_root_in_a_ve_cannot(jail: VE, what: str, tmp_path: Path) -> None:
    before = host_state()
    disk = os.stat("/").st_dev
    script = ATTEMPTS[what]
    if "{syscall}" in script:
        if os.uname().machine != "x86_64":
            pytest.skip("asks by x86_64 call numbers: run it on such a machine")
        call = CALLS[script.split()[1]]
        values = "my $text = \"\\0\" x 128; my $handle = pack('iiii', 8, 1, 2, 0); "
        told = jail.exec(["perl", "-e", f"{values}syscall({call}) == -1 or exit(0); print $!+0; exit(9)"])
        assert (told.rc, told.stdout) in ((9, b"1"), (9, b"38"))  # EPERM; ENOSYS: a kernel without it
        script = "false"
    marks = {"me": os.getpid(), "here": tmp_path, "major": os.major(disk), "minor": os.minor(disk)}
    for name, value in marks.items():
        script = script.replace(f"{{{name}}}", str(value))
    result = jail.exec(["sh", "-ec", script])
    assert not result.ok, result.stdout
    assert host_state() == before


def test_a_ve_has_no_way_out_of_its_tree(jail: VE, tmp_path: Path) -> None:
    """The classic: chroot below an open directory, then walk up."""
    code = (
        "mkdir '/tmp/c'; opendir(my $d, '/'); chroot('/tmp/c') or die; "
        "chdir('..') for 1..99; chroot('.'); exit(-e $ARGV[0] ? 0 : 9)"
    )
    assert jail.exec(["perl", "-e", code, str(tmp_path)]).rc == 9
    assert jail.exec(["sh", "-c", f"echo x >{tmp_path}/x"]).rc != 0
    assert list(tmp_path.iterdir()) == []


def test_its_root_has_no_ids_or_capabilities_of_the_hosts(jail: VE) -> None:
    status = Path(f"/proc/{jail.pid}/status").read_text()
    uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
    assert all(int(uid) >= 65536 for uid in uids)
    jail.exec(["sh", "-c", "cp /bin/sleep /tmp/s; chmod 4755 /tmp/s"])
    child = jail.exec(["sh", "-c", "/tmp/s 4701 & echo $!"])
    assert child.ok
    assert wait_until(lambda: bool(on_host("/tmp/s 4701")))  # forked, it may not have become that program yet
    assert os.stat(f"/proc/{on_host('/tmp/s 4701')[0]}").st_uid >= 65536
    jail.exec(["pkill", "-f", "s 4701"])


def on_host(line: str) -> list[str]:
    """The processes with that command line."""
    return subprocess.run(["pgrep", "-xf", line], capture_output=True, text=True, check=False).stdout.split()


def test_a_new_user_namespace_in_it_gives_nothing_more(jail: VE) -> None:
    for attempt in ("mount -t sysfs none /mnt", "mknod /tmp/x c 1 1", "echo 1 >/proc/sys/kernel/panic"):
        assert not jail.exec(["unshare", "-Urm", "sh", "-c", attempt]).ok, attempt


def test_the_monitor_is_not_to_be_seen_in_the_ve(jail: VE) -> None:
    """What earlier tests left in it may still be ending."""
    asks = ["ps", "-e", "-o", "comm="]
    assert wait_until(lambda: jail.exec(asks).stdout.split() == [b"tmplbuild-init", b"ps"]), jail.exec(asks)


def test_two_starts_of_one_id_at_once(core: Core, tmp_path: Path) -> None:
    """One wins, the others are told; whatever they do, the VE is whole."""
    rootfs = layers(tmp_path)
    outcomes: list[object] = []
    barrier = threading.Barrier(4)

    def one() -> None:
        barrier.wait()
        try:
            outcomes.append(core.start("101", rootfs, init=False))
        except (BusyError, HostError) as error:
            outcomes.append(error)

    for _ in range(5):
        outcomes.clear()
        threads = [threading.Thread(target=one) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = [ve for ve in outcomes if isinstance(ve, VE)]
        assert len(won) == 1, outcomes
        assert all(isinstance(other, (VE, BusyError)) for other in outcomes), outcomes
        assert won[0].exec(["true"]).ok
        stoppers = [threading.Thread(target=core.attach("101").kill) for _ in range(3)]
        for stopper in stoppers:
            stopper.start()
        for stopper in stoppers:
            stopper.join()
        won[0].detach()
        assert traces(core) == NOTHING


def test_twenty_start_run_and_stop_at_once(core: Core, tmp_path: Path) -> None:
    """Ten of them with systemd: some 18 use up the inotify instances that a machine has as it comes
    (`sysctls.INOTIFY`), and other tests boot VEs as well."""

    def life(number: int) -> str:
        net = Venet((f"192.0.2.{200 + number}",))
        limits = Limits(pids=300, memory_mib=512)
        rootfs = layers(tmp_path / str(number))
        with core.start(
            f"{number}", rootfs, init=number % 2 == 0, net=net, limits=limits, timeout_s=900
        ) as ve:
            assert (
                ve.exec(["sh", "-c", f"echo {number} >/root/x; cat /root/x"]).stdout == f"{number}\n".encode()
            )
            return ve.stop(900)

    with ThreadPoolExecutor(20) as pool:
        ends = list(pool.map(life, range(20)))
    assert ends == ["clean", "killed"] * 10


def test_some_tidy_and_look_while_others_start_and_stop(core: Core, tmp_path: Path) -> None:
    """Nobody is in anybody's way, and nobody removes what another one needs."""
    over = threading.Event()

    def life(number: int) -> list[str]:
        rootfs = layers(tmp_path / str(number))
        found = []
        for _ in range(6):
            with core.start(f"{number}", rootfs, init=False) as ve:
                found.append(ve.exec(["echo", "here"]).stdout.decode())
        return found

    def tidy() -> list[list[str]]:
        found = []
        while not over.is_set():
            found.append(core.gc())
            core.list()
        return found

    with ThreadPoolExecutor(4) as pool:
        tidiers = [pool.submit(tidy) for _ in range(2)]
        try:
            assert list(pool.map(life, range(2))) == [["here\n"] * 6] * 2
        finally:
            over.set()
        for tidier in tidiers:
            tidier.result()


def test_the_host_forks_and_writes_while_a_ve_does_its_worst(core: Core, tmp_path: Path) -> None:
    limits = Limits(pids=200, memory_mib=64, cpus=0.5, disk_mib=64)
    worst = "bomb() { bomb | bomb & }; bomb; tail /dev/zero & dd if=/dev/zero of=/srv/x bs=1M count=100000"
    with core.start("101", layers(tmp_path), init=False, limits=limits) as ve:
        worker = threading.Thread(target=_try, args=(ve, worst))
        worker.start()
        done = 0
        while worker.is_alive() or done == 0:
            subprocess.run([sys.executable, "-I", "-S", "-c", "open('/dev/null','w').write('x')"], check=True)
            done += 1
        worker.join()


def _try(ve: VE, script: str) -> None:
    """Until the VE is ended for what it wrote: what fills the disk may itself be killed for its memory, or
    find no place for a process."""
    while ve.status() == "running":
        with suppress(TmplbuildError):
            ve.exec(["bash", "-c", script], timeout_s=30)
