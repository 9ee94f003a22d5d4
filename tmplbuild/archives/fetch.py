"""Files from mirrors: resumed, retried, checked while they come.

Network trouble is a FetchError; bytes that differ from what was declared, on every mirror that gave
any, are a VerifyError. A mirror that fails is tried last for the rest of the run.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

from tmplbuild.archives.arrival import Arrival, Progress, Wanted, Wrong
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.logins import Login
from tmplbuild.archives.model import Package
from tmplbuild.archives.parallel import run_all
from tmplbuild.archives.transport import CHUNK, Again, Denied, Errand, Missing, Transport, starts_at
from tmplbuild.archives.trouble import failure
from tmplbuild.errors import FetchError, VerifyError
from tmplbuild.events import Emit, silent

T = TypeVar("T")

Beside: TypeAlias = Callable[[str, bytes], bytes]
"""Gives the small file that lies beside a package, by what its name has more (".sig"): the one kept with the
package in the cache; else the bytes that are given, if any; else the mirror's. It is kept once the package
has passed."""

Voucher: TypeAlias = Callable[[Package, int, Beside], None]
"""Looks at a package's file, open for reading. Raises VerifyError."""

_MAX_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A small file that was asked for: `body` is None when the server says it has not changed."""

    url: str
    body: bytes | None
    etag: str = ""
    modified: str = ""


@dataclass(slots=True)
class _Mirrors:
    """The addresses of one archive, and which of them failed in this run."""

    addresses: tuple[str, ...]
    bad: set[str] = field(default_factory=set)

    def ordered(self) -> list[str]:
        return sorted(self.addresses, key=lambda address: address in self.bad)


class Fetcher:
    """Downloads from the mirrors of several archives.

    Parameters:
        mirrors: addresses by role, in the order to try (tmplbuild.archives.mirrors).
        emit: gets events.Bytes.
        jobs: downloads at once.
        retries: further attempts at one mirror after a failure that may pass.
        connect_timeout_s, read_timeout_s: seconds to wait for a connection, and for the next bytes.
        offline: make no request at all: what is not in the cache is a FetchError.
        vouchers: by role, what a package of that archive has to pass beside its hash before it is used:
            it is handed the package and its open file, and raises VerifyError.
        logins: by a mirror's address, what gives its login (tmplbuild.archives.logins).
        sleep, clock: waits between attempts, and the time that rates are measured by, in seconds
            (tests hand in their own).
    """

    def __init__(
        self,
        mirrors: Mapping[str, Sequence[str]],
        *,
        emit: Emit = silent,
        jobs: int = 8,
        retries: int = 4,
        connect_timeout_s: float = 10.0,
        read_timeout_s: float = 30.0,
        offline: bool = False,
        vouchers: Mapping[str, Voucher] | None = None,
        logins: Mapping[str, Callable[[], Login]] | None = None,
        sleep: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mirrors = {role: _Mirrors(tuple(addresses)) for role, addresses in mirrors.items()}
        self.emit = emit
        self.vouchers = vouchers or {}
        self.jobs = jobs
        self.retries = retries
        self._http = Transport(
            connect_timeout_s=connect_timeout_s,
            read_timeout_s=read_timeout_s,
            offline=offline,
            clock=clock,
            logins=logins,
        )
        self._sleep = self._http.wait if sleep is None else sleep
        self._vouched: set[tuple[str, Path]] = set()

    @property
    def requests(self) -> int:
        """HTTP requests made so far."""
        return self._http.requests

    # -- small files -----------------------------------------------------------------------------

    def get(
        self,
        role: str,
        path: str,
        check: Callable[[Answer], T],
        *,
        limit: int = 32 << 20,
        known: Mapping[str, str] | None = None,
    ) -> T:
        """Get a file of unknown size and hash, and hand it to `check`, whose result is returned.

        Parameters:
            limit: bytes beyond which the file is refused.
            known: `url`, `etag` and `modified` of the copy at hand: where the server says that it
                is still the same, `check` gets an Answer without a body.

        A mirror whose file `check` refuses (VerifyError) or that fails is followed by the next one.
        Raises VerifyError, FetchError.
        """

        def one(url: str) -> T:
            return check(self._small(url, limit, known or {}))

        return self._everywhere(role, (path,), one)

    def _small(self, url: str, limit: int, known: Mapping[str, str]) -> Answer:
        headers = {}
        if known.get("url") == url:
            if known.get("etag"):
                headers["If-None-Match"] = known["etag"]
            elif known.get("modified"):
                headers["If-Modified-Since"] = known["modified"]
        if url.startswith("file://"):
            return Answer(url, _read_local(url, limit))
        with self._http.request(url, headers) as response:
            if response.status_code == 304 and headers:
                return Answer(url, None, known.get("etag", ""), known.get("modified", ""))
            body = bytearray()
            for chunk in self._http.chunks(response, url):
                body += chunk
                if len(body) > limit:
                    raise Wrong(f"{url} is larger than {limit} bytes")
            seen = response.headers
            length = seen.get("Content-Length", "")
            if length.isdigit() and int(length) != len(body):
                raise Again(f"{url}: the connection ended after {len(body)} bytes")
            return Answer(url, bytes(body), seen.get("ETag", ""), seen.get("Last-Modified", ""))

    def size(self, role: str, path: str, *, limit: int) -> int:
        """The size in bytes of a file whose hash is known, as the first mirror that has it tells.

        Raises FetchError when none tells, or it is larger than `limit`.
        """

        def one(url: str) -> int:
            if url.startswith("file://"):
                return _local_file(url).stat().st_size
            with self._http.request(url, {}) as response:
                length = response.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > limit:
                why = f"it is said to have {length} bytes" if length else "the server does not tell its size"
                raise FetchError("a file cannot be downloaded", where=url, why=why)
            return int(length)

        return self._everywhere(role, (path,), one)

    # -- pieces of files -------------------------------------------------------------------------

    def piece(self, role: str, path: str, start: int, size: int) -> bytes | None:
        """`size` bytes of a file from `start` on, which the caller checks. Mirrors are tried in order.

        None where the server sends whole files only. Raises FetchError, VerifyError.
        """
        return self._everywhere(role, (path,), lambda url: self._piece_of(url, start, size))

    def length(self, role: str, path: str) -> int:
        """A file's size, as the server says it. Raises FetchError."""
        return self._everywhere(role, (path,), self._length_of)

    def _length_of(self, url: str) -> int:
        if url.startswith("file://"):
            return _local_file(url).stat().st_size
        with self._http.request(url, {"Range": "bytes=0-0"}) as response:
            told = response.headers.get("Content-Range", "").rpartition("/")[2]
            told = told if response.status_code == 206 else response.headers.get("Content-Length", "")
        if not told.isdigit():
            raise Wrong(f"{url}: the server does not say how long it is")
        return int(told)

    def _piece_of(self, url: str, start: int, size: int) -> bytes | None:
        if url.startswith("file://"):
            with _local_file(url).open("rb") as file:
                file.seek(start)
                return file.read(size)
        with self._http.request(url, {"Range": f"bytes={start}-{start + size - 1}"}) as response:
            if response.status_code == 200:
                return None
            if response.status_code != 206 or not starts_at(response, start):
                raise Wrong(f"{url} has no bytes {start} to {start + size}")
            body = bytearray()
            for chunk in self._http.chunks(response, url):
                body += chunk
                if len(body) > size:
                    raise Wrong(f"{url}: more came than the range that was asked for")
            if len(body) < size:
                raise Again(f"{url}: the connection ended after {len(body)} bytes")
            return bytes(body)

    # -- files of known hash ---------------------------------------------------------------------

    def download(self, files: Sequence[Wanted], cache: PackageCache, label: str) -> None:
        """Bring files into the cache, several at once; those that are there are left alone.

        Parameters:
            label: what the progress events call the batch ("packages").

        What has to pass a check passes it before it gets its name; what is there already, once a run.
        Raises the first error; what came until then stays, for a later run.
        """
        every = list({wanted.dest: wanted for wanted in files}.values())
        missing = [wanted for wanted in every if not wanted.dest.exists()]
        there = [wanted for wanted in every if wanted.check and wanted not in missing]
        if there:
            self.parallel([partial(self._vouch, wanted) for wanted in there])
        if not missing:
            return
        progress = Progress(self.emit, label, sum(wanted.size for wanted in missing))
        try:
            self.parallel([partial(self._bring, wanted, cache, progress) for wanted in missing])
        finally:
            progress.end()

    def parallel(self, tasks: Sequence[Callable[[], T]]) -> list[T]:
        """Run tasks in `jobs` threads (tmplbuild.archives.parallel); an error stops the others, and nothing
        that is fetched meanwhile for somebody else."""
        if len(tasks) == 1:
            return [tasks[0]()]  # in this thread: whoever stops what it does, stops this
        errand = self.errand()
        return run_all([partial(errand.do, task) for task in tasks], self.jobs, errand.off, errand.cut)

    def errand(self) -> Errand:
        """For what threads of somebody else's have fetched, and may call off."""
        return Errand(self._http)

    def _bring(self, wanted: Wanted, cache: PackageCache, progress: Progress) -> None:
        with cache.claim(wanted.dest) as fd:
            if fd is None:
                progress.add(wanted.size)
                self._vouch(wanted)
                return
            arrival = Arrival(fd, cache.incoming / f"{wanted.dest.stem}.part", wanted, progress)
            self._everywhere(wanted.role, wanted.paths, lambda url: self._transfer(url, arrival))
            if wanted.check is not None:
                try:
                    wanted.check(fd)
                except VerifyError:
                    arrival.restart()
                    raise
                self._vouched.add((wanted.role, wanted.dest))
            cache.keep(wanted.dest)

    def _vouch(self, wanted: Wanted) -> None:
        """See that a file of the cache passes the check, whoever brought it there for whatever archive."""
        if wanted.check is None or (wanted.role, wanted.dest) in self._vouched:
            return
        fd = os.open(wanted.dest, os.O_RDONLY | os.O_CLOEXEC)
        try:
            wanted.check(fd)
        finally:
            os.close(fd)
        self._vouched.add((wanted.role, wanted.dest))

    def _transfer(self, url: str, arrival: Arrival) -> None:
        """One attempt at one mirror: from where the part file ends, or anew."""
        arrival.resume()
        resumed = arrival.have > 0
        if arrival.have < arrival.wanted.size or not resumed:
            if url.startswith("file://"):
                self._copy(url, arrival)
            else:
                self._receive(url, arrival)
        if not arrival.finished():
            arrival.restart()
            if resumed:  # the piece from an earlier attempt may be to blame: once more, from the start
                raise Again(f"{url}: the resumed file has another hash")
            raise Wrong(f"{url} has another hash than declared ({arrival.wanted.sha256[:16]}...)")

    def _receive(self, url: str, arrival: Arrival) -> None:
        with self._http.request(url, arrival.range_headers(url)) as response:
            if response.status_code == 416:
                arrival.restart()
                raise Again(f"{url}: the server cannot resume")
            if response.status_code != 206 or not starts_at(response, arrival.have):
                if response.status_code == 206:
                    arrival.restart()
                    raise Again(f"{url}: the server resumed at another place")
                arrival.restart()
            length = response.headers.get("Content-Length", "")
            declared = arrival.wanted.size
            if declared and length.isdigit() and int(length) != declared - arrival.have:
                raise Wrong(
                    f"{url} has {arrival.have + int(length)} bytes where {arrival.wanted.size} are declared"
                )
            arrival.note(url, response.headers.get("ETag", ""), response.headers.get("Last-Modified", ""))
            for chunk in self._http.chunks(response, url):
                arrival.add(chunk, url)
        if arrival.have < arrival.wanted.size:
            raise Again(f"{url}: the connection ended after {arrival.have} bytes")

    def _copy(self, url: str, arrival: Arrival) -> None:
        arrival.restart()
        with _local_file(url).open("rb") as file:
            while chunk := file.read(CHUNK):
                self._http.check_stop()
                arrival.add(chunk, url)
        if arrival.have < arrival.wanted.size:
            raise Wrong(f"{url} has {arrival.have} bytes where {arrival.wanted.size} are declared")

    # -- attempts, mirrors -----------------------------------------------------------------------

    def _everywhere(self, role: str, paths: Sequence[str], attempt: Callable[[str], T]) -> T:
        """Try mirror by mirror until one attempt succeeds."""
        mirrors = self._mirrors.get(role)
        if mirrors is None:
            raise FetchError(f"no mirror is known for the archive {role!r}")
        troubles: list[str] = []
        wrong: list[str] = []
        refused: VerifyError | None = None
        missing: list[str] = []
        denied = False
        for address in mirrors.ordered():
            try:
                return self._at_mirror(address, paths, attempt)
            except Missing as error:
                missing.append(str(error))
                denied = denied or isinstance(error, Denied)
                continue
            except Wrong as error:
                wrong.append(str(error))
            except VerifyError as error:
                refused = refused or error
            except Again as error:
                troubles.append(str(error))
            mirrors.bad.add(address)
        if refused is not None:
            raise refused
        raise failure(mirrors.addresses[0], paths[-1], wrong, troubles, missing, denied=denied)

    def _at_mirror(self, address: str, paths: Sequence[str], attempt: Callable[[str], T]) -> T:
        for number in range(self.retries + 1):
            try:
                return self._at_paths(address, paths, attempt)
            except Again as error:
                self._http.check_stop()
                if number == self.retries:
                    raise
                # full jitter: many clients that failed together must not come back together
                backoff = min(_MAX_WAIT_S, 0.5 * 2**number) * (0.5 + random.random() / 2)
                self._sleep(max(backoff, min(error.wait_s, _MAX_WAIT_S)))
                self._http.check_stop()
        raise AssertionError("unreachable")

    def _at_paths(self, address: str, paths: Sequence[str], attempt: Callable[[str], T]) -> T:
        failure: Missing | Wrong | None = None
        for path in paths:
            try:
                return attempt(f"{address}/{path}")
            except FileNotFoundError as error:
                failure = failure or Missing(f"{address}/{path}: {error.strerror}")
            except Missing as error:
                failure = failure or error
            except Wrong as error:
                failure = error
        assert failure is not None
        raise failure


def _local_file(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))


def _read_local(url: str, limit: int) -> bytes:
    with _local_file(url).open("rb") as file:
        body = file.read(limit + 1)
    if len(body) > limit:
        raise Wrong(f"{url} is larger than {limit} bytes")
    return body
