"""VEs beside systemd-nspawn, on the same tree, in turns: create, start to ready, exec, stop.

    python -m benchmarks.ve TREE [ROUNDS]

TREE is a directory with a Debian that boots by systemd (mmdebstrap makes one). Needs root and
systemd-nspawn (Debian: systemd-container). Goals: start at most 1.3 times nspawn's, create under
20 ms, exec under 15 ms; the exit status tells whether they are met.
"""

from __future__ import annotations

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

from tmplbuild.core import Core, Rootfs, cgroup

_EXECS = 20


def clock(call: Callable[[], object]) -> float:
    """How long a call takes, milliseconds."""
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1000


def ours(tree: Path, place: Path) -> dict[str, float]:
    """One life of a VE on a new layer."""
    core = Core(place / "run")
    upper = place / "upper"
    figures = {"create": clock(upper.mkdir)}
    begun = time.perf_counter()
    with core.start("bench", Rootfs.overlay((tree,), upper, place / "work"), init=True) as ve:
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
    """Run both in turns and print medians and ratios."""
    tree = Path(sys.argv[1]).absolute()
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    tables: dict[str, list[dict[str, float]]] = {"tmplbuild": [], "nspawn": []}
    for number in range(rounds + 1):  # the first round warms the caches and does not count
        for name, run in (("tmplbuild", ours), ("nspawn", nspawn)):
            place = Path(tempfile.mkdtemp(prefix="tmplbuild-bench-"))
            os.chmod(place, 0o755)
            try:
                figures = run(tree, place)
            finally:
                shutil.rmtree(place)
            if number:
                tables[name].append(figures)
    medians = {
        name: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        for name, rows in tables.items()
    }
    mine, theirs = medians["tmplbuild"], medians["nspawn"]
    print(f"{rounds} rounds in turns, medians, milliseconds")
    for key, value in mine.items():
        beside = f"{theirs[key]:9.1f}   {value / theirs[key]:5.2f}" if key in theirs else ""
        print(f"{key:8}{value:9.1f}{beside}")
    ratio = mine["start"] / theirs["start"]
    good = ratio <= 1.3 and mine["create"] < 20 and mine["exec"] < 15
    print(f"start: {ratio:.2f} times nspawn's (goal: 1.3); create under 20 and exec under 15 are the others")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
