"""VEs without init: what they may reach, what they may use, what they leave behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core_trees import (
    NOTHING,
    copy,
    debian,
    kill_monitor,
    layers,
    monitors,
    mounts_but_others,
    traces,
    wait_until,
)
from tmplbuild.core import VE, Core, Limits, Rootfs, cgroup, probe, wire
from tmplbuild.errors import BusyError, HostError, TmplbuildError, UsageError

pytestmark = [pytest.mark.root, pytest.mark.trees, pytest.mark.live]


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    core = Core(tmp_path / "run")
    yield core
    core.gc()
    assert traces(core) == NOTHING


def sh(ve: VE, script: str) -> str:
    result = ve.exec(["sh", "-ec", script])
    assert result.ok, result
    return result.stdout.decode()


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["overlay", "idmap", "shift"])
def test_files_lie_on_disk_with_the_templates_own_ids(tmp_path: Path, how: str) -> None:
    core = Core(tmp_path / "run", copy="shift" if how == "shift" else "auto")
    rootfs = layers(tmp_path) if how == "overlay" else copy(tmp_path)
    where = rootfs.upper or rootfs.directory
    assert where is not None
    with core.start("ids", rootfs, init=False) as ve:
        assert ve.mode == how
        sh(
            ve,
            "cd /root; touch mine; touch his; chown 33:8 his; ln -s his link; chown -h 1:2 link;"
            "cp /bin/true caps; setcap cap_net_raw+ep caps; cp /bin/true suid; chmod 4755 suid;"
            "mkdir shared; setfacl -m g:adm:rx -d -m u:33:rwx shared; su -s /bin/sh www-data -c 'id -u'",
        )
        assert sh(ve, "getcap /root/caps") == "/root/caps cap_net_raw=ep\n"
        assert sh(ve, "stat -c %u:%g /root/his /usr/bin/passwd") == "33:8\n0:0\n"
    root = where / "root"
    assert owner(root / "mine") == (0, 0)
    assert owner(root / "his") == (33, 8)
    assert owner(root / "link") == (1, 2)
    assert stat.S_IMODE((root / "suid").stat().st_mode) == 0o4755
    caps = os.getxattr(root / "caps", "security.capability")
    assert len(caps) == 20  # revision 2: no root id of a namespace in it
    assert caps[3] == 2
    assert (8).to_bytes(4, "little") not in os.getxattr(root / "shared", "system.posix_acl_access")[:8]
    listing = subprocess.run(
        ["getfacl", "-n", str(root / "shared")], capture_output=True, text=True, check=True
    ).stdout
    assert "\ngroup:4:r-x\n" in listing
    assert "\ndefault:user:33:rwx\n" in listing
    assert not (tmp_path / "work").exists()
    assert list(tmp_path.glob("*.tmplbuild-owners")) == []
    assert traces(core) == NOTHING


def owner(path: Path) -> tuple[int, int]:
    state = path.lstat()
    return state.st_uid, state.st_gid


def test_shifting_gives_back_every_owner_mode_and_capability(tmp_path: Path) -> None:
    core = Core(tmp_path / "run", copy="shift")
    rootfs = copy(tmp_path)
    assert rootfs.directory is not None
    before = census(rootfs.directory)
    with core.start("shift", rootfs, init=False):
        assert owner(rootfs.directory / "etc/passwd") == (core.uid_base, core.uid_base)
        assert owner(rootfs.directory / "etc/shadow") == (core.uid_base, core.uid_base + 42)
    assert census(rootfs.directory) == before


def census(top: Path) -> dict[str, object]:
    """Owner, mode, kind and attributes of every file of a tree."""
    found: dict[str, object] = {}
    for folder, dirs, files in os.walk(top):
        for name in [".", *dirs, *files]:
            path = os.path.join(folder, name)
            state = os.lstat(path)
            names = sorted(os.listxattr(path, follow_symlinks=False))
            values = [os.getxattr(path, key, follow_symlinks=False) for key in names]
            found[path] = (state.st_uid, state.st_gid, state.st_mode, names, values)
    return found


def test_a_tree_that_a_crash_left_shifted_is_given_back(tmp_path: Path) -> None:
    core = Core(tmp_path / "run", copy="shift")
    rootfs = copy(tmp_path)
    assert rootfs.directory is not None
    before = census(rootfs.directory)
    ve = core.start("shift", rootfs, init=False)
    kill_monitor(core, "shift")
    assert wait_until(lambda: core.list()[0].state == "leftover")
    assert owner(rootfs.directory / "etc/passwd") != (0, 0)
    assert core.gc() == ["shift"]
    assert census(rootfs.directory) == before
    ve.detach()


def test_a_read_only_tree_cannot_be_changed(core: Core, tmp_path: Path) -> None:
    with core.start("ro", Rootfs.overlay((debian("systemd"),), None), init=False) as ve:
        assert not ve.exec(["touch", "/root/x"]).ok
        assert ve.exec(["touch", "/run/x"]).ok


def test_odd_names_of_layers(core: Core, tmp_path: Path) -> None:
    folder = tmp_path / "a:b,c\\d e"
    with core.start("odd", layers(folder), init=False) as ve:
        sh(ve, "echo 1 >/root/x")
    assert (folder / "upper/root/x").read_text() == "1\n"


def test_many_layers(core: Core, tmp_path: Path) -> None:
    stack = [debian("systemd")]
    for number in range(60):
        layer = tmp_path / f"layer-{number}"
        (layer / "srv").mkdir(parents=True)
        (layer / "srv" / f"{number}").touch()
        stack.insert(0, layer)
    upper = tmp_path / "upper"
    upper.mkdir()
    with core.start("many", Rootfs.overlay(tuple(stack), upper), init=False) as ve:
        assert sh(ve, "ls /srv | wc -l") == "60\n"


# -- the host ------------------------------------------------------------------------------------------


def _options_of_mounts() -> dict[str, str]:
    rows = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    found = {row[4]: row[5] for row in rows if row[4] in ("/", "/sys")}
    return found | {f"superblock of {path}": str(os.statvfs(path).f_flag) for path in found}


def test_the_host_is_out_of_reach(core: Core, tmp_path: Path) -> None:
    before = _options_of_mounts()
    assert before["/sys"].startswith("rw"), "else nothing could be seen"
    with core.start("jail", layers(tmp_path), init=False) as ve:
        for attempt in (
            "mount -o remount,ro /sys",
            "mount -o remount,rw /sys",
            "mknod /root/disk b 8 0",
            "echo 1 >/proc/sys/kernel/panic",
            "echo b >/proc/sysrq-trigger",
            "date -s 2001-01-01",
            "swapoff -a && false",
            "ls /proc/1/root/work",
        ):
            assert not ve.exec(["sh", "-c", attempt]).ok, attempt
        # These it may do to mounts of its own; the host's must not follow.
        ve.exec(["mount", "-o", "remount,ro", "/"])
        ve.exec(["mount", "-o", "bind,remount,rw", "/sys"])
        assert not ve.exec(["sh", "-c", "echo 0 >/sys/module/printk/parameters/time"]).ok
        hosts = sh(ve, "cat /proc/self/mounts")
        assert str(tmp_path) not in hosts
        assert sh(ve, "cat /proc/self/uid_map").split() == ["0", str(core.uid_base), "65536"]
    assert _options_of_mounts() == before


def test_namespaces_are_its_own(core: Core, tmp_path: Path) -> None:
    with core.start("ns", layers(tmp_path), init=False, hostname="inner") as ve:
        for name in ("user", "mnt", "pid", "uts", "ipc", "cgroup", "net"):
            assert sh(ve, f"readlink /proc/self/ns/{name}").strip() != os.readlink(f"/proc/self/ns/{name}")
        assert sh(ve, "hostname") == "inner\n"
        assert sh(ve, "cat /proc/1/cgroup").splitlines()[-1] == "0::/"


def test_links_in_the_tree_do_not_lead_mounts_to_the_host(core: Core, tmp_path: Path) -> None:
    rootfs = layers(tmp_path)
    assert rootfs.upper is not None
    target = tmp_path / "target"
    target.mkdir()
    (rootfs.upper / "run").symlink_to(target)
    with pytest.raises(HostError):
        core.start("links", rootfs, init=False)
    assert list(target.iterdir()) == []


# -- network ---------------------------------------------------------------------------------------------


def test_only_loopback_and_a_socket_that_we_serve(core: Core, tmp_path: Path) -> None:
    with core.start("net", layers(tmp_path), init=False, net="proxy") as ve:
        devices = [line.split(":")[0].strip() for line in sh(ve, "cat /proc/net/dev").splitlines()[2:]]
        assert devices == ["lo"]
        listener = ve.proxy_socket
        assert listener is not None
        assert listener.getsockname() == ("127.0.0.1", 3142)

        def serve() -> None:
            peer, _address = listener.accept()
            with peer:
                peer.sendall(peer.recv(100).upper())

        server = threading.Thread(target=serve)
        server.start()
        talk = "exec 3<>/dev/tcp/127.0.0.1/3142; echo hello >&3; cat <&3; echo $http_proxy"
        assert ve.exec(["bash", "-c", talk]).stdout == b"HELLO\nhttp://127.0.0.1:3142\n"
        server.join()


def test_a_server_thread_wakes_up_when_the_ve_ends(core: Core, tmp_path: Path) -> None:
    ve = core.start("net", layers(tmp_path), init=False, net="proxy")
    listener = ve.proxy_socket
    assert listener is not None
    ended: list[str] = []

    def serve() -> None:
        try:
            listener.accept()
        except OSError as error:
            ended.append(str(error))

    server = threading.Thread(target=serve)
    server.start()
    ve.kill()
    server.join(180)
    assert len(ended) == 1
    ve.detach()


def test_without_proxy_nothing_listens(core: Core, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with core.start("net", layers(tmp_path), init=False) as ve:
            assert ve.proxy_socket is None
            for number in (3142, port):
                assert not ve.exec(["bash", "-c", f": </dev/tcp/127.0.0.1/{number}"]).ok


# -- limits ----------------------------------------------------------------------------------------------


def test_memory_is_limited(core: Core, tmp_path: Path) -> None:
    with core.start("mem", layers(tmp_path), init=False, limits=Limits(memory_mib=64)) as ve:
        assert ve.exec(["sh", "-c", "head -c 20M /dev/zero | tail -c 20M | wc -c"]).stdout == b"20971520\n"
        assert ve.exec(["sh", "-c", "exec tail /dev/zero"]).rc == 137
        assert ve.exec(["true"]).ok


def test_processes_are_limited(core: Core, tmp_path: Path) -> None:
    with core.start("pids", layers(tmp_path), init=False, limits=Limits(pids=20)) as ve:
        result = ve.exec(["dash", "-c", "for i in $(seq 50); do sleep 4201 & done"])
        assert b"fork" in result.stderr
        group = Path(cgroup.controllers()["pids"]) / core.owner / "pids"
        assert (group / "pids.max").read_text() == "20\n"
        assert int((group / "pids.current").read_text()) <= 20


def test_processor_time_is_limited(core: Core, tmp_path: Path) -> None:
    with core.start("cpu", layers(tmp_path), init=False, limits=Limits(cpus=0.25)):
        where = cgroup.controllers()["cpu"]
        group = Path(where) / core.owner / "cpu"
        if where == cgroup.unified_root():
            assert (group / "cpu.max").read_text() == "25000 100000\n"
        else:
            assert (group / "cpu.cfs_quota_us").read_text() == "25000\n"
            tasks = (group / "cgroup.procs").read_text().split()
            assert tasks != []


def test_a_limit_that_the_machine_cannot_hold_is_an_error(
    core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "controllers", lambda: {"pids": "/nowhere"})
    with pytest.raises(HostError, match="memory"):
        core.start("no", layers(tmp_path), init=False, limits=Limits(memory_mib=64))


# -- life ----------------------------------------------------------------------------------------------


def test_an_id_in_use_is_busy(core: Core, tmp_path: Path) -> None:
    with core.start("one", layers(tmp_path / "a"), init=False) as ve:
        with pytest.raises(BusyError):
            core.start("one", layers(tmp_path / "b"), init=False)
        assert ve.exec(["true"]).ok
    core.start("one", layers(tmp_path / "b"), init=False).kill()


def test_a_tree_in_use_is_busy(core: Core, tmp_path: Path) -> None:
    rootfs = layers(tmp_path)
    with core.start("one", rootfs, init=False):
        with pytest.raises(BusyError):
            core.start("two", rootfs, init=False)
        with pytest.raises(BusyError), core.tree(rootfs):
            pass
    with core.tree(rootfs), pytest.raises(BusyError):
        core.start("two", rootfs, init=False)
    assert traces(core) == NOTHING


def test_two_at_once(core: Core, tmp_path: Path) -> None:
    with (
        core.start("one", layers(tmp_path / "a"), init=False) as one,
        core.start("two", layers(tmp_path / "b"), init=False) as two,
    ):
        sh(one, "echo 1 >/root/x; sleep 4301 & :")
        assert not two.exec(["cat", "/root/x"]).ok
        assert not two.exec(["pgrep", "-xf", "sleep 4301"]).ok
        assert [(info.veid, info.state) for info in core.list()] == [("one", "running"), ("two", "running")]


def test_a_start_that_fails_leaves_nothing(core: Core, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(HostError):
        core.start("bad", Rootfs.overlay((empty,), tmp_path / "nowhere"), init=False)
    with pytest.raises(TmplbuildError) as caught:
        core.start("bad", Rootfs.plain(empty), init=True)
    assert "/sbin/init" in str(caught.value)
    with pytest.raises(UsageError):
        core.start("../x", Rootfs.plain(empty), init=False)
    assert traces(core) == NOTHING


def test_stopping_twice(core: Core, tmp_path: Path) -> None:
    ve = core.start("one", layers(tmp_path), init=False)
    assert ve.status() == "running"
    ve.kill()
    assert ve.status() == "stopped"
    assert ve.stop() == "already"
    with pytest.raises(HostError):
        ve.exec(["true"])
    with pytest.raises(HostError):
        core.attach("one")
    ve.detach()


SCRIPT = """
import sys
from pathlib import Path
from tmplbuild.core import Core, Rootfs
run, lower, upper, tether = sys.argv[1:]
rootfs = Rootfs.overlay((Path(lower),), Path(upper))
ve = Core(Path(run)).start("far", rootfs, init=False, tether=tether == "yes")
print("started", flush=True)
if tether == "yes":
    sys.stdin.read()
