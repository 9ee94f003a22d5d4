"""A VE's directory: the names in it, small files of state, and the locks on it and on trees.

`<state>/<veid>/lock` is held by whoever is at work on the VE: from its start on, its monitor. Where
the lock can be had, nobody is left, and everything of the VE may go: see `tmplbuild.core.remains`.
"""

from __future__ import annotations

import fcntl
import json
import os

from tmplbuild.core import filelock, folders

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
