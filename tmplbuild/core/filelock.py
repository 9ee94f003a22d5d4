"""One at a time: flock(2) on a file.

The kernel frees it whatever happens to the holder, so a dead one is no obstacle.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tmplbuild.core import folders
from tmplbuild.errors import BusyError, StoreError

_KILLED = 1 << (signal.SIGKILL - 1)
_LOOK_S = 0.02
_DEATH_S = 30.0
"""Seconds that a holder which was killed may take to be gone: it may be writing to a slow disk, and what it
forked has the lock as long as that lives."""


@contextmanager
def exclusive(path: os.PathLike[str], busy: str, *, grace_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of a file, which is made (and its directory) where it is missing.

    Parameters:
        busy: what the BusyError says when another process holds it.
        grace_s: seconds to wait for that.

    Raises BusyError, StoreError.
    """
    fd = opened(path)
    try:
        try:
            take(fd, grace_s, dies=lambda: _is_dying(_noted(fd)[0]))
        except BlockingIOError:
            raise BusyError(
                busy, where=str(path), why=_holder(fd), hint="wait for it to end, or stop it"
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()} {time.time():.0f}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def take(fd: int, grace_s: float = 0.0, *, dies: Callable[[], bool] = lambda: False) -> None:
    """Lock an open file. Raises BlockingIOError when another holds it for `grace_s` seconds more.

    Parameters:
        dies: whether that one is about to be gone: then it is waited for a little longer.
    """
    late = time.monotonic() + grace_s
    latest = late + _DEATH_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            now = time.monotonic()
            if now >= late and not _is_shared(fd) and (now >= latest or not dies()):
                raise
        time.sleep(_LOOK_S)


def share(fd: int) -> None:
    """Make a lock that is held one that whoever wants it waits for. Raises BlockingIOError, and then it is
    not held any more, when somebody else took it at that moment (flock(2))."""
    fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)


def _is_shared(fd: int) -> bool:
    """Whether those who hold a lock are done with it at once: they look at it (`is_held`) or `share` it."""
    try:
        share(fd)
    except BlockingIOError:
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True


def is_held(path: str | os.PathLike[str]) -> bool:
    """Whether a process holds the lock of a file right now; one that is not there nobody holds."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def opened(path: os.PathLike[str]) -> int:
    """A descriptor of a lock's file, made where it is missing. Raises StoreError."""
    try:
        return folders.open_in(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise StoreError("the lock cannot be taken", where=str(path), why=str(error)) from error


def _noted(fd: int) -> tuple[str, str]:
    """Which process took a lock, and when (seconds since 1970); "" where it is not told."""
    pid, _, since = os.pread(fd, 64, 0).decode("ascii", "replace").strip().partition(" ")
    return pid, since


def _is_dying(pid: str) -> bool:
    """Whether a process has been killed, or has ended (proc(5))."""
    if not pid.isdecimal():
        return False
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            rows = dict(line.split(b":", 1) for line in file if b":" in line)
    except (FileNotFoundError, ProcessLookupError):
        return True
    pending = int(rows[b"SigPnd"], 16) | int(rows[b"ShdPnd"], 16)
    return bool(pending & _KILLED) or b"VmSize" not in rows


def _holder(fd: int) -> str:
    pid, since = _noted(fd)
    when = ""
    if since.isdecimal():
        when = f" since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(int(since)))}"
    return f"process {pid or 'unknown'} holds the lock{when}"
