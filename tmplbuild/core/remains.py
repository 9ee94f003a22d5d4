"""A VE's directory and locks, and the removal of all that a VE leaves on the host.

`<state>/<veid>/lock` is held by whoever is at work on the VE: from its start on, its monitor. Where
the lock can be had, nobody is left, and everything of the VE may go.
"""

from __future__ import annotations

import fcntl
import json
import os

from tmplbuild.core import cgroup, filelock, folders

NOTE = "net"
"""What of a VE's network is to be removed; written by `line`."""

LOCK, CONFIG, STATE, CONTROL, CONSOLE, NOTIFY = "lock", "config", "state", "control", "console.log", "notify"


def lock_veid(state_dir: str, veid: str, *, to_clear: bool = False) -> int:
    """Make a VE's directory and take its lock. Raises BlockingIOError when somebody holds it.

    Parameters:
        to_clear: it is taken to remove what is left: who wants to start the VE meanwhile is to wait for that.
    """
    path = f"{state_dir}/{veid}/{LOCK}"
    while True:
        # The last holder, and who tidies the state directory, may just be removing directories.
        fd = folders.open_in(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, folder_mode=0o700)
        try:
            filelock.take(fd)
            if to_clear:
                filelock.share(fd)
        except OSError:
            os.close(fd)
            raise
        # A lock on a file that was removed in between locks nothing.
        if os.fstat(fd).st_nlink:
            return fd
        os.close(fd)


def lock_tree(path: str, *, shared: bool = False) -> int:
    """Lock a directory or image that holds a tree. Raises BlockingIOError when a VE or a Tree uses it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def write(path: str, content: dict[str, object]) -> None:
    """Write a small file of state; a reader sees the old or the new."""
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(content, file)
    os.rename(f"{path}.new", path)


def read(path: str) -> dict[str, object]:
    """A small file of state; empty when it is not there or was never finished."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def is_ves(folder: str) -> bool:
    """Whether a directory is a VE's: it has a lock; one that has nothing at all was cut short before."""
    if os.path.exists(f"{folder}/{LOCK}"):
        return True
    try:
        return not os.listdir(folder)
    except FileNotFoundError:
        return False  # it ended just now


def is_held(state_dir: str, veid: str) -> bool:
    """True while somebody is at work on a VE."""
    return filelock.is_held(f"{state_dir}/{veid}/{LOCK}")


def clear(state_dir: str, veid: str, owner: str, *, keep: bool = False) -> None:
    """Remove everything of a VE whose lock the caller holds: processes, groups, work files, state.

    Idempotent; works from whatever is there. With `keep`, the directory and its lock stay, for a
    new start. Raises OSError or TimeoutError.
    """
    folder = f"{state_dir}/{veid}"
    cgroup.destroy(owner, veid)
    remove_line(folder)
    rootfs = read(f"{folder}/{CONFIG}").get("rootfs")
    if isinstance(rootfs, dict):
        _tidy_tree(str(rootfs.get("upper") or ""), str(rootfs.get("work") or ""))
        _restore_owners(str(rootfs.get("directory") or ""))
    remove_folder(folder, keep=keep)


def remove_line(folder: str) -> None:
    """Remove a VE's network from the host, where it has one there. Raises OSError."""
    if os.path.exists(f"{folder}/{NOTE}"):
        from tmplbuild.core import line  # most VEs have none, and helpers must start fast

        line.remove(folder)


def _tidy_tree(upper: str, work: str) -> None:
    if not work or not os.path.isdir(upper):
        return
    try:
        lock = lock_tree(upper)
    except BlockingIOError:
        return  # another VE uses the layer by now: the work directory is its own
    clean_work(work)
    os.close(lock)


def clean_work(work: str) -> None:
    """Remove overlayfs' work directory, in which it leaves directories of mode 000."""
    if not os.path.isdir(work):
        return
    _empty(work)
    os.rmdir(work)


def _restore_owners(directory: str) -> None:
    if not directory or not os.path.isdir(directory):
        return
    try:
        lock = lock_tree(directory)
    except BlockingIOError:
        return  # another VE uses the tree by now
    restore_owners(directory)
    os.close(lock)


def restore_owners(directory: str) -> None:
    """Give a directory whose lock the caller holds its own owners back, where a VE left them shifted."""
    from tmplbuild.core import shift  # rarely needed, and helpers must start fast

    if shift.is_shifted(directory):
        shift.restore(directory)


def remove_folder(folder: str, *, keep: bool = False, spare: tuple[str, ...] = ()) -> None:
    """Remove a VE's directory; the lock's file goes last, or stays with `keep`, as do those in `spare`."""
    if not os.path.isdir(folder):
        return
    _empty(folder, spare=(LOCK, *spare))
    if keep:
        return
    os.unlink(f"{folder}/{LOCK}")
    for left in (1, 0):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            return  # the next holder was quick, and is done with it already
        except OSError:
            if os.path.exists(f"{folder}/{LOCK}"):
                return  # the next holder was quick
            if not left:
                raise


def _empty(folder: str, spare: tuple[str, ...] = ()) -> None:
    with os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        if entry.name in spare:
            continue
        if entry.is_dir(follow_symlinks=False):
            _empty(entry.path)
            os.rmdir(entry.path)
        else:
            os.unlink(entry.path)
