"""The control groups of VEs: made, limited, killed as a whole, removed.

Each VE has `<cgroup2>/<owner>/<veid>/ve`, which becomes the root of its cgroup namespace; the limits
sit one level above it, out of the VE's reach. A controller that the host has mounted the old way
(cgroups(7), version 1) gets a group `<controller>/<owner>/<veid>`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator, Mapping

from tmplbuild.core import folders, linux, resources

_WANTED = ("cpu", "memory", "pids", "io")
_OLD_NAMES = {"blkio": "io"}
_EMPTY_TIMEOUT_S = 60.0
"""Seconds for processes that were killed to be gone: one may wait for a slow disk to write much."""

_private_root: list[str] = []


def mounts() -> Iterator[tuple[str, str, str]]:
    """(type, mount point, super options) of every mount that this process sees."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            point = left.split(" ")[4].replace("\\040", " ")
            fstype, _source, options = right.split(" ", 2)
            yield fstype, point, options.strip()


def unified_root() -> str:
    """Where cgroup2 is. A host that has it mounted nowhere gets a mount that only we see."""
    for fstype, point, _options in mounts():
        if fstype == "cgroup2":
            return point
    if not _private_root:
        _private_root.append(f"/proc/self/fd/{linux.new_mount('cgroup2')}")
    return _private_root[0]


def controllers() -> dict[str, str]:
    """Where each resource controller is: "memory" -> its hierarchy's mount point."""
    found: dict[str, str] = {}
    for fstype, point, options in mounts():
        if fstype == "cgroup":
            names = (_OLD_NAMES.get(name, name) for name in options.split(","))
            found.update((name, point) for name in names if name in _WANTED)
    root = unified_root()
    names = (name for name in resources.read(f"{root}/cgroup.controllers").split() if name in _WANTED)
    found.update((name, root) for name in names)
    return found


def groups(owner: str, veid: str) -> dict[str, str]:
    """The VE's group of each controller that the host has."""
    return {name: f"{root}/{owner}/{veid}" for name, root in controllers().items()}


def unified(owner: str, veid: str) -> str:
    """The VE's group of version 2."""
    return f"{unified_root()}/{owner}/{veid}"


def create(owner: str, veid: str, limits: Mapping[str, float], uid: int) -> list[str]:
    """Make a VE's groups with its limits, the inner one owned by the VE's root.

    Parameters:
        owner: the name that all groups of this tool's state directory share.
        limits: as `Limits.as_message` gives them.
        uid: the host's id of the VE's root.

    Returns the files to write a process id to so that it joins. Raises OSError; Unenforceable for a
    limit that the host cannot hold.
    """
    resources.check(limits, controllers())
    root = unified_root()
    top = unified(owner, veid)
    folders.make(top)
    mine = groups(owner, veid)
    _delegate(root, owner, veid, {name for name, group in mine.items() if group == top})
    inner = f"{top}/ve"
    os.mkdir(inner)
    for name in ("", "/cgroup.procs", "/cgroup.threads", "/cgroup.subtree_control"):
        os.chown(inner + name, uid, uid)
    joins = [f"{inner}/cgroup.procs"]
    for group in sorted({*mine.values()} - {top}):
        folders.make(group)
        joins.append(f"{group}/cgroup.procs")
    resources.apply(mine, limits)
    return joins


def _delegate(root: str, owner: str, veid: str, names: set[str]) -> None:
    """Hand the unified hierarchy's controllers down to the VE's group and its children.

    One that cannot be handed down shows when a limit is written; the VE may do without it.
    """
    for group in (root, f"{root}/{owner}", f"{root}/{owner}/{veid}"):
        for name in names:
            with contextlib.suppress(OSError):
                resources.write(f"{group}/cgroup.subtree_control", f"+{name}")


def join(files: list[str]) -> None:
    """Put the calling process into the groups that `create` returned."""
    for path in files:
        resources.write(path, "0")


def kill(group: str) -> None:
    """Kill all that runs in a group of the unified hierarchy, and wait until nothing does.

    Raises TimeoutError when a process does not die (it waits for a disk that does not answer).
    """
    try:
        resources.write(f"{group}/cgroup.kill", "1")
    except FileNotFoundError:
        if not os.path.isdir(group):
            return
        _kill_each(group)  # before Linux 5.14
    except OSError:
        if os.path.isdir(group):
            raise
        return
    wait_empty(group)


def _kill_each(group: str) -> None:
    # A process may fork between the reading and the kill: until none is left.
    deadline = time.monotonic() + _EMPTY_TIMEOUT_S
    while _populated(group) and time.monotonic() < deadline:
        for pid in all_pids(group):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def all_pids(group: str) -> list[int]:
    """The processes in a group of the unified hierarchy and those within."""
    return [pid for folder, _dirs, _files in os.walk(group) for pid in _pids(folder)]


def _pids(group: str) -> list[int]:
    try:
        return [int(word) for word in resources.read(f"{group}/cgroup.procs").split() if int(word) > 0]
    except OSError:
        return []


def _populated(group: str) -> bool:
    try:
        return "populated 1" in resources.read(f"{group}/cgroup.events")
    except OSError:
        return False


def wait_empty(group: str, timeout_s: float = _EMPTY_TIMEOUT_S) -> None:
    """Wait for the kernel's word that no process is left in a group. Raises TimeoutError."""
    try:
        events = os.open(f"{group}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        deadline = time.monotonic() + timeout_s
        while b"populated 1" in os.pread(events, 256, 0):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"processes in {group} do not die")
            poll.poll(left * 1000)
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise
    finally:
        os.close(events)


def remove(group: str) -> None:
    """Remove a group and those within; it must be empty. One that is not there is well."""
    for folder, _dirs, _files in list(os.walk(group, topdown=False)):
        _rmdir(folder)


def _rmdir(group: str) -> None:
    # Linux frees the last process's place in a version 1 group a moment after its exit.
    deadline = time.monotonic() + _EMPTY_TIMEOUT_S
    while True:
        try:
            os.rmdir(group)
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.002)
        else:
            return


def destroy(owner: str, veid: str) -> None:
    """Kill all that runs in a VE's groups and remove them. Idempotent; needs only the id."""
    group = f"{unified_root()}/{owner}/{veid}"
    if os.path.isdir(group):
        kill(group)
        remove(group)
    for root in set(controllers().values()):
        remove(f"{root}/{owner}/{veid}")
    _remove_owner(owner)


def _remove_owner(owner: str) -> None:
    """Remove the groups above the VEs' once no VE has one in them."""
    for root in {unified_root(), *controllers().values()}:
        try:
            os.rmdir(f"{root}/{owner}")
        except OSError:
            continue


def exec_group(owner: str, veid: str, name: str) -> str:
    """Make the group of one command in a VE. Returns its path."""
    path = f"{unified_root()}/{owner}/{veid}/ve/tmplbuild.{name}"
    os.mkdir(path)
    return path


def known(owner: str) -> set[str]:
    """The veids that have a group, running or left over."""
    found: set[str] = set()
    for root in {unified_root(), *controllers().values()}:
        try:
            found.update(entry.name for entry in os.scandir(f"{root}/{owner}") if entry.is_dir())
        except FileNotFoundError:
            continue
    return found