"""


@pytest.mark.parametrize("tether", ["yes", "no"])
def test_the_tether_decides_who_survives_the_tool(core: Core, tmp_path: Path, tether: str) -> None:
    rootfs = layers(tmp_path)
    argv = [
        sys.executable,
        "-c",
        SCRIPT,
        str(core.state_dir),
        str(rootfs.lower[0]),
        str(rootfs.upper),
        tether,
    ]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tool:
        assert tool.stdout is not None
        assert tool.stdout.readline() == b"started\n"
        tool.kill()
    if tether == "yes":
        assert wait_until(lambda: traces(core) == NOTHING)
        return
    ve = core.attach("far")
    assert sh(ve, "cat /etc/hostname") != ""
    assert [info.state for info in core.list()] == ["running"]
    assert core.gc() == []
    ve.kill()
    assert traces(core) == NOTHING


def test_the_kernel_ends_a_ve_whose_monitor_was_killed(core: Core, tmp_path: Path) -> None:
    ve = core.start("orphan", layers(tmp_path), init=False)
    kill_monitor(core, "orphan")
    assert wait_until(lambda: not traces(core)["processes"])
    assert [info.state for info in core.list()] == ["leftover"]
    assert core.gc() == ["orphan"]
    assert traces(core) == NOTHING
    ve.detach()


def test_gc_finds_a_group_without_state(core: Core) -> None:
    group = Path(cgroup.unified_root()) / core.owner / "ghost" / "ve"
    group.mkdir(parents=True)
    sleeper = subprocess.Popen(["sleep", "4401"])
    (group / "cgroup.procs").write_text(str(sleeper.pid))
    assert core.gc() == ["ghost"]
    assert sleeper.wait() == -9


def test_killing_without_the_kernels_help(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    group = Path(cgroup.unified_root()) / core.owner / "old" / "ve"
    group.mkdir(parents=True)
    sleepers = [subprocess.Popen(["sleep", "4402"]) for _ in range(5)]
    for sleeper in sleepers:
        (group / "cgroup.procs").write_text(str(sleeper.pid))
    cgroup._kill_each(str(group.parent))
    assert [sleeper.wait() for sleeper in sleepers] == [-9] * 5


def test_the_last_other_ve_ends_while_one_begins(
    core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It removes the groups above, which were there a moment ago."""
    for root in {cgroup.unified_root(), *cgroup.controllers().values()}:
        os.makedirs(f"{root}/{core.owner}")
    really = os.mkdir

    def mkdir(path: str, mode: int = 0o777) -> None:
        if path.endswith("/101"):
            monkeypatch.setattr(os, "mkdir", really)
            cgroup._remove_owner(core.owner)
        really(path, mode)

    monkeypatch.setattr(os, "mkdir", mkdir)
    assert cgroup.create(core.owner, "101", {}, core.uid_base)
    monkeypatch.undo()
    assert core.gc() == ["101"]


