"""Verified files on disk, shared by all runs on this machine, named by what they hold.

    packages/aa/SHA256.deb      a package (named by another digest, where its archive has no other: .pkg)
    packages/aa/SHA256.tar      a packed tree
    indexes/SHA256              an archive's index or Release, as it came
    incoming/SHA256.part        a download under way (locked by who writes it), resumed by the next run
    suites/NAME.json            what was last accepted of a suite

A name in packages/ or indexes/ is taken by rename, after the hash was checked: what is there is
whole. Several processes may use one cache: who downloads holds a lock (flock) on the part file.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tmplbuild.archives import digest
from tmplbuild.errors import StoreError

_HEX = re.compile(r"\b[0-9a-f]{32,128}\b")


class PackageCache:
    """The cache below the directory `root` (made when first needed).

    Parameters:
        indexes: where the archives' indexes lie, if elsewhere: in the cache of another one who knows other
            states of the suites.
    """

    def __init__(self, root: Path, *, indexes: Path | None = None) -> None:
        self.root = root
        self.packages = root / "packages"
        self.indexes = indexes or root / "indexes"
        self.incoming = root / "incoming"
        self.suites = root / "suites"

    def path(self, sha256: str) -> Path:
        """Where the package with this hash lies, or would lie."""
        kind, value = digest.split(sha256)
        return self.packages / value[:2] / (f"{value}.deb" if kind == "sha256" else f"{kind}-{value}.pkg")

    def tarball(self, sha256: str) -> Path:
        """Where the packed tree with this hash lies, or would lie."""
        return self.packages / sha256[:2] / f"{sha256}.tar"

    def index_path(self, sha256: str) -> Path:
        """Where the index with this hash lies, or would lie."""
        return self.indexes / digest.file_name(sha256)

    def has(self, sha256: str) -> bool:
        """Whether the package is there (whole and verified)."""
        return self.path(sha256).exists()

    @contextmanager
    def claim(self, dest: Path) -> Iterator[int | None]:
        """The locked descriptor of the part file that is to become `dest`; None when `dest` is there.

        Another process or thread that downloads the same file is waited for. `keep` gives the
        file its name. Raises StoreError.
        """
        part = self.incoming / f"{dest.stem}.part"
        with _told(part):
            fd = _open_locked(part, dest)
        try:
            yield fd
        finally:
            if fd is not None:
                _let_go(fd)

    def keep(self, dest: Path) -> None:
        """Give the finished part file the name `dest`. Raises StoreError."""
        with _told(dest):
            dest.parent.mkdir(parents=True, exist_ok=True)
            os.rename(self.incoming / f"{dest.stem}.part", dest)

    def put_index(self, sha256: str, data: bytes) -> Path:
        """Store bytes whose hash is known to be `sha256`. Raises StoreError."""
        dest = self.index_path(sha256)
        if not dest.exists():
            write_whole(dest, data)
        return dest

    def used(self, path: Path) -> None:
        """Mark a file as used now, for `prune`."""
        with suppress(OSError):
            os.utime(path)

    # -- what was last accepted of a suite -------------------------------------------------------

    def recall(self, name: str) -> dict[str, str]:
        """What `remember` last stored under `name`; empty if there is nothing (readable)."""
        try:
            found = json.loads((self.suites / f"{_plain(name)}.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}

    def remember(self, name: str, facts: dict[str, str]) -> None:
        """Store facts about a suite. Raises StoreError."""
        if self.recall(name) != facts:
            write_whole(self.suites / f"{_plain(name)}.json", json.dumps(facts, sort_keys=True).encode())

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Look at what is remembered and change it while no other run does. Raises StoreError."""
        place = self.suites / ".lock"
        with _told(place):
            self.suites.mkdir(parents=True, exist_ok=True)
            fd = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            _let_go(fd)

    # -- keeping it small ------------------------------------------------------------------------

    @staticmethod
    def stem(sha256: str) -> str:
        """The name of a package's files without their suffixes."""
        return digest.file_name(sha256)

    @staticmethod
    def files(*folders: Path) -> Iterator[Path]:
        """All files in these directories of the cache."""
        for folder in folders:
            for base, _, names in os.walk(folder):
                yield from (Path(base, name) for name in names)

    def accepted(self) -> frozenset[str]:
        """The names of the indexes that were last accepted: what `--offline` works with."""
        releases = {value for path in self.suites.glob("*.json") for value in self.recall(path.stem).values()}
        found = set(releases)
        for path in self.files(self.indexes):
            if path.name in releases:  # a Release names its suite's indexes by their digests
                with suppress(OSError):
                    found.update(_HEX.findall(path.read_text("utf-8", "replace")))
        return frozenset(found)


def write_whole(dest: Path, data: bytes) -> None:
    """Write a file under a name of its own and rename it: nobody sees half of it. Raises StoreError."""
    draft = dest.with_name(f".{dest.name}.{os.getpid()}.{time.monotonic_ns()}")
    with _told(dest):
        dest.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_bytes(data)
            os.rename(draft, dest)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data` to an open file. Raises StoreError, which names the file."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError as error:
        raise store_error(error, Path(os.readlink(f"/proc/self/fd/{fd}"))) from error


def store_error(error: OSError, path: Path) -> StoreError:
    """The user's words for a file that could not be written, with the space that is left."""
    free = "unknown"
    for folder in path.parents:
        with suppress(OSError):
            state = os.statvfs(folder)
            free = f"{state.f_bavail * state.f_frsize / 1e6:.1f} MB"
            break
    return StoreError(
        "the package cache cannot be written",
        where=str(path),
        why=f"{error.strerror or error} ({free} free there)",
        hint="free some space (`tmplbuild cache prune`), or set another cache directory",
    )


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise store_error(error, path) from error


def _open_locked(part: Path, dest: Path) -> int | None:
    part.parent.mkdir(parents=True, exist_ok=True)
    while not dest.exists():
        fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(fd), os.stat(part)):
                if not dest.exists():
                    return fd
                part.unlink()  # it came between our look and our open, which made this one: empty
        except FileNotFoundError:
            pass  # who had the lock has renamed the file: look again
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
    return None


def _let_go(fd: int) -> None:
    """Give a lock back. (A process that another thread has forked meanwhile has the descriptor, too.)"""
    fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


def remove_unlocked(path: Path, used: float = math.inf) -> bool:
    """Remove a file unless somebody writes it, or has used it since `used` (its time when it was chosen)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        state = os.fstat(fd)
        if not os.path.samestat(state, os.stat(path)):
            return False  # it was given its name since, and another download has begun
        if state.st_mtime > used:
            return False
        os.unlink(path)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[:150]
