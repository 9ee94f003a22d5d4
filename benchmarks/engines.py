"""VEs beside lxc, systemd-nspawn and runc, on the same tree, in turns; and how small an idle one is.

    python -m benchmarks.engines [-n RUNS] [--idle COUNT] [--tree DIR | --template FILE]

Measured are: create (against unpacking the same tree with tar), start until init says that it is ready,
a command, stop; the memory of a monitor; how many idle VEs run at once. The other engines go without
a user namespace, which is less work than ours. One that is not installed is left out. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.ratio import holds
from benchmarks.ve import clock, nspawn, ours, unpacked
from tmplbuild.core import VE, Core, Rootfs, cgroup
from tmplbuild.core.sysctls import INOTIFY

_EXECS = 20
_HALT = 37  # SIGRTMIN+3, systemd's word for "power off"
_READY_S = 60
_NAME = "bench-engine"

_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_ADMIN "
    "NET_RAW SYS_CHROOT SYS_PTRACE SYS_ADMIN SYS_BOOT SYS_NICE AUDIT_WRITE SETFCAP"
)

_LXC = """
lxc.rootfs.path = dir:{place}/root
lxc.uts.name = bench
lxc.mount.auto = proc:mixed sys:ro
lxc.mount.entry = cgroup2 sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec 0 0
lxc.mount.entry = {place}/notify notify none bind,create=dir 0 0
lxc.environment = NOTIFY_SOCKET=/notify/s
lxc.autodev = 1
lxc.tty.max = 0
lxc.net.0.type = empty
lxc.signal.halt = SIGRTMIN+3
lxc.init.cmd = /sbin/init
"""


@contextmanager
def notify(place: Path) -> Iterator[Callable[[], None]]:
    """A socket on which init tells that it is ready; what is given waits for that."""
    (place / "notify").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(place / "notify/s"))
        (place / "notify/s").chmod(0o666)
        sock.settimeout(_READY_S)

        def wait() -> None:
            while b"READY=1" not in sock.recv(65536).splitlines():
                pass

        yield wait


def _in_private_mounts(tree: Path, place: Path, command: str) -> subprocess.Popen[bytes]:
    """Run a shell command with the layers mounted at place/root, where nobody else sees it."""
    for name in ("upper", "work", "root"):
        (place / name).mkdir()
    layers = f"lowerdir={tree},upperdir={place}/upper,workdir={place}/work"
    script = f"mount -t overlay overlay -o {layers} {place}/root && {command}"
    argv = ["unshare", "-m", "sh", "-c", script]
    null = subprocess.DEVNULL
    return subprocess.Popen(argv, stdin=null, stdout=null, stderr=null)


def _wait_for_end(pid: int) -> None:
    pidfd = os.pidfd_open(pid)
    select.select([pidfd], [], [], _READY_S)
    os.close(pidfd)


def _execs(argv: list[str]) -> float:
    return statistics.median(clock(lambda: subprocess.run(argv, check=True)) for _ in range(_EXECS))


def lxc(tree: Path, place: Path) -> dict[str, float]:
    """One life of a container of LXC's on a new layer."""
    (place / "config").write_text(_LXC.format(place=place))
    at = ["-n", _NAME, "-P", str(place)]
    with notify(place) as wait:
        begun = time.perf_counter()
        process = _in_private_mounts(tree, place, f"exec lxc-start -F {' '.join(at)} -f {place}/config")
        try:
            wait()
            figures = {"start": (time.perf_counter() - begun) * 1000}
            figures["exec"] = _execs(["lxc-attach", *at, "--clear-env", "--", "/bin/true"])
            figures["stop"] = clock(lambda: subprocess.run(["lxc-stop", *at], check=True))
            process.wait(_READY_S)
        finally:
            process.kill()
            process.wait()
            _forget("lxc.payload." + _NAME, "lxc.monitor." + _NAME, "lxc.pivot")
    return figures


