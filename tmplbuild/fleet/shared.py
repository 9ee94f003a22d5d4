"""The store that a fleet shares: a directory, sftp://, s3:// or whatever else fsspec reaches.

    blobs/aa/SHA256            packages, layers, packed templates, logs: named by what they hold
    layers/KEY.json            the result of a step: its note, and the blob with its files
    artifacts/KEY/SHA256.json  what pack made of a key; two of them are a fault that somebody must see

A name is there whole or not at all: files are uploaded under a name of their own and renamed; an object of
S3 appears when its upload is complete. What is read is verified, and goes on where it broke off. A store
that does not answer is asked again, ever more seldom, for some minutes; after that each asks but once, until
it answers.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import queue
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tmplbuild.archives.cache import PackageCache, write_all
from tmplbuild.errors import StoreError, TmplbuildError, UsageError, VerifyError
from tmplbuild.fleet import not_installed

try:
    import fsspec
except ImportError as missing:
    raise not_installed(missing) from missing

T = TypeVar("T")

PATIENCE_S = 300.0
"""How long a store that does not answer is asked again, seconds."""

_PIECE = 1 << 20
_ONE_AT_A_TIME = ("sftp://", "ssh://")  # paramiko gives an answer to whichever thread is listening
_CONNECTIONS = 4
_FILES = {"file", "local", "sftp", "ssh"}  # where a file that is being written can be seen
_FINAL = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


class SharedStore:
    """The store at an address.

    Parameters:
        address: a directory, or an address of fsspec (sftp://user@host/dir, s3://bucket/dir). Options of
            the protocol come from fsspec's own configuration and environment, as do credentials.
        patience_s: see `PATIENCE_S`.
        tell: called with a line when the store does not answer, and when it does again.
        over: when another thread sets it nobody waits any more.

    Raises UsageError for an address of a kind that cannot be, HostError where what it needs is missing.
    """

    def __init__(
        self,
        address: str,
        *,
        patience_s: float = PATIENCE_S,
        tell: Callable[[str], None] = lambda text: None,
        over: threading.Event | None = None,
    ) -> None:
        self.address = address
        self._patience_s = patience_s
        self._tell = tell
        self._over = over or threading.Event()
        self._silent = threading.Event()  # it does not answer
        self._given_up = False
        _own_sftp(address)
        self._mine = threading.local()  # the connection that a thread has while it asks
        self._common: Any = None  # that of all, or else
        self._idle: queue.LifoQueue[Any] | None = None
        if address.startswith(_ONE_AT_A_TIME):
            self._idle = queue.LifoQueue()
            for _ in range(_CONNECTIONS):
                self._idle.put(None)
        self._root, self._renames = "", False
        self._patient("reach", self._connect)

    def _connect(self) -> None:
        try:
            self._mine.files, root = fsspec.core.url_to_fs(self.address, skip_instance_cache=True)
        except ImportError as error:
            raise not_installed(error) from error
        except ValueError as error:
            raise UsageError("this is no address of a store", where=self.address, why=str(error)) from error
        self._root = str(root).rstrip("/")
        protocol = self._files.protocol
        self._renames = bool(_FILES & ({protocol} if isinstance(protocol, str) else set(protocol)))

    # -- small things ----------------------------------------------------------------------------

    def read_json(self, name: str) -> dict[str, Any] | None:
        """What was written under a name; None if nothing was. Raises StoreError."""

        def read() -> bytes | None:
            try:
                return bytes(self._files.cat_file(self._path(name)))
            except FileNotFoundError:
                return None

        data = self._patient("read", read)
        if data is None:
            return None
        try:
            found = json.loads(data)
        except ValueError as error:
            raise StoreError("the store holds what is no JSON", where=f"{self.address}/{name}") from error
        return found if isinstance(found, dict) else None

    def write_json(self, name: str, value: dict[str, Any]) -> None:
        """Write a small object in place of what has the name. Raises StoreError."""
        data = json.dumps(value, sort_keys=True).encode()
        self._patient("write", lambda: self._place(name, lambda path: self._files.pipe_file(path, data)))

    def add_json(self, name: str, value: dict[str, Any]) -> None:
        """Write a small object unless something has the name: who comes late changes nothing. (In S3 two who
        write within the same milliseconds may both do it.) Raises StoreError."""
        data = json.dumps(value, sort_keys=True).encode()

        def add() -> None:
            if self._size(name) is None:
                self._place(name, lambda path: self._files.pipe_file(path, data), first=True)

        self._patient("write", add)

    def names(self, folder: str, *, unfinished: bool = False) -> list[str]:
        """The names in a folder; none if it is not there. Raises StoreError.

        Parameters:
            unfinished: those of uploads that are under way, or were broken off, in place of the others.
        """

        def look() -> list[str]:
            self._files.invalidate_cache()
            try:
                rows = self._files.ls(self._path(folder), detail=False)
            except FileNotFoundError:
                return []
            found = (str(row).rstrip("/").rpartition("/")[2] for row in rows)
            return sorted(name for name in found if name and name.startswith(".") == unfinished)

        return self._patient("list", look)

    # -- blobs -----------------------------------------------------------------------------------

    def put(self, path: Path, sha256: str = "") -> str:
        """Upload a file, unless what it holds is there. Returns its sha256. Raises StoreError.

        Parameters:
            sha256: the file's, where that is known. Who gets it verifies it.
        """
        if not sha256:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        name, size = _blob(sha256), path.stat().st_size

        def upload() -> None:
            if self._size(name) != size:  # a shorter one was cut off by a crash of the store's machine
                self._place(name, lambda to: self._files.put_file(str(path), to))

        self._patient("write", upload)
        return sha256

    def put_bytes(self, data: bytes) -> str:
        """Upload a few bytes. Returns their sha256. Raises StoreError."""
        sha256 = hashlib.sha256(data).hexdigest()
        name = _blob(sha256)

        def upload() -> None:
            if self._size(name) != len(data):
                self._place(name, lambda to: self._files.pipe_file(to, data))

        self._patient("write", upload)
        return sha256

    def has(self, sha256: str) -> bool:
        """Whether a blob is there. Raises StoreError."""
        return self._patient("read", lambda: self._size(_blob(sha256))) is not None

    def get_bytes(self, sha256: str) -> bytes:
        """A small blob, verified. Raises StoreError, VerifyError."""
        data = self._patient("read", lambda: bytes(self._files.cat_file(self._path(_blob(sha256)))))
        if hashlib.sha256(data).hexdigest() != sha256:
            raise self._damaged(sha256)
        return data

    def get(self, sha256: str, dest: Path, cache: PackageCache) -> Path:
        """A blob as the file `dest`, which appears when it is whole and verified; nothing is done if it is
        there. What was fetched before a break is kept in `cache`. Raises StoreError, VerifyError."""
        with cache.claim(dest) as fd:
            if fd is None:
                return dest
            for _ in range(2):  # what was kept of an earlier attempt may be what is wrong
                total = _begun(fd)
                self._patient("read", partial(self._go_on, sha256, fd, total))
                if total.hexdigest() == sha256:
                    cache.keep(dest)
                    return dest
                os.ftruncate(fd, 0)
        raise self._damaged(sha256)

    def _go_on(self, sha256: str, fd: int, total: hashlib._Hash) -> None:
        """Append what is missing of a blob to a file, and to the hash of what the file holds."""
        with self._files.open(self._path(_blob(sha256)), "rb") as source:
            source.seek(os.lseek(fd, 0, os.SEEK_END))
            while data := source.read(_PIECE):
                write_all(fd, data)  # an error of it is of this machine's disk, not of the store
                total.update(data)

    # -- retention -------------------------------------------------------------------------------

    def remove(self, name: str) -> None:
        """Remove a name; nothing is done if it is not there. Raises StoreError."""

        def away() -> None:
            with suppress(FileNotFoundError):
                self._files.rm_file(self._path(name))

        self._patient("write", away)

    def blobs(self) -> Iterator[tuple[str, float]]:
        """All blobs by digest, each with when it was written, seconds since 1970. Raises StoreError."""
        for folder in self.names("blobs"):
            for name in self.names(f"blobs/{folder}"):
                yield name, self._patient("read", partial(self._modified, f"blobs/{folder}/{name}"))

    def unfinished(self) -> Iterator[tuple[str, float]]:
        """All uploads that are under way or were broken off, each with when it began to be written, seconds
        since 1970. Raises StoreError."""
        below = [f"{kind}/{name}" for kind in ("blobs", "artifacts") for name in self.names(kind)]
        for folder in ["layers", "packed", *below]:
            for name in self.names(folder, unfinished=True):
                with suppress(StoreError):  # it was finished just now
                    yield f"{folder}/{name}", self.written(f"{folder}/{name}")

    def written(self, name: str) -> float:
        """When a name was written, seconds since 1970. Raises StoreError."""
        return self._patient("read", partial(self._modified, name))

    def _modified(self, name: str) -> float:
        return float(self._files.modified(self._path(name)).timestamp())

    # -- how it is asked -------------------------------------------------------------------------

    @property
    def _files(self) -> Any:
        return self._mine.files

    @contextmanager
    def _connection(self) -> Iterator[None]:
        """Have a connection for this thread: where two cannot speak by one, the next that is idle."""
        self._mine.files = self._idle.get() if self._idle else self._common
        try:
            yield
        finally:
            if self._idle:
                self._idle.put(self._mine.files)
            else:
                self._common = self._mine.files

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _size(self, name: str) -> int | None:
        self._files.invalidate_cache()
        try:
            return int(self._files.info(self._path(name))["size"])
        except FileNotFoundError:
            return None

    def _place(self, name: str, write: Callable[[str], object], *, first: bool = False) -> None:
        """Have a name written, whole; `first`: unless it is there."""
        target = self._path(name)
        folder, _, last = target.rpartition("/")
        if not self._renames:
            write(target)
            return
        self._files.makedirs(folder, exist_ok=True)
        part = f"{folder}/.{last}.{uuid.uuid4().hex[:12]}"
        try:
            write(part)
            if not first:
                self._files.mv(part, target)
                return
            with suppress(FileExistsError):
                self._files.link(part, target)
            with suppress(FileNotFoundError):
                self._files.rm_file(part)
        except BaseException as error:
            if (
                isinstance(error, Exception) or self._idle is None
            ):  # else what was interrupted answers no more
                with suppress(Exception):
                    self._files.rm_file(part)
            raise

    def _patient(self, what: str, act: Callable[[], T]) -> T:
        """Do something, again and again while the store does not answer."""
        with self._connection():
            return self._persevere(what, act)

    def _persevere(self, what: str, act: Callable[[], T]) -> T:
        broken = self._given_up
        deadline, wait = time.monotonic() + (0.0 if broken else self._patience_s), 0.5
        while True:
            try:
                if (broken or self._files is None) and act != self._connect:
                    self._connect()  # a session does not come back by itself
                found = act()
                self._answers()
                return found
            except TmplbuildError:
                raise
            except Exception as error:  # each protocol has errors of its own
                final = isinstance(error, FileNotFoundError) or getattr(error, "errno", 0) in _FINAL
                late = not final and time.monotonic() + wait > deadline
                self._given_up = self._given_up or late
                if late or final or self._over.is_set():
                    raise StoreError(
                        f"could not {what} the fleet's store",
                        where=self.address,
                        why=f"{type(error).__name__}: {error}",
                        hint="see that this machine reaches it: tmplbuild status --fleet",
                    ) from error
                self._is_silent(error)
            broken = True
            self._over.wait(wait * random.uniform(0.5, 1.0))
            wait = min(2 * wait, 15.0)

    def _is_silent(self, error: Exception) -> None:
        if not self._silent.is_set():
            self._silent.set()
            why = f"{type(error).__name__}: {error}"
            self._tell(f"{self.address} does not answer ({why}): asked again for {self._patience_s:g} s")

    def _answers(self) -> None:
        self._given_up = False
        if self._silent.is_set():
            self._silent.clear()
            self._tell(f"{self.address} answers again")

    def _damaged(self, sha256: str) -> VerifyError:
        return VerifyError(
            "the fleet's store holds bytes that are not what their name says",
            where=f"{self.address}/{_blob(sha256)}",
            hint="remove that file; it is made or fetched again",
        )


def load(address: str) -> None:
    """Import what a store's protocol needs, ahead of its use; what is missing or wrong is told by the use."""
    with suppress(ImportError, ValueError, TmplbuildError):
        _own_sftp(address)
        fsspec.get_filesystem_class(fsspec.core.split_protocol(address)[0] or "file")


def _own_sftp(address: str) -> None:
    if address.startswith(_ONE_AT_A_TIME):
        from tmplbuild.fleet import sftp  # noqa: F401  # takes the place of fsspec's own, which trusts anyone


def _begun(fd: int) -> hashlib._Hash:
    """The hash of what a file holds so far."""
    with open(fd, "rb", closefd=False) as file:
        file.seek(0)
        return hashlib.file_digest(file, "sha256")


def _blob(sha256: str) -> str:
    return f"blobs/{sha256[:2]}/{sha256}"
