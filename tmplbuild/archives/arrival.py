"""A file that is arriving: its part on disk, its hash so far, and what of it is shown."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tmplbuild.archives import digest
from tmplbuild.archives.cache import store_error
from tmplbuild.errors import ResolveError
from tmplbuild.events import Bytes, Emit

_CHUNK = 1 << 20
_SHOWN_EVERY_S = 0.1
_LONGEST = 4 << 30  # bytes of a file whose size nobody declares


class Wrong(Exception):
    """A mirror gave other bytes than were declared."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to download: its hash is known beforehand, and its size in bytes (0: not declared).

    `paths` below the archive's address are tried in order where a mirror answers 404 (by-hash
    first, then the plain name). `sha256` may be another digest (tmplbuild.archives.digest). `dest` is
    where the cache keeps it. `check` is handed the open file, whose hash is right, before it is kept;
    it raises VerifyError for what must not be used all the same.
    """

    role: str
    paths: tuple[str, ...]
    size: int
    sha256: str
    dest: Path
    check: Callable[[int], None] | None = field(default=None, compare=False)


class MoreWanted(ResolveError):
    """A closure cannot be worked out from what was read of the archives: the files `wanted` may help."""

    def __init__(self, what: str, wanted: Sequence[Wanted], *, why: str) -> None:
        super().__init__(what, why=why, hint="run once without --offline")
        self.wanted = tuple(wanted)


class Progress:
    """Bytes of a batch, told as events: not more often than an eye can follow. Any thread."""

    def __init__(self, emit: Emit, label: str, total: int) -> None:
        self._emit = emit
        self._label = label
        self._total = total
        self._done = 0
        self._shown_at = 0.0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """`count` more bytes came (fewer, when a piece is thrown away)."""
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now - self._shown_at < _SHOWN_EVERY_S:
                return
            self._shown_at = now
            done = self._done
        self._emit(Bytes(self._label, done, self._total))

    def end(self) -> None:
        """The batch has ended, well or not."""
        self._emit(Bytes(self._label, self._done, self._total, ended=True))


class Arrival:
    """The part file of one download, open (and locked) as `fd`.

    A validator (ETag or Last-Modified with the URL it is from) lies beside the part file, so that
    a later run can ask for the rest of the same version (RFC 9110, 13.1.5). Where a server gives no
    validator the rest is asked for all the same: the hash tells whether the pieces fit.
    """

    def __init__(self, fd: int, part: Path, wanted: Wanted, progress: Progress) -> None:
        self.wanted = wanted
        self.have = 0
        self._fd = fd
        self._part = part
        self._note = part.with_suffix(".from")
        self._progress = progress
        self._hash = digest.hasher(wanted.sha256)

    def resume(self) -> None:
        """Take in what the part file holds from earlier attempts."""
        size = os.fstat(self._fd).st_size
        if size == self.have:
            return
        if size > self.wanted.size:
            self.restart()
            return
        self._progress.add(-self.have)
        self._hash, self.have = digest.hasher(self.wanted.sha256), 0
        while chunk := os.pread(self._fd, _CHUNK, self.have):
            self._take(chunk)

    def restart(self) -> None:
        """Throw away what came."""
        self._progress.add(-self.have)
        self._hash, self.have = digest.hasher(self.wanted.sha256), 0
        os.ftruncate(self._fd, 0)
        self._note.unlink(missing_ok=True)

    def range_headers(self, url: str) -> dict[str, str]:
        """The request headers for the rest of the file, if there is a beginning."""
        if not self.have:
            return {}
        headers = {"Range": f"bytes={self.have}-"}
        try:
            source, validator = self._note.read_text("utf-8").split("\n")[:2]
        except (OSError, ValueError):
            return headers
        # another mirror's validator means nothing to this one
        if source == url and validator:
            headers["If-Range"] = validator
        return headers

    def note(self, url: str, etag: str, modified: str) -> None:
        """Remember which version the bytes are of. A weak ETag cannot vouch for a range."""
        validator = etag if etag and not etag.startswith("W/") else modified
        if validator:
            try:
                self._note.write_text(f"{url}\n{validator}\n", "utf-8")
            except OSError as error:
                raise store_error(error, self._note) from error

    def add(self, chunk: bytes, url: str) -> None:
        """The next bytes. Raises Wrong where more come than declared, StoreError for a full disk."""
        most = self.wanted.size or _LONGEST
        if self.have + len(chunk) > most:
            raise Wrong(f"{url} is longer than the {most} bytes declared")
        view, offset = memoryview(chunk), self.have
        try:
            while view:
                written = os.pwrite(self._fd, view, offset)
                view, offset = view[written:], offset + written
        except OSError as error:
            raise store_error(error, self._part) from error
        self._take(chunk)

    def finished(self) -> bool:
        """Whether the bytes are all there and have the declared hash."""
        whole = not self.wanted.size or self.have == self.wanted.size
        good = whole and self._hash.hexdigest() == digest.split(self.wanted.sha256)[1]
        if good:
            self._note.unlink(missing_ok=True)
        return good

    def _take(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.have += len(chunk)
        self._progress.add(len(chunk))
