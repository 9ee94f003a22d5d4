"""A mirror that is read: by its address, or as a directory. Nothing that comes is believed unchecked."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tmplbuild.archives import openpgp
from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.cache import PackageCache, write_whole
from tmplbuild.archives.fetch import Answer, Fetcher
from tmplbuild.archives.trouble import MissingError
from tmplbuild.errors import UsageError, VerifyError
from tmplbuild.events import Emit, silent
from tmplbuild.publish.indexes import KEY

_ROLE = "mirror"
_SMALL = 64 << 20
_LARGE = 4 << 30
_SWITCHES = 3
"""How often a mirror may be switched between two files that belong together."""


def address_of(place: str) -> str:
    """The address of a mirror given by address or directory. Raises UsageError."""
    if place.startswith(("http://", "https://", "file://")):
        return place.rstrip("/")
    path = Path(place).absolute()
    if path.is_dir():
        return f"file://{quote(str(path))}"
    raise UsageError(
        f'"{place}" is no mirror', why="it is neither an address nor a directory", hint="https://..., or DIR"
    )


class Remote:
    """Reads files of one mirror.

    Parameters:
        place: an address or a directory.
        incoming: a directory for files on their way; parts in it are resumed.
        keyring: the certificate that signs, where it is not the mirror's own.
    """

    def __init__(
        self, place: str, incoming: Path, *, keyring: bytes | None = None, emit: Emit = silent, jobs: int = 4
    ) -> None:
        self.address = address_of(place)
        self.keyring = keyring
        self._fetcher = Fetcher({_ROLE: (self.address,)}, emit=emit, jobs=jobs)
        self._cache = PackageCache(incoming)
        self._small: dict[str, bytes | None] = {}
        self._signed: dict[str, bytes] = {}

    def small(self, path: str) -> bytes | None:
        """An index, kept for this run; None where there is none. Raises FetchError."""
        if path not in self._small:
            try:
                self._small[path] = self._fetcher.get(_ROLE, quote(path), _body, limit=_SMALL)
            except MissingError:
                self._small[path] = None
        return self._small[path]

    def moved(self, *paths: str) -> bool:
        """Read indexes anew; whether one of them is another by now. Raises FetchError."""
        before = [self._small.pop(path, None) for path in paths]
        return [self.small(path) for path in paths] != before

    def json(self, path: str) -> Any:
        """An index as JSON; None where there is none. Raises VerifyError, FetchError."""
        raw = self.small(path)
        if raw is None:
            return None
        try:
            return json.loads(raw)
        except ValueError as error:
            raise VerifyError(
                "an index of the mirror is damaged", where=f"{self.address}/{path}", why=str(error)
            ) from error

    def file(self, path: str, size: int, sha256: str, label: str = "files") -> Path:
        """A file of known size and digest, verified. Raises VerifyError, FetchError, StoreError."""
        dest = self._cache.root / "files" / sha256
        if (data := self._signed.pop(sha256, None)) is not None:
            write_whole(dest, data)
        wanted = Wanted(_ROLE, (quote(path),), size, sha256, dest)
        self._fetcher.download([wanted], self._cache, label)
        return dest

    def keep_signed(self, path: str, signature: str, fingerprint: str) -> tuple[int, str]:
        """Fetch a file that nothing but a signature vouches for; its size and sha256, by which `file` then
        has it at once. Raises VerifyError, FetchError."""
        data = self._fetcher.get(_ROLE, quote(path), _body, limit=_LARGE)
        self.check(path, signature, fingerprint, data)
        digest = hashlib.sha256(data).hexdigest()
        self._signed[digest] = data
        return len(data), digest

    def size(self, path: str) -> int:
        """A file's size as the server says it. Raises FetchError."""
        return self._fetcher.length(_ROLE, quote(path))

    def piece(self, path: str, start: int, size: int) -> bytes | None:
        """Some bytes of a file, unverified; None where the server sends whole files only."""
        return self._fetcher.piece(_ROLE, quote(path), start, size)

    def pieces(self, path: str, ranges: Sequence[tuple[int, int]]) -> list[bytes | None]:
        """As `piece`, several (start, size) at once."""
        return self._fetcher.parallel([partial(self.piece, path, *one) for one in ranges])

    def where(self, path: str) -> str:
        """The whole address of a path, for messages."""
        return f"{self.address}/{path}"

    # -- signatures ------------------------------------------------------------------------------

    @contextmanager
    def keys(self, fingerprint: str) -> Iterator[Path]:
        """A directory with the certificate that must be the one with this fingerprint: the keyring's, or
        what the mirror says it is. Raises VerifyError where there is none.
        """
        certificate = self.small(KEY) if self.keyring is None else self.keyring
        if certificate is None:
            raise VerifyError(
                "the mirror has no certificate, so nothing of it can be verified",
                where=self.where(KEY),
                hint="give the certificate with --keyring FILE, or publish the mirror with a key",
            )
        with tempfile.TemporaryDirectory(prefix="tmplbuild-keys-") as folder:
            (Path(folder) / f"{fingerprint}.asc").write_bytes(certificate)
            yield Path(folder)

    def check(self, path: str, signature: str, fingerprint: str, data: bytes | None = None) -> None:
        """Verify a detached signature by the pinned key. Raises VerifyError, FetchError.

        A mirror may be switched after the one was read and before the other: then they are read again.
        """
        asked = [signature] if data is not None else [path, signature]
        for switches in range(_SWITCHES + 1):
            try:
                self._check(path, signature, fingerprint, self.small(path) if data is None else data)
                return
            except VerifyError:
                if switches == _SWITCHES or not self.moved(*asked):
                    raise

    def _check(self, path: str, signature: str, fingerprint: str, data: bytes | None) -> None:
        detached = self.small(signature)
        if data is None or detached is None:
            missing = path if data is None else signature
            raise VerifyError("a signed file of the mirror is not there", where=self.where(missing))
        with self.keys(fingerprint) as folder:
            openpgp.verify_detached(
                data, detached, [fingerprint], folder, now=time.time(), where=self.where(signature)
            )


def _body(answer: Answer) -> bytes:
    return answer.body or b""
