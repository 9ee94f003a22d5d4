"""One run at a time: on a template, of the night, on a mirror.

flock(2) on a file: the kernel frees it whatever happens to the holder, so a dead one is no obstacle.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tmplbuild.errors import BusyError, StoreError

_GRACE_S = 1.0
"""A run that was killed may take this long (seconds) to be gone."""
_LOOK_S = 0.02


@contextmanager
def template_lock(directory: Path, template: str) -> Iterator[None]:
    """Hold a template's lock.

    Raises BusyError, naming the process that holds it and since when, when another run works on this
    template; StoreError when the lock's directory cannot be used.
    """
    path = directory / "locks" / f"{template}.lock"
    with exclusive(path, f"another run is building {template}", grace_s=_GRACE_S):
        yield


@contextmanager
def nightly_lock(directory: Path) -> Iterator[None]:
    """Hold the lock of the nightly run. Raises BusyError at once when there is one; StoreError."""
    with exclusive(directory / "locks" / ".nightly.lock", "another nightly run is at work"):
        yield


@contextmanager
def layer_lock(directory: Path, key: str, wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of a layer that is to be made: who needs the same one waits, and then has it.

    Parameters:
        wait: called once when somebody else makes it.

    Raises StoreError.
    """
    path = directory / "locks" / f".layer-{key[:32]}.lock"
    waits = False
    while True:
        fd = _open(path)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not waits:
                    wait()
                waits = True
                fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink == 0:
                continue  # who held it has removed it: a lock on it locks nothing any more
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
        finally:
            os.close(fd)


@contextmanager
def exclusive(path: Path, busy: str, *, grace_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of a file, which is made (and its directory) where it is missing.

    Parameters:
        busy: what the BusyError says when another process holds it.
        grace_s: seconds to wait for that.

    Raises BusyError, StoreError.
    """
    fd = _open(path)
    try:
        _take(fd, path, busy, grace_s)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()} {time.time():.0f}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise StoreError("the lock cannot be taken", where=str(path), why=str(error)) from error


def _take(fd: int, path: Path, busy: str, grace_s: float) -> None:
    deadline = time.monotonic() + grace_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(_LOOK_S)
                continue
        raise BusyError(
            busy, where=str(path), why=_holder(fd), hint="wait for it to end, or stop it"
        ) from None


def _holder(fd: int) -> str:
    pid, _, since = os.pread(fd, 64, 0).decode("ascii", "replace").strip().partition(" ")
    when = ""
    if since.isdecimal():
        when = f" since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(int(since)))}"
    return f"process {pid or 'unknown'} holds the lock{when}"