def _forget(*groups: str) -> None:
    """Remove the groups that an engine leaves in every hierarchy."""
    for root in {Path(cgroup.unified_root()), *Path("/sys/fs/cgroup").iterdir()}:
        for name in groups:
            folder = root / name
            if folder.is_dir():
                for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
                    path.rmdir()
                folder.rmdir()


def runc(tree: Path, place: Path) -> dict[str, float]:
    """One life of a container of runc's on a new layer."""
    bundle = place / "bundle"
    bundle.mkdir()
    subprocess.run(["runc", "spec", "-b", str(bundle)], check=True)
    config = json.loads((bundle / "config.json").read_text())
    _for_systemd(config, place)
    (bundle / "config.json").write_text(json.dumps(config))
    at = ["runc", "--root", str(place / "state")]
    run = " ".join([*at, "run", "-b", str(bundle), "--pid-file", f"{place}/pid", _NAME])
    with notify(place) as wait:
        begun = time.perf_counter()
        process = _in_private_mounts(tree, place, f"exec {run}")
        try:
            wait()
            figures = {"start": (time.perf_counter() - begun) * 1000}
            figures["exec"] = _execs([*at, "exec", _NAME, "/bin/true"])
            pid = int((place / "pid").read_text())

            def stop() -> None:
                subprocess.run([*at, "kill", _NAME, str(_HALT)], check=True)
                _wait_for_end(pid)

            figures["stop"] = clock(stop)
            process.wait(_READY_S)
        finally:
            subprocess.run([*at, "delete", "-f", _NAME], check=False, stderr=subprocess.DEVNULL)
            process.kill()
            process.wait()
            _forget(_NAME)
    return figures


def _for_systemd(config: dict[str, Any], place: Path) -> None:
    """What systemd needs of runc: its own cgroup2, a /run, root's usual capabilities, the notify socket."""
    process = config["process"]
    process["terminal"] = False
    process["args"] = ["/sbin/init"]
    process["env"] += ["container=oci", "NOTIFY_SOCKET=/notify/s"]
    for kind in ("bounding", "effective", "permitted"):
        process["capabilities"][kind] = [f"CAP_{word}" for word in _CAPABILITIES.split()]
    process.pop("rlimits", None)
    config["root"] = {"path": str(place / "root"), "readonly": False}
    config["mounts"] = [row for row in config["mounts"] if row["type"] != "cgroup"]
    for where, kind, source, options in (
        ("/sys/fs/cgroup", "cgroup2", "cgroup2", ["nosuid", "noexec", "nodev"]),
        ("/run", "tmpfs", "tmpfs", ["nosuid", "nodev", "mode=755"]),
        ("/notify", "bind", str(place / "notify"), ["bind"]),
    ):
        config["mounts"].append({"destination": where, "type": kind, "source": source, "options": options})
    config["linux"]["cgroupsPath"] = f"/{_NAME}"
    spaces = ("pid", "network", "ipc", "uts", "mount", "cgroup")
    config["linux"]["namespaces"] = [{"type": name} for name in spaces]
    config["linux"].pop("maskedPaths", None)
    config["linux"]["readonlyPaths"] = ["/proc/sys", "/proc/sysrq-trigger"]


ENGINES = {"tmplbuild": ours, "lxc": lxc, "nspawn": nspawn, "runc": runc}
_PROGRAMS = {"lxc": "lxc-start", "nspawn": "systemd-nspawn", "runc": "runc"}


def lives(tree: Path, scratch: Path, runs: int) -> dict[str, dict[str, float]]:
    """Medians of each engine's figures, milliseconds; the first round warms the caches."""
    names = [name for name in ENGINES if name not in _PROGRAMS or shutil.which(_PROGRAMS[name])]
    tables: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for number in range(runs + 1):
        for name in names:
            place = Path(tempfile.mkdtemp(dir=scratch))
            place.chmod(0o755)
            try:
                figures = ENGINES[name](tree, place)
            finally:
                shutil.rmtree(place)
            if number:
                tables[name].append(figures)
    return {
        name: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        for name, rows in tables.items()
    }


