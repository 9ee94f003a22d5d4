"""What this machine can do for VEs, found by trying each thing in a child process.

The child has namespaces of its own; it mounts and maps on a small tree made for it in the directory
in question, and nothing of it is left when it ends.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Literal, Protocol

from tmplbuild.core import cgroup, runstate
from tmplbuild.core.model import Feature, Limits, Probe, Rootfs
from tmplbuild.errors import HostError, TmplbuildError

_PREFIX = ".tmplbuild-probe-"
_STATE = "state"  # of a trial's VEs, in the corner
_LIMITS = {"memory": Limits(memory_mib=512), "pids": Limits(pids=100), "cpu": Limits(cpus=1.0)}
_FIXES = {
    "root": "run it as root (sudo)",
    "kernel": "use Linux 5.8 or newer",
    "userns": "set the sysctl user.max_user_namespaces above 0; in a chroot there are none (unshare(2)): "
    "leave it, or make it a container",
    "proc": "this machine is a container that does not see all of /proc: let it (Docker: --privileged; "
    "Podman: --security-opt unmask=ALL; Incus and LXC: security.nesting=true)",
    "cgroup2": "mount it: mount -t cgroup2 none /sys/fs/cgroup/unified",
    "overlay": "use Linux 5.19 or newer, and a disk that is not itself an overlay (ext4, xfs, btrfs)",
    "idmap": "use Linux 5.12 or newer and a file system that maps owners (ext4, xfs, btrfs)",
    "limits": "mount the controller (cgroups(7)), or do without this limit",
}


class Trial(Protocol):
    """A container core to try things with (`tmplbuild.core.host.Core`)."""

    def start(
        self, veid: str, rootfs: Rootfs, *, init: bool, timeout_s: float
    ) -> AbstractContextManager[object]: ...

    def gc(self) -> list[str]: ...


Copy = Literal["auto", "idmap"]
MakeTrial = Callable[[Path, Copy], Trial]
"""Makes one, of a directory for its run state and of how trees get a VE's owners."""


def probe(trial: MakeTrial, where: Path) -> Probe:
    """Try everything; see `Core.probe`. Raises HostError when `where` cannot be written."""
    rows = [_root(), _kernel()]
    if all(row.works for row in rows):
        rows += _tries(trial, where)
    by_name = {row.name: row for row in rows}
    needed = [by_name.get(name) for name in ("root", "kernel", "userns", "cgroup2")]
    broken = next((row for row in needed if row is not None and not row.works), None)
    overlay = by_name.get("overlay")
    stacks = overlay is not None and overlay.works
    reason = "layers can be stacked there" if stacks else (overlay.why if overlay else "it was not tried")
    return Probe(
        usable=broken is None,
        why=broken.why if broken else "",
        fix=broken.fix if broken else "",
        mode="overlay" if stacks else "copy",
        mode_reason=reason,
        features=tuple(rows),
    )


def _row(name: str, why: str, fix: str) -> Feature:
    return Feature(name, works=not why, why=why, fix=_FIXES[fix] if why else "")


def _root() -> Feature:
    uid = os.geteuid()
    return _row("root", "" if uid == 0 else f"this runs as user {uid}", "root")


def _kernel() -> Feature:
    release = platform.release()
    numbers = tuple(int(word) for word in release.split("-")[0].split(".")[:2] if word.isdigit())
    return _row("kernel", "" if numbers >= (5, 8) else f"Linux {release} is too old", "kernel")


def stacks(trial: MakeTrial, where: Path) -> bool:
    """Whether VEs run on layers that are stacked there; see `Core.stacks`. Raises HostError when `where`
    cannot be written."""
    if not all(row.works for row in (_root(), _kernel(), _cgroup2())):
        return False
    with _corner(trial, where) as here:
        return not _start(trial, here, Rootfs.overlay(*_trees(here)), "auto")


def _tries(trial: MakeTrial, where: Path) -> list[Feature]:
    with _corner(trial, where) as here:
        return [_cgroup2(), *_runs(trial, here), *_limits()]


@contextmanager
def _corner(trial: MakeTrial, where: Path) -> Iterator[Path]:
    """A directory to try things in, of which nothing is left."""
    try:
        _sweep(trial, where)
        here, lock = _place(where)
    except OSError as error:
        raise HostError(
            "The directory cannot be written.", where=str(where), why=error.strerror or str(error)
        ) from error
    try:
        yield here
    finally:
        shutil.rmtree(here, ignore_errors=True)
        os.close(lock)


def _place(where: Path) -> tuple[Path, int]:
    """A directory to try things in, locked while this process lives."""
    while True:
        here = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=where))
        try:
            lock = runstate.lock_tree(str(here))
        except (BlockingIOError, FileNotFoundError):
            continue  # another probe took it for a dead one's before it was locked
        if here.exists():
            return here, lock
        os.close(lock)  # and was done with it already


def _sweep(trial: MakeTrial, where: Path) -> None:
    """Remove what probes that were killed left there."""
    for old in where.glob(f"{_PREFIX}*"):
        try:
            lock = runstate.lock_tree(str(old))
        except OSError:
            continue
        try:
            with suppress(HostError):  # something of it hangs in the kernel: the next one tries again
                trial(old / _STATE, "auto").gc()
                shutil.rmtree(old, ignore_errors=True)
        finally:
            os.close(lock)


def _cgroup2() -> Feature:
    try:
        cgroup.unified_root()
    except OSError as error:
        return _row("cgroup2", str(error), "cgroup2")
    return _row("cgroup2", "", "cgroup2")


def _limits() -> list[Feature]:
    try:
        there = cgroup.controllers()
    except OSError:
        there = {}
    rows = []
    for name in _LIMITS:
        why = "" if name in there else f"no control group controller '{name}' is mounted"
        rows.append(_row(f"limit {name}", why, "limits"))
    return rows


def _runs(trial: MakeTrial, here: Path) -> list[Feature]:
    """Start VEs without init on small trees: everything they need is tried for real."""
    (tree,), upper = _trees(here)
    plain = _start(trial, here, Rootfs.plain(tree), "auto")
    rows = [_row("userns", plain, "proc" if "mount proc" in plain else "userns")]
    if not plain:
        rows.append(_row("overlay", _start(trial, here, Rootfs.overlay((tree,), upper), "auto"), "overlay"))
        rows.append(_row("idmap", _start(trial, here, Rootfs.plain(tree), "idmap"), "idmap"))
    return rows


def _trees(here: Path) -> tuple[tuple[Path], Path]:
    """A tree to stand on, and a directory for what is written above it."""
    tree, upper = here / "tree", here / "upper"
    for folder in (tree, upper):
        folder.mkdir()
    for name in ("proc", "sys", "dev", "run"):
        (tree / name).mkdir()
    (tree / "file").write_text("as it was")
    return (tree,), upper


def _start(trial: MakeTrial, here: Path, rootfs: Rootfs, copy: Copy) -> str:
    """Why a VE on that tree does not start; "" when it does."""
    try:
        with trial(here / _STATE, copy).start("probe", rootfs, init=False, timeout_s=120):
            return ""
    except TmplbuildError as error:
        return error.why or error.what
