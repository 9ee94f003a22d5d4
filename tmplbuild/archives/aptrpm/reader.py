"""Reads the suites of a recipe's archives of ALT's kind: signature, dates, hashes, all before a byte
is believed.

A suite is one directory with a `base/release`: "p11/branch/x86_64" and "p11/branch/noarch" are two
suites of one archive. A suite may lack a component (noarch has none but classic), yet not all of them.
"""

from __future__ import annotations

import hashlib
import mmap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tmplbuild.archives import digest, openpgp
from tmplbuild.archives.aptrpm import pkglist
from tmplbuild.archives.aptrpm import release as releases
from tmplbuild.archives.aptrpm.entry import Source
from tmplbuild.archives.aptrpm.pool import PackageList
from tmplbuild.archives.aptrpm.release import Entry, Release
from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.cache import PackageCache, write_whole
from tmplbuild.archives.clock import utc
from tmplbuild.archives.deb.release import SKEW_S
from tmplbuild.archives.fetch import Answer, Fetcher
from tmplbuild.archives.model import ArchiveState, IndexFile, SuiteState
from tmplbuild.errors import FetchError, RecipeError, StoreError, VerifyError
from tmplbuild.events import Note
from tmplbuild.recipes.model import Archive

_RELEASE_LIMIT = 4 << 20
_LIST_LIMIT = 1 << 30


