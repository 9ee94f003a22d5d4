"""Debian trees for the tests of VEs, made once a session by mmdebstrap, and what VEs leave behind."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.conftest import KEPT_TREES, shared
from tmplbuild.core import Core, Rootfs, cgroup
from tmplbuild.core.line import device_name

# suite and packages of each tree
TREES = {
    "systemd": ("bookworm", "systemd-sysv,dbus,ifupdown,libcap2-bin,procps,acl"),
    "sysvinit": ("bookworm", "sysvinit-core,ifupdown,procps"),
    "systemd-11": ("bullseye", "systemd-sysv,dbus"),
    "systemd-13": ("trixie", "systemd-sysv,dbus"),
    "openrc": ("bookworm", "openrc,sysvinit-core,procps"),
}


@functools.cache
def debian(kind: str) -> Path:
    """A Debian tree of TREES, never to be changed.

    They are kept between runs in the directory that TMPLBUILD_TEST_TREES names, if it names one.
    """
    kept = os.environ.get(KEPT_TREES)
    home = Path(kept) if kept else shared("trees")
    home.mkdir(parents=True, exist_ok=True)
    tree = home / kind
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.exists():
            _make(kind, tree)
    return tree


def _make(kind: str, tree: Path) -> None:
    from tmplbuild.archives.mirrors import host_mirror

    if shutil.which("mmdebstrap") is None:
        pytest.skip("mmdebstrap is not installed: run `make test`, or apt-get install mmdebstrap")
    mirror = host_mirror("debian")
    assert mirror is not None
    tarball = tree.with_suffix(".tar")
    suite, packages = TREES[kind]
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={packages}",
        suite,
        str(tarball),
        mirror,
    ]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    draft = tree.with_suffix(".new")
    draft.mkdir()
    unpack = [
        "tar",
        "-xpf",
        str(tarball),
        "-C",
        str(draft),
        "--xattrs",
        "--xattrs-include=*",
        "--numeric-owner",
    ]
    subprocess.run(unpack, check=True)
    tarball.unlink()
    (draft / "etc/machine-id").write_text("")
    draft.rename(tree)


def layers(where: Path, kind: str = "systemd") -> Rootfs:
    """An empty layer in `where` on top of a Debian tree."""
    upper = where / "upper"
    upper.mkdir(parents=True, exist_ok=True)
    return Rootfs.overlay((debian(kind),), upper, where / "work")


def copy(where: Path, kind: str = "systemd") -> Rootfs:
    """A copy of a Debian tree as a plain directory."""
    tree = where / "tree"
    subprocess.run(["cp", "-a", "--reflink=auto", str(debian(kind)), str(tree)], check=True)
    return Rootfs.plain(tree)


def wait_until(condition: Callable[[], bool], timeout_s: float = 180.0) -> bool:
    """Wait for what another process does; no longer than needed. False when it does not come."""
    deadline = monotonic() + timeout_s
    while not condition():
        if monotonic() > deadline:
            return False
        sleep(0.01)
    return True


def mounts_but_others(place: Path) -> list[str]:
    """The host's mounts, without those that other tests beside this one, whose files lie at `place`, make
    for themselves; and without what a mount's number and its peers are."""
    others = str(place.parents[1])  # of this run of the tests: each worker has a directory in it
    rows = [line.split(" ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted(
        " ".join([*row[2:6], *row[row.index("-") :]])
        for row in rows
        if not row[4].startswith(f"{others}/") or row[4].startswith(f"{place}/")
    )


def traces(core: Core) -> dict[str, object]:
    """All that VEs of this Core could have left on the host."""
    return {
        "mounts": Path("/proc/self/mountinfo").read_text().count(str(core.state_dir)),
        "groups": sorted(cgroup.known(core.owner)),
        "processes": [pid for pid in os.listdir("/proc") if pid.isdigit() and _belongs(pid, core)],
        "state": sorted(os.listdir(core.state_dir)) if core.state_dir.exists() else [],
    }


NOTHING: dict[str, object] = {"mounts": 0, "groups": [], "processes": [], "state": []}


def _belongs(pid: str, core: Core) -> bool:
    try:
        if f"/{core.owner}/" in Path(f"/proc/{pid}/cgroup").read_text():
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        if Path(f"/proc/{pid}/comm").read_text() != "tmplbuild-ve\n":
            return False
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        return any(link.startswith(f"{core.state_dir}/") for link in links)
    except OSError:
        return False


def monitors(core: Core) -> list[int]:
    """The monitors of VEs of this Core."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{pid}/comm").read_text() != "tmplbuild-ve\n":
                continue
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        if any(link.startswith(f"{core.state_dir}/") for link in links):
            found.append(int(pid))
    return found


def network(core: Core, veid: str, addresses: Iterable[str]) -> list[str]:
    """What of a VE's network is on the host: its interface, and what leads to its addresses."""
    looks = [
        ["link"],
        ["route"],
        ["-6", "route"],
        ["neigh", "show", "proxy"],
        ["-6", "neigh", "show", "proxy"],
    ]
    told = [subprocess.run(["ip", "-o", *look], capture_output=True, text=True, check=True) for look in looks]
    marks = (device_name(core.owner, veid), *addresses)
    rows = "".join(done.stdout for done in told).splitlines()
    return [row for row in rows if any(mark in row for mark in marks)]


def kill_monitor(core: Core, veid: str) -> None:
    """Kill the monitor of a VE."""
    lock = f"{core.state_dir}/{veid}/lock"
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{pid}/comm").read_text() != "tmplbuild-ve\n":
                continue
            if any(os.readlink(f"/proc/{pid}/fd/{fd}") == lock for fd in os.listdir(f"/proc/{pid}/fd")):
                os.kill(int(pid), 9)
                return
        except OSError:
            continue
    raise AssertionError("the VE has no monitor")
