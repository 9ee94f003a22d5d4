"""A file that is there whole or not at all.

It is written under a temporary name in its own directory, fsynced, renamed, and the directory
fsynced: after a crash the name leads to the old file or to the new one. The temporary name is
`.NAME.RANDOM.tmplbuild-part`; the run that writes it holds a lock on it (flock(2)), so a part
whose lock is free is a dead run's, and the next writer of the same name removes it. Process ids
would not do: they mean nothing in another pid namespace.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tmplbuild.errors import StoreError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_SUFFIX = ".tmplbuild-part"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NAME_MOST = 200  # of 255 (NAME_MAX), to leave room for what is put around it


@contextlib.contextmanager
def atomic_file(path: Path, *, mode: int = 0o644, needed: int = 0) -> Iterator[BinaryIO]:
    """Write `path` whole or not at all: `with atomic_file(path) as out: out.write(...)`.

    Parameters:
        mode: permission bits, whatever the umask.
        needed: bytes that the file will come to, if that is known; said when the disk is full.

    On any error or interrupt the temporary file is gone and an older `path` untouched. Raises
    StoreError where the directory is missing or cannot be written, and where the disk is full.
    Writing is not buffered: hand over large pieces.
    """
    remove_stale(path)
    part = _create(path, needed)
    done = False
    try:
        yield part
        with _explained(path, needed, part.written):
            os.fchmod(part.fileno(), mode)
            os.fsync(part.fileno())
            os.rename(part.path, path)
            done = True
            _sync_folder(path.parent)
    finally:
        part.close()
        if not done:
            part.path.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a small file whole or not at all. Raises StoreError as `atomic_file` does."""
    with atomic_file(path, mode=mode, needed=len(data)) as out:
        out.write(data)


def remove_stale(path: Path) -> list[Path]:
    """Remove the parts of `path` that runs which are no more left behind. Returns those removed.

    A part that a living run is writing stays. A directory that is not there has none.
    """
    start = f".{path.name[:_NAME_MOST]}."
    removed = []
    try:
        names = sorted(os.listdir(path.parent))
    except OSError:
        return []  # what is wrong with the directory is told when the new file is made
    for name in names:
        if name.startswith(start) and name.endswith(_SUFFIX) and "." not in name[len(start) : -len(_SUFFIX)]:
            part = path.with_name(name)
            if _remove_if_dead(part):
                removed.append(part)
    return removed


class _Part(io.FileIO):
    """The temporary file. Its errors name the final path, the bytes needed and the bytes free."""

    def __init__(self, part: Path, path: Path, needed: int) -> None:
        super().__init__(part, "xb", opener=_open_private)
        self.path = part
        self.written = 0
        self._final = path
        self._needed = needed

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of `data`. Raises StoreError."""
        view = memoryview(data).cast("B")
        total = len(view)
        with _explained(self._final, self._needed, self.written + total):
            while view:
                size = super().write(view) or 0
                self.written += size
                view = view[size:]
        return total


def _open_private(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _create(path: Path, needed: int) -> _Part:
    while True:
        part = path.with_name(f".{path.name[:_NAME_MOST]}.{secrets.token_hex(6)}{_SUFFIX}")
        with _explained(path, needed, 0):
            file = _Part(part, path, needed)
        try:
            with _explained(path, needed, 0):
                fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(file.fileno(), part):
                return file
            file.close()  # another run took it for a dead one's, between our open and our lock
        except BaseException:
            file.close()
            part.unlink(missing_ok=True)
            raise


def _remove_if_dead(part: Path) -> bool:
    try:
        fd = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_at(fd, part):
            return False
        part.unlink()
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _is_at(fd: int, path: Path) -> bool:
    """True while `path` is still the name of the open file."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _explained(path: Path, needed: int, at_least: int) -> Iterator[None]:
    """Turn an OSError about `path` into the StoreError that a person can act on."""
    try:
        yield
    except OSError as error:
        raise _store_error(path, error, max(needed, at_least)) from error


def _store_error(path: Path, error: OSError, needed: int) -> StoreError:
    why = str(error.strerror)
    hints = {
        errno.ENOENT: f"make the directory: mkdir -p {path.parent}",
        errno.ENOTDIR: f"{path.parent} is no directory: choose another place",
        errno.EROFS: "the file system is read-only: choose another place",
        errno.EACCES: "the directory is not writable for this user",
        errno.EPERM: "the directory or the file is immutable (lsattr)",
    }
    if error.errno in _FULL:
        why += f"; needed: at least {needed} bytes, free: {_free(path.parent)} bytes"
        return StoreError(
            "There is no room for the file.", where=str(path), why=why, hint=f"make room in {path.parent}"
        )
    return StoreError(
        "The file cannot be written.", where=str(path), why=why, hint=hints.get(error.errno or 0, "")
    )


def _free(folder: Path) -> int:
    try:
        state = os.statvfs(folder)
    except OSError:
        return 0
    return state.f_bavail * state.f_frsize
