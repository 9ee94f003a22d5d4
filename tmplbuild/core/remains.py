"""The removal of all that a VE leaves on the host.

It works from whatever is there, for whoever has the VE's lock (`tmplbuild.core.runstate`).
"""

from __future__ import annotations

import os

from tmplbuild.core import cgroup
from tmplbuild.core.runstate import CONFIG, LOCK, NOTE, lock_tree, read


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