@dataclass(frozen=True, slots=True)
class _Suite:
    """One suite to read, and what decides whether it is believed."""

    role: str
    suite: str
    archive: Archive
    keys_dir: openpgp.KeysDir
    now: float
    allow_older: bool
    cache: PackageCache

    @property
    def memory(self) -> str:
        """The name under which the last verified release is remembered: other keys, other memory."""
        return f"suite_{self.role}_{self.suite}_{self._keys}"

    @property
    def accepted(self) -> str:
        """The name under which the newest date ever accepted is remembered."""
        return f"accepted_{self.role}_{self.suite}_{self._keys}"

    @property
    def _keys(self) -> str:
        return hashlib.sha256(" ".join(sorted(self.archive.keys)).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class _List:
    """A component's list: as it is fetched, its compression, and its uncompressed form."""

    index: IndexFile
    suffix: str
    plain: Entry

    @property
    def unpacked(self) -> Path:
        """Where the uncompressed list lies; of what the release says of it, not of what was fetched."""
        return self.index.local.with_name(f"{digest.file_name(self.plain.digest)}.plain")


@dataclass(frozen=True, slots=True)
class _Head:
    """A believed release, and the facts to remember once all its lists are verified too."""

    suite: _Suite
    release: Release
    file: IndexFile
    signers: tuple[str, ...]
    facts: dict[str, str]

    def lists(self) -> list[_List]:
        """The lists of the recipe's components, those that the suite has. Raises VerifyError."""
        return [found for component in self.suite.archive.components if (found := self._list(component))]

    def lacks(self, component: str) -> bool:
        """Whether the suite has no list of the component."""
        path = f"base/pkglist.{component}"
        return not any(path + suffix in self.release.files for suffix in pkglist.SUFFIXES)

    def labels(self) -> list[tuple[str, IndexFile]]:
        """The small release.COMPONENT files of these components."""
        found = []
        for component in self.suite.archive.components:
            path = f"base/release.{component}"
            if path in self.release.files:
                found.append((component, self._index(path)))
        return found

    def _list(self, component: str) -> _List | None:
        path = f"base/pkglist.{component}"
        plain = self.release.files.get(path)
        suffix = next((end for end in pkglist.SUFFIXES if path + end in self.release.files), None)
        if suffix is None:
            return None
        if plain is None or plain.size > _LIST_LIMIT:
            raise VerifyError(
                f"the release of {self.suite.suite} does not say how long the list of {component} is, "
                "or it is longer than a list may be",
                where=f"{self.suite.suite}/{path}",
            )
        return _List(self._index(path + suffix), suffix, plain)

    def _index(self, path: str) -> IndexFile:
        entry = self.release.files[path]
        local = self.suite.cache.index_path(entry.digest)
        return IndexFile(f"{self.suite.suite}/{path}", entry.digest, entry.size, local)


def read_archives(
    archives: Mapping[str, Archive],
    arch: str,
    *,
    fetcher: Fetcher,
    cache: PackageCache,
    keys_dir: openpgp.KeysDir,
    now: float | None = None,
    offline: bool = False,
    allow_older: bool = False,
) -> tuple[ArchiveState, ...]:
    """Read all suites of all archives, verified.

    Parameters:
        archives: by role, as the recipe has them; their suites are directories that hold `base/`.
        arch: ALT's word for the architecture (x86_64); for messages, as suites name their own.
        fetcher: knows the mirrors of every role; its `emit` gets warnings.
        keys_dir: the directory of the certificates, FINGERPRINT.asc, or several to look in, in order.
        now: seconds since the epoch (the clock's if None).
        offline: use the state that was verified last, and no network.
        allow_older: accept a release that is older than the one accepted last.

    Raises VerifyError, FetchError, StoreError, and RecipeError for a component that no suite has.
    """
    moment = time.time() if now is None else now
    suites = [
        _Suite(role, suite, archive, keys_dir, moment, allow_older, cache)
        for role, archive in archives.items()
        for suite in archive.suites
    ]
    if offline:
        heads = [_remembered(suite) for suite in suites]
    else:
        heads = fetcher.parallel([partial(_head, suite, fetcher) for suite in suites])
    for role, archive in archives.items():
        _check_components(role, archive, arch, [head for head in heads if head.suite.role == role])
    if not offline:
        fetcher.download([wanted for head in heads for wanted in _wanted(head)], cache, "indexes")
    fetcher.parallel([partial(_unpack, item) for head in heads for item in head.lists()])
    for head in heads:
        _tell(head, fetcher)
        if not offline:
            cache.remember(head.suite.memory, head.facts)
            cache.remember(head.suite.accepted, {"date": str(head.release.date)})
    return tuple(
        ArchiveState(role, tuple(_state(head) for head in heads if head.suite.role == role))
        for role in archives
    )


def open_lists(states: Sequence[ArchiveState]) -> list[PackageList]:
    """The lists of verified suites, mapped into memory, in the recipe's order."""
    opened = []
    for state in states:
        for suite in state.suites:
            release = releases.parse(
                releases.signed_text(suite.release.local.read_bytes()), where=suite.release.path
            )
            for index in suite.indexes:
                suffix = next(end for end in pkglist.SUFFIXES if index.path.endswith(end))
                name = index.path.removeprefix(f"{suite.suite}/").removesuffix(suffix)
                item = _List(index, suffix, release.files[name])
                _unpack(item)
                opened.append(
                    PackageList(_mapped(item.unpacked), Source(state.role, suite.suite), index.path)
                )
    return opened


def _head(suite: _Suite, fetcher: Fetcher) -> _Head:
    known = suite.cache.recall(suite.memory)
    if not suite.cache.index_path(known.get("sha256", "0" * 64)).exists():
        known = {}

    def release(answer: Answer) -> _Head:
        body = answer.body
        if body is None:
            body = suite.cache.index_path(known["sha256"]).read_bytes()
        return _believe(suite, body, answer)

    path = f"{suite.suite}/base/release"
    return fetcher.get(suite.role, path, release, limit=_RELEASE_LIMIT, known=known)


def _believe(suite: _Suite, body: bytes, answer: Answer) -> _Head:
    """Check all that a release's own bytes can tell. Raises VerifyError."""
    signed = releases.verify(body, suite.archive.keys, suite.keys_dir, now=suite.now, where=answer.url)
    release = releases.parse(signed.content, where=answer.url)
    _check_date(suite, release, answer.url)
    sha256 = hashlib.sha256(body).hexdigest()
    local = suite.cache.put_index(sha256, body)
    facts = {
        "url": answer.url,
        "etag": answer.etag,
        "modified": answer.modified,
        "sha256": sha256,
        "accepted_at": f"{suite.now:.0f}",
    }
    file = IndexFile(f"{suite.suite}/base/release", sha256, len(body), local)
    return _Head(suite, release, file, signed.signers, facts)


def _check_date(suite: _Suite, release: Release, url: str) -> None:
    """Refuse a release of the future, and to go back in time: an old one is signed as well as the
    new one was."""
    if release.date > suite.now + SKEW_S:
        raise VerifyError(
            f"the release of {suite.suite} is from the future",
            where=url,
            why=f"it is dated {utc(release.date)}; this machine's clock says {utc(suite.now)}",
            hint="set this machine's clock",
        )
    last = suite.cache.recall(suite.accepted).get("date", "0")
    if suite.allow_older or not last.isdigit() or release.date >= int(last):
        return
    raise VerifyError(
        f"the release of {suite.suite} is older than the one accepted before",
        where=url,
        why=f"it is dated {utc(release.date)}; the last one was of {utc(int(last))}",
        hint="the mirror lags behind or replays an old state: try again later, use another one "
        "(MIRROR=), or allow it with --allow-older",
    )


def _remembered(suite: _Suite) -> _Head:
    """The head that was verified last, verified again as of then. Raises FetchError."""
    known = suite.cache.recall(suite.memory)
    try:
        body = suite.cache.index_path(known["sha256"]).read_bytes()
        then = float(known["accepted_at"])
    except (KeyError, ValueError, OSError):
        raise FetchError(
            f"nothing is known of the suite {suite.suite} yet",
            where=f"archives.{suite.role}",
            why="offline: only what an earlier run has verified can be used",
            hint="run once without --offline",
        ) from None
    asof = _Suite(suite.role, suite.suite, suite.archive, suite.keys_dir, then, True, suite.cache)
    head = _believe(asof, body, Answer(known["url"], None))
    for item in head.lists():
        if not item.index.local.exists():
            raise FetchError(
                f"a list of {suite.suite} is not in the cache",
                where=item.index.path,
                why="offline",
                hint="run once without --offline",
            )
    return head


def _check_components(role: str, archive: Archive, arch: str, heads: Sequence[_Head]) -> None:
    have = {name for head in heads for name in head.release.components}
    missing = [name for name in archive.components if all(head.lacks(name) for head in heads)]
    empty = [head.suite.suite for head in heads if all(map(head.lacks, archive.components))]
    if missing or empty:
        raise RecipeError(
            f"the archive {role!r} has no list of {', '.join(missing or archive.components)} for {arch!r}",
            where=f"archives.{role}",
            why=f"suites: {' '.join(empty or archive.suites)}; components there: {' '.join(sorted(have))}",
            hint="correct archives.NAME.components or suites in the recipe",
        )


def _wanted(head: _Head) -> list[Wanted]:
    files = [item.index for item in head.lists()] + [index for _, index in head.labels()]
    return [Wanted(head.suite.role, (one.path,), one.size, one.sha256, one.local) for one in files]


def _tell(head: _Head, fetcher: Fetcher) -> None:
    """Warn of what weakens the archive, and check what release.COMPONENT says. Raises VerifyError."""
    if head.release.hash == "md5":
        fetcher.emit(
            Note(f"the release of {head.suite.suite} vouches for its files by MD5 alone", level="warning")
        )
    for component, index in head.labels():
        if not index.local.exists():
            continue
        label = releases.parse_component(index.local.read_bytes())
        if label.component and label.component != component:
            raise VerifyError(
                f"the archive calls the component {component} {label.component!r}", where=index.path
            )
        if label.not_automatic:
            fetcher.emit(
                Note(
                    f"{head.suite.suite} {component} is marked NotAutomatic: it is used as the recipe "
                    "names it",
                    level="warning",
                )
            )


def _unpack(item: _List) -> None:
    """Unpack a list if no earlier run did; what lies there has been verified. Raises VerifyError."""
    if item.unpacked.exists():
        return
    path = item.index.path
    plain = pkglist.unpack(item.index.local, item.suffix, size=item.plain.size, where=path)
    if digest.of(plain, item.plain.digest) != item.plain.digest:
        raise VerifyError(
            "a package list is not the one that its release vouches for",
            where=path,
            why=f"unpacked, it has another digest than {item.plain.digest[:24]}...",
            hint="the archive is broken: use another mirror (MIRROR=)",
        )
    write_whole(item.unpacked, plain)


def _mapped(path: Path) -> memoryview:
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise StoreError("the package cache cannot be read", where=str(path), why=str(error)) from error


def _state(head: _Head) -> SuiteState:
    return SuiteState(
        suite=head.suite.suite,
        release=head.file,
        date=head.release.date,
        valid_until=0,
        signed_by=head.signers,
        indexes=tuple(item.index for item in head.lists()),
    )
