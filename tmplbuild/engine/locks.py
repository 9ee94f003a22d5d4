"""One run at a time: on a template, of the night, on a mirror.

flock(2) on a file: the kernel frees it whatever happens to the holder, so a dead one is no obstacle.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tmplbuild.core.filelock import exclusive, is_held, opened

PART = "fleet-"
"""How the names of the locks begin that parts of a fleet's builds hold."""
_GRACE_S = 1.0
"""A run that was killed may take this long (seconds) to be gone."""


@contextmanager
def template_lock(directory: Path, template: str) -> Iterator[None]:
    """Hold a template's lock.

    Raises BusyError, naming the process that holds it and since when, when another run works on this
    template; StoreError when the lock's directory cannot be used.
    """
    path = _template(directory, template)
    with exclusive(path, f"another run is building {template}", grace_s=_GRACE_S):
        yield


@contextmanager
def part_lock(directory: Path, template: str) -> Iterator[None]:
    """Hold the lock of a template's parts that are done here for a fleet. Raises as `template_lock`."""
    path = _template(directory, PART + template)
    with exclusive(path, f"another part of {template} is at work here", grace_s=60):
        yield


def is_worked_on(directory: Path, template: str) -> bool:
    """Whether a run works on a template right now."""
    return is_held(_template(directory, template))


@contextmanager
def at_rest(directory: Path, template: str) -> Iterator[None]:
    """Hold a template that nobody works on, nor does a part of it. Raises BusyError, StoreError."""
    busy = f"{template} is being built"
    with (
        exclusive(_template(directory, template), busy),
        exclusive(_template(directory, PART + template), busy),
    ):
        yield


def _template(directory: Path, template: str) -> Path:
    return directory / "locks" / f"{template}.lock"


@contextmanager
def nightly_lock(directory: Path) -> Iterator[None]:
    """Hold the lock of the nightly run. Raises BusyError at once when there is one; StoreError."""
    with exclusive(directory / "locks" / ".nightly.lock", "another nightly run is at work"):
        yield


@contextmanager
def tidy_lock(directory: Path, *, grace_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of who tidies up. Raises BusyError when another does for `grace_s` seconds more;
    StoreError."""
    with exclusive(directory / "locks" / ".tidy.lock", "another run tidies up", grace_s=grace_s):
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
        fd = opened(path)
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
