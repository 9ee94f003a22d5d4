"""One build of a template at a time: flock(2) on a file, which the kernel frees whatever happens."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tmplbuild.errors import BusyError, StoreError


@contextmanager
def template_lock(directory: Path, template: str) -> Iterator[None]:
    """Hold a template's lock.

    Raises BusyError, naming the process that holds it, when another run works on this template;
    StoreError when the lock's directory cannot be used.
    """
    path = directory / "locks" / f"{template}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError("the lock cannot be taken", where=str(path), why=str(error)) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise BusyError(
                f"another run is building {template}",
                where=str(path),
                why=f"process {holder} holds the lock",
                hint="wait for it to end, or stop it",
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)