def unpacking(tree: Path, scratch: Path, runs: int) -> float:
    """How long tar takes to unpack the tree, milliseconds (median)."""
    tarball = scratch / "tree.tar.gz"
    subprocess.run(["tar", "-czf", str(tarball), "-C", str(tree), "."], check=True)
    times = []
    for _ in range(runs):
        place = tempfile.mkdtemp(dir=scratch)
        argv = ["tar", "-xpf", str(tarball), "-C", place]
        times.append(clock(partial(subprocess.run, argv, check=True)))
        shutil.rmtree(place)
    return statistics.median(times)


def idle(tree: Path, scratch: Path, count: int) -> tuple[float, float]:
    """Run `count` booted VEs at once. A monitor's largest memory (RSS, MB), and their mean share (PSS)."""
    core = Core(scratch / "run")
    ves = []
    allowance = Path("/proc/sys") / INOTIFY.replace(".", "/")  # `tmplbuild doctor` tells to raise it
    before = allowance.read_text()
    allowance.write_text(str(max(2048, int(before))))
    try:
        for number in range(count):
            home = scratch / f"idle-{number}"
            (home / "upper").mkdir(parents=True)
            rootfs = Rootfs.overlay((tree,), home / "upper", home / "work")
            ves.append(core.start(f"{number}", rootfs, init=True))
        assert [info.state for info in core.list()] == ["running"] * count
        assert all(ve.exec(["true"]).ok for ve in ves)
        rows = [_memory(_monitor(ve)) for ve in ves]
    finally:
        for ve in ves:
            ve.kill()
            ve.detach()
        allowance.write_text(before)
    return max(row["Rss"] for row in rows), statistics.mean(row["Pss"] for row in rows)


def _monitor(ve: VE) -> int:
    """The process id of a VE's monitor: who answers on its control socket."""
    with ve.connect() as connection:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("3i", credentials)[0])


def _memory(pid: int) -> dict[str, float]:
    """A process's memory by kind, MB (proc(5), smaps_rollup)."""
    rows = (row.split() for row in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return {row[0].rstrip(":"): int(row[1]) / 1000 for row in rows}


def main() -> int:
    """The benchmark; exit status 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__)
    parser.add_argument("-n", "--runs", type=int, default=5, help="lives of each (default 5)")
    parser.add_argument("--idle", type=int, default=50, help="idle VEs at once (default 50)")
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--tree", type=Path, help="a directory with a Debian that boots by systemd")
    given.add_argument("--template", type=Path, help="a packed template of such a Debian")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tmplbuild-benchmark-", dir="/var/tmp") as scratch:
        place = Path(scratch)
        place.chmod(0o755)
        tree = asked.tree.absolute() if asked.tree else unpacked(asked.template, place)
        medians = lives(tree, place, asked.runs)
        tar = unpacking(tree, place, 3)
        most, share = idle(tree, place, asked.idle)
    _show(medians, asked.runs)
    mine = medians["tmplbuild"]
    print(f"  unpacking the tree with tar: {tar:.0f} ms")
    print(f"  {asked.idle} idle VEs ran at once; a monitor's share of memory (PSS): {share:.1f} MB")
    starts = [row["start"] for name, row in medians.items() if name != "tmplbuild"]
    good = [
        holds("create, times faster than tar unpacks", tar / mine["create"], at_least=20),
        holds("a monitor's memory (RSS), MB", most, at_most=20),
    ]
    if starts:
        good.append(
            holds("start, times the fastest other engine's", mine["start"] / min(starts), at_most=1.5)
        )
    return 0 if all(good) else 1


def _show(medians: dict[str, dict[str, float]], runs: int) -> None:
    print(f"a VE beside other engines ({runs} lives each, taking turns; medians, ms)")
    print(f"  {'':8}" + "".join(f"  {name:>10}" for name in medians))
    for key in ("create", "start", "exec", "stop"):
        cells = (f"{row[key]:10.1f}" if key in row else f"{'-':>10}" for row in medians.values())
        print(f"  {key:8}  " + "  ".join(cells))


if __name__ == "__main__":
    sys.exit(main())
