"""A build in the making: files are written below one directory, then synced, read back and measured.

What is written is hashed on its way; what the disk then gives back must have the same hash.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tmplbuild.core.process import run
from tmplbuild.errors import StoreError
from tmplbuild.events import Emit
from tmplbuild.pubconf import PublishSettings
from tmplbuild.publish.model import File
from tmplbuild.publish.source import Source

_CHUNK = 1 << 20
_LONG = ("tar.gz", "tar.zst")  # kinds whose sha512 is wanted


@dataclass(frozen=True, slots=True)
class Layer:
    """A .tar.gz in the draft that is no file of the build by itself: its size and digest, and its tar's."""

    path: Path
    size: int
    sha256: str
    tar_sha256: str


@dataclass(slots=True)
class Draft:
    """A build's directory while it is filled.

    `place` is on the mirror's own file system, `folder` what it will be called below the mirror's
    root, `build` the build's name. `jobs`: threads that may compress. `layer` is the OCI archive's, where
    it is not the template's own .tar.gz; `tar_sha256` is that of the template's tar, once it was read;
    `pieces` what was compressed last, by the digest of what it was.
    """

    source: Source
    build: str
    place: Path
    folder: str
    settings: PublishSettings
    jobs: int
    emit: Emit
    kinds: dict[str, str] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)
    layer: Layer | None = None
    tar_sha256: str = ""
    pieces: dict[bytes, Future[bytes]] = field(default_factory=dict)

    def dated(self, suffix: str) -> str:
        """A file name that no other build has: TEMPLATE_BUILD.SUFFIX."""
        return f"{self.source.template}_{self.build}.{suffix}"

    @contextlib.contextmanager
    def create(self, name: str, kind: str) -> Iterator[HashedFile]:
        """Write a new file. Raises StoreError where there is no room."""
        with told(self.place / name), (self.place / name).open("xb", buffering=0) as raw:
            file = HashedFile(raw)
            yield file
            os.fchmod(raw.fileno(), 0o644)
            os.fsync(raw.fileno())
        self.kinds[name] = kind
        self.written[name] = file.sha256

    def put(self, name: str, kind: str, data: bytes) -> None:
        """Write a small file."""
        with self.create(name, kind) as file:
            file.write(data)

    def adopt(self, name: str, kind: str) -> None:
        """Take a file that a program or a link put there."""
        path = self.place / name
        with told(path), path.open("rb") as file:
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        self.kinds[name] = kind

    def sha256(self, name: str) -> str:
        """The digest of a file that is whole."""
        if name not in self.written:
            self.written[name] = digest(self.place / name)
        return self.written[name]

    def size(self, name: str) -> int:
        """Bytes of a file that is whole."""
        return (self.place / name).stat().st_size

    def seal(self) -> tuple[File, ...]:
        """Read everything back from the disk. Raises StoreError for a file that is not what was written."""
        files = []
        for name, kind in sorted(self.kinds.items()):
            path = self.place / name
            found, long = digests(path)
            if self.written.get(name, found) != found:
                raise StoreError(
                    "a file reads back otherwise than it was written",
                    where=str(path),
                    why="the disk or the memory is faulty",
                    hint="look into the kernel's log, and check the disk",
                )
            sha512 = long if kind in _LONG else ""
            files.append(File(f"{self.folder}/{name}", kind, path.stat().st_size, found, sha512))
        sync_folder(self.place)
        return tuple(files)


class HashedFile:
    """A file that knows the digest of what was written; `write` writes all."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        """The digest so far."""
        return self._hash.hexdigest()

    def write(self, data: bytes | memoryview) -> int:
        """Write all of `data`."""
        view = memoryview(data)
        self._hash.update(view)
        total = len(view)
        while view:
            view = view[self._raw.write(view) :]
        self.size += total
        return total

    def flush(self) -> None:
        """Nothing waits: writing is not buffered."""


def digest(path: Path) -> str:
    """The sha256 of a file."""
    with told(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(path: Path) -> tuple[str, str]:
    """The sha256 and sha512 of what the disk has, not of what the kernel remembers of it."""
    short, long = hashlib.sha256(), hashlib.sha512()
    with told(path), path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while data := file.read(_CHUNK):
            short.update(data)
            long.update(data)
    return short.hexdigest(), long.hexdigest()


def sync_folder(place: Path) -> None:
    """fsync(2) a directory."""
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn an OSError about the mirror's disk into a StoreError with the room that is left."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        with contextlib.suppress(OSError):
            state = os.statvfs(path.parent)
            why += f"; {state.f_bavail * state.f_frsize / 1e6:.0f} MB are free there"
        raise StoreError(
            "the mirror cannot be written",
            where=str(error.filename or path),
            why=why,
            hint="make room (tmplbuild mirror prune), or publish somewhere else with --to",
        ) from error


def feed(draft: Draft, argv: list[str], fd: int) -> None:
    """Run a program that reads the tar stream from `fd`, to its end. Closes `fd`. Raises StageError."""
    with os.fdopen(fd, "rb") as stream:
        run(
            argv,
            what=f"make {argv[-1]}",
            stdin=stream,
            env={"SOURCE_DATE_EPOCH": str(draft.source.manifest.epoch)},
        )
