"""VEs beside systemd-nspawn, on the same tree, in turns: create, start to ready, exec, stop.

    python -m benchmarks.ve [-n RUNS] [--tree DIR | --template FILE]

The tree is a Debian that boots by systemd: a directory, or a packed template (by default that of
debian-12 in the template cache; where there is none, one is built in a directory of its own). Needs
root and systemd-nspawn (Debian: systemd-container).
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.ratio import holds
from tmplbuild.archives import zstd
from tmplbuild.config import load_settings
from tmplbuild.core import Core, Rootfs, cgroup
from tmplbuild.core.untar import extract, open_tarball

_TEMPLATE = "debian-12-x86_64.tar.gz"
_EXECS = 20


def clock(call: Callable[[], object]) -> float:
    """How long a call takes, milliseconds."""
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1000


def create(core: Core, rootfs: Rootfs) -> None:
    """A VE's own files on a shared tree: its layer, with a host name in it as vzctl would write it."""
    assert rootfs.upper is not None
    rootfs.upper.mkdir()
    with core.tree(rootfs) as files:
        files.write("/etc/hostname", "bench\n")


def ours(tree: Path, place: Path) -> dict[str, float]:
    """One life of a VE on a new layer."""
    core = Core(place / "run")
    upper = place / "upper"
    rootfs = Rootfs.overlay((tree,), upper, place / "work")
    figures = {"create": clock(lambda: create(core, rootfs))}
    begun = time.perf_counter()
    with core.start("bench", rootfs, init=True) as ve:
        figures["start"] = (time.perf_counter() - begun) * 1000
        figures["exec"] = statistics.median(clock(lambda: ve.exec(["true"])) for _ in range(_EXECS))
        figures["stop"] = clock(ve.stop)
    upper = place / "entered"
    upper.mkdir()
    begun = time.perf_counter()
    ve = core.start("bench", Rootfs.overlay((tree,), upper, place / "work"), init=False)
    figures["enter"] = (time.perf_counter() - begun) * 1000
    ve.kill()
    ve.detach()
    return figures


def nspawn(tree: Path, place: Path) -> dict[str, float]:
    """One life of a systemd-nspawn container on a new layer.

    It goes without a user namespace, for it cannot map the owners of an overlay: less work than ours.
    """
    notify = place / "notify"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(notify))
    sock.settimeout(60)
    for name in ("upper", "work", "root"):
        (place / name).mkdir()
    # A group of its own: two nspawns would meet in one otherwise. Mounts live in a private namespace.
    group = f"{cgroup.unified_root()}/bench-nspawn"
    os.makedirs(group, exist_ok=True)
    layers = f"lowerdir={tree},upperdir={place}/upper,workdir={place}/work"
    script = (
        f"echo 0 >{group}/cgroup.procs && mount -t overlay overlay -o {layers} {place}/root && "
        "export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 && "
        f"exec systemd-nspawn -q -D {place}/root --register=no --keep-unit -M bench --console=pipe "
        "--private-network --notify-ready=yes /sbin/init"
    )
    begun = time.perf_counter()
    process = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(notify)},
    )
    try:
        while b"READY=1" not in sock.recv(65536).splitlines():
            pass
        figures = {"start": (time.perf_counter() - begun) * 1000}
        leader = _init_of(process.pid)
        enter = ["nsenter", "-a", "-t", str(leader), "/bin/true"]
        figures["exec"] = statistics.median(
            clock(lambda: subprocess.run(enter, check=True)) for _ in range(_EXECS)
        )
        figures["stop"] = clock(lambda: _power_off(process, leader))
    finally:
        process.kill()
        process.wait()
        sock.close()
        cgroup.kill(group)
        cgroup.remove(group)
        cgroup.remove("/sys/fs/cgroup/systemd/bench-nspawn")  # nspawn's own, where there is cgroup v1 as well
    return figures


def _init_of(supervisor: int) -> int:
    words = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    for word in words:
        if Path(f"/proc/{word}/status").read_text().split("NSpid:")[1].splitlines()[0].split()[-1] == "1":
            return int(word)
    raise AssertionError("nspawn has no init")


def _power_off(process: subprocess.Popen[bytes], leader: int) -> None:
    os.kill(leader, signal.SIGRTMIN + 3)
    process.wait()


def main() -> int:
    """The benchmark; exit status 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ve", description=__doc__)
    parser.add_argument("-n", "--runs", type=int, default=7, help="lives of each (default 7)")
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--tree", type=Path, help="a directory with a Debian that boots by systemd")
    given.add_argument("--template", type=Path, help="a packed template of such a Debian")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tmplbuild-benchmark-", dir="/var/tmp") as scratch:
        place = Path(scratch)
        place.chmod(0o755)
        tree = asked.tree.absolute() if asked.tree else unpacked(asked.template, place)
        return _run(tree, place, asked.runs)


def packed(template: Path | None, place: Path) -> Path:
    """The template that is given, or Debian 12's: of the template cache, or else built below `place`."""
    template = template or load_settings().template_cache / _TEMPLATE
    if not template.exists():
        template = place / _TEMPLATE
        argv = [sys.executable, "-m", "tmplbuild", "build", "debian-12", "--quiet", "--no-boot-test"]
        os.environ["TMPLBUILD_STATE_DIR"] = str(place / "state")
        subprocess.run([*argv, "--cache", str(place)], check=True)
    return template


def unpacked(template: Path | None, place: Path) -> Path:
    """The tree of a template, below `place`."""
    template = packed(template, place)
    tree = place / "tree"
    tree.mkdir()
    root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with open_tarball(template, zstd=zstd.open_reader) as stream:
            extract(stream, root)
    finally:
        os.close(root)
    return tree


def _run(tree: Path, scratch: Path, runs: int) -> int:
    tables: dict[str, list[dict[str, float]]] = {"tmplbuild": [], "nspawn": []}
    for number in range(runs + 1):  # the first round warms the caches and does not count
        for name, live in (("tmplbuild", ours), ("nspawn", nspawn)):
            place = Path(tempfile.mkdtemp(dir=scratch))
            place.chmod(0o755)
            try:
                figures = live(tree, place)
            finally:
                shutil.rmtree(place)
            if number:
                tables[name].append(figures)
    mine, theirs = (
        {key: statistics.median(row[key] for row in rows) for key in rows[0]} for rows in tables.values()
    )
    print(f"a VE beside systemd-nspawn ({runs} lives each, taking turns; medians, ms)")
    print(f"  {'':8}  {'tmplbuild':>9}  {'nspawn':>9}  {'ratio':>7}")
    for key, value in mine.items():
        beside = f"{theirs[key]:9.1f}  {value / theirs[key]:6.2f}x" if key in theirs else ""
        print(f"  {key:8}  {value:9.1f}  {beside}".rstrip())
    good = [
        holds("start, times nspawn's", mine["start"] / theirs["start"], at_most=1.3),
        holds("create, ms", mine["create"], at_most=20),
        holds("exec, ms", mine["exec"], at_most=15),
    ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