def test_what_ends_while_it_is_listed(core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the listing of the directories, the look for a lock, and the look at what is in them."""
    core.state_dir.mkdir()
    folder = core.state_dir / "101"
    really = os.path.exists

    def late(path: str) -> bool:
        found = really(path)
        if path == f"{folder}/lock":
            shutil.rmtree(folder)
        return found

    for has_lock in (False, True):
        folder.mkdir()
        if has_lock:
            (folder / "lock").touch()
        with monkeypatch.context() as patch:
            patch.setattr(os.path, "exists", late)
            assert core.list() == []


def monitor_of(core: Core) -> int:
    (pid,) = monitors(core)
    return pid


def test_who_asks_for_the_end_while_it_comes_by_itself_is_told(core: Core, tmp_path: Path) -> None:
    ve = core.start("101", layers(tmp_path), init=["sleep", "4302"])
    monitor = monitor_of(core)
    os.kill(monitor, signal.SIGSTOP)
    try:
        with ve.connect() as connection:
            os.kill(ve.pid, signal.SIGKILL)
            wire.send(connection, {"op": "stop", "timeout_s": 60})
            os.kill(monitor, signal.SIGCONT)
            assert wire.receive(connection)[0] == {"ending": "clean"}
    finally:
        os.kill(monitor, signal.SIGCONT)
    assert ve.stop() == "already"
    ve.detach()


# -- trees -----------------------------------------------------------------------------------------------


def test_a_tree_of_layers(core: Core, tmp_path: Path) -> None:
    rootfs = layers(tmp_path)
    assert rootfs.upper is not None
    before = mounts_but_others(tmp_path)
    with core.tree(rootfs) as tree:
        assert mounts_but_others(tmp_path) == before
        tree.write("/etc/new", "text", uid=5, gid=6)
        tree.remove("/etc/debian_version")
        assert "debian_version" not in tree.listdir("/etc")
        assert tree.xattrs("/etc/new") == {}
    assert owner(rootfs.upper / "etc/new") == (5, 6)
    assert stat.S_ISCHR((rootfs.upper / "etc/debian_version").lstat().st_mode)  # a whiteout
    assert (debian("systemd") / "etc/debian_version").exists()
    assert not (tmp_path / "work").exists()
    with core.tree(rootfs, writable=False) as tree:
        assert tree.read_text("/etc/new") == "text"
        assert not tree.exists("/etc/debian_version")
        with pytest.raises(OSError, match="Read-only"):
            tree.write("/etc/new", "other")


def test_a_tree_of_one_layer_is_read_only(core: Core) -> None:
    with core.tree(Rootfs.overlay((debian("systemd"),), None)) as tree:
        assert tree.is_dir("/etc")
        with pytest.raises(OSError, match="Read-only"):
            tree.write("/etc/new", "other")


def test_a_plain_tree(core: Core, tmp_path: Path) -> None:
    with core.tree(Rootfs.plain(tmp_path)) as tree:
        tree.write("/a", "b")
    assert (tmp_path / "a").read_text() == "b"


def test_layers_that_cannot_be_stacked(core: Core, tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    upper.mkdir()
    with pytest.raises(HostError) as caught, core.tree(Rootfs.overlay((tmp_path / "none",), upper)):
        pass
    assert caught.value.hint
    assert traces(core) == NOTHING


def test_what_a_ve_writes_a_tree_shows_and_the_other_way_round(core: Core, tmp_path: Path) -> None:
    rootfs = layers(tmp_path)
    for number in range(3):
        with core.tree(rootfs) as tree:
            tree.write(f"/srv/tree-{number}", "x")
        with core.start("turn", rootfs, init=False) as ve:
            sh(ve, f"test -f /srv/tree-{number}; echo x >/srv/ve-{number}")
    with core.tree(rootfs, writable=False) as tree:
        assert len(tree.listdir("/srv")) == 6


# -- probe -----------------------------------------------------------------------------------------------


def test_the_probe_tries_for_real_and_leaves_nothing(core: Core, tmp_path: Path) -> None:
    found = core.probe(tmp_path)
    assert found.usable
    assert found.feature("userns").works
    assert {row.name for row in found.features} >= {"overlay", "idmap", "limit memory", "limit pids"}
    assert core.stacks(tmp_path) == (found.mode == "overlay")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".tmplbuild")] == []


def test_the_probe_says_why_layers_cannot_be_stacked(core: Core, tmp_path: Path) -> None:
    nested = "mount -t overlay -o lowerdir=l,upperdir=u,workdir=w overlay m"
    code = (
        "import sys; from pathlib import Path; from tmplbuild.core import Core; "
        f"c = Core(Path({str(core.state_dir)!r})); p = c.probe(Path('m')); "
        "print(p.usable, p.mode, c.stacks(Path('m')), p.mode_reason)"
    )
    script = f"cd {tmp_path} && mkdir l u w m && {nested} && exec {sys.executable} -c {code!r}"
    argv = ["unshare", "-m", "sh", "-c", script]
    root = Path(__file__).parents[2]
    told = subprocess.run(
        argv, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert told.stdout.startswith("True copy False "), told
    assert len(told.stdout.split()) > 4


@pytest.mark.parametrize("cover", ["/proc/kallsyms", "/proc/sys"])
def test_a_machine_that_is_a_container_and_does_not_see_all_of_proc(
    core: Core, tmp_path: Path, cover: str
) -> None:
    script = (
        "from pathlib import Path; from tmplbuild.core import Core, Rootfs; "
        f"c = Core(Path({str(core.state_dir)!r})); "
        f"print(c.probe(Path({str(tmp_path)!r})).usable, "
        "open('/proc/self/mountinfo').read().count(' /proc '))"
    )
    hide = f"mount --bind {'/dev/null' if cover == '/proc/kallsyms' else '/proc/sys'} {cover}"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{hide}; exec "$@"', "sh"]
    done = subprocess.run(
        [*command, sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "1"], "and what it sees has not changed"


def test_what_a_dead_probe_left_and_cannot_be_removed_stops_nobody(
    tmp_path: Path,
) -> None:
    dead = tmp_path / f"{probe._PREFIX}dead"
    dead.mkdir()

    class Stuck:
        def gc(self) -> list[str]:
            raise HostError("Some leftovers cannot be removed.")

    probe._sweep(lambda state, copy: Stuck(), tmp_path)  # type: ignore[arg-type,return-value]
    assert dead.is_dir()


def test_a_place_to_try_things_in_that_another_probe_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It opened and locked and removed the directory after ours was opened, before it was locked."""
    really = fcntl.flock

    def flock(fd: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", really)
        os.rmdir(os.readlink(f"/proc/self/fd/{fd}"))
        really(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    here, lock = probe._place(tmp_path)
    assert here.is_dir()
    os.close(lock)


@pytest.mark.parametrize("moment", ["Helper", "wire.call"])
def test_an_interrupted_start_leaves_nothing(
    core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Before there is a monitor, and before it was told what to do."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"tmplbuild.core.host.{moment}", interrupt)
        with pytest.raises(KeyboardInterrupt):
            core.start("cut", layers(tmp_path), init=False)
    assert traces(core) == NOTHING
    assert list(core.state_dir.iterdir()) == []
    with core.start("cut", layers(tmp_path), init=False) as ve:
        assert ve.exec(["true"]).ok
