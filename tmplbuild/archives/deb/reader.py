"""Reads the suites of a recipe's archives: signature, dates, hashes, all before a byte is believed."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from tmplbuild.archives import compressed, openpgp
from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.clock import utc
from tmplbuild.archives.deb import release as releases
from tmplbuild.archives.deb.index import PackagesIndex, build_table, unpack
from tmplbuild.archives.deb.release import Entry, Release
from tmplbuild.archives.fetch import Answer, Fetcher
from tmplbuild.archives.model import ArchiveState, IndexFile, SuiteState
from tmplbuild.archives.trouble import MissingError
from tmplbuild.errors import FetchError, RecipeError, VerifyError
from tmplbuild.recipes.model import Archive

_RELEASE_LIMIT = 16 << 20
_INDEX_LIMIT = 1 << 30  # bytes of an unpacked index whose size the Release does not declare


@dataclass(frozen=True, slots=True)
class _Suite:
    """One suite to read, and what decides whether it is believed."""

    role: str
    suite: str
    archive: Archive
    arch: str
    keys_dir: openpgp.KeysDir
    now: float
    allow_older: bool
    cache: PackageCache

    @property
    def memory(self) -> str:
        """The name under which the last verified Release is remembered: other keys, other memory."""
        keys = hashlib.sha256(" ".join(sorted(self.archive.keys)).encode()).hexdigest()[:12]
        return f"suite_{self.role}_{self.suite}_{keys}"

    @property
    def folder(self) -> str:
        return f"dists/{self.suite}"


@dataclass(frozen=True, slots=True)
class _Head:
    """A believed Release, and the facts to remember once all its indexes are verified too."""

    suite: _Suite
    release: Release
    file: IndexFile
    signature: IndexFile | None
    signers: tuple[str, ...]
    facts: dict[str, str]

    def indexes(self) -> list[tuple[IndexFile, str, Entry | None]]:
        """The Packages files of our architecture: as they are fetched, their compression, and the
        unpacked file's hash if the Release names it."""
        return [
            self._index(component, arch)
            for component in self.suite.archive.components
            for arch in ([self.suite.arch, "all"] if self.release.all_apart else [self.suite.arch])
        ]

    def _index(self, component: str, arch: str) -> tuple[IndexFile, str, Entry | None]:
        plain = f"{component}/binary-{arch}/Packages"
        for suffix in compressed.SUFFIXES:
            entry = self.release.files.get(plain + suffix)
            if entry is not None:
                local = self.suite.cache.index_path(entry.sha256)
                path = f"{self.suite.folder}/{plain}{suffix}"
                return IndexFile(path, entry.sha256, entry.size, local), suffix, self.release.files.get(plain)
        raise RecipeError(
            f"the suite {self.suite.suite} has no packages of component {component!r} for {arch!r}",
            where=f"archives.{self.suite.role}",
            why=f"components: {' '.join(self.release.components)}; "
            f"architectures: {' '.join(self.release.architectures)}",
            hint="correct archives.NAME.components or image.arches in the recipe",
        )


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
        archives: by role, as the recipe has them.
        arch: Debian's word for the architecture (amd64).
        fetcher: knows the mirrors of every role.
        keys_dir: the directory of the certificates, FINGERPRINT.asc, or several to look in, in order.
        now: seconds since the epoch (the clock's if None).
        offline: use the state that was verified last, and no network.
        allow_older: accept a Release that is older than the one accepted last.

    Raises VerifyError, FetchError, StoreError, and RecipeError for a component or an architecture
    that a suite does not have.
    """
    moment = time.time() if now is None else now
    suites = [
        _Suite(role, suite, archive, arch, keys_dir, moment, allow_older, cache)
        for role, archive in archives.items()
        for suite in archive.suites
    ]
    heads = [_remembered(suite) for suite in suites] if offline else _heads(suites, fetcher)
    found = {head.suite: head.indexes() for head in heads}
    if not offline:
        fetcher.download(_wanted(heads, found), cache, "indexes")
    tables = [
        partial(_table, index, suffix, plain) for rows in found.values() for index, suffix, plain in rows
    ]
    fetcher.parallel(list({task.args[0].sha256: task for task in tables}.values()))
    for head in heads:
        if not offline:
            cache.remember(head.suite.memory, head.facts)
            cache.remember(_accepted(head.release), {"date": str(head.release.date)})
    return tuple(
        ArchiveState(role, tuple(_state(head) for head in heads if head.suite.role == role))
        for role in archives
    )


def open_indexes(states: Sequence[ArchiveState]) -> list[PackagesIndex]:
    """The Packages indexes of verified suites, in the recipe's order, without reading them as a whole."""
    opened = []
    for state in states:
        for suite in state.suites:
            for index in suite.indexes:
                suffix = next(end for end in compressed.SUFFIXES if index.path.endswith(end))
                opened.append(_table(index, suffix, None, role=state.role))
    return opened


def _heads(suites: Sequence[_Suite], fetcher: Fetcher) -> list[_Head]:
    return fetcher.parallel([partial(_head, suite, fetcher) for suite in suites])


def _head(suite: _Suite, fetcher: Fetcher) -> _Head:
    known = suite.cache.recall(suite.memory)
    if not suite.cache.index_path(known.get("sha256", "0" * 64)).exists():
        known = {}

    def inrelease(answer: Answer) -> _Head:
        body = answer.body
        if body is None:
            body = suite.cache.index_path(known["sha256"]).read_bytes()
        return _believe(suite, body, None, answer)

    try:
        return fetcher.get(
            suite.role, f"{suite.folder}/InRelease", inrelease, limit=_RELEASE_LIMIT, known=known
        )
    except MissingError as missing:
        try:
            return _detached(suite, fetcher)
        except MissingError:
            raise missing from None


def _detached(suite: _Suite, fetcher: Fetcher) -> _Head:
    """A suite of the older form: Release, and its signature in Release.gpg."""
    body = fetcher.get(suite.role, f"{suite.folder}/Release", lambda answer: answer, limit=_RELEASE_LIMIT)

    def signed(answer: Answer) -> _Head:
        return _believe(suite, body.body or b"", answer.body or b"", body)

    return fetcher.get(suite.role, f"{suite.folder}/Release.gpg", signed, limit=_RELEASE_LIMIT)


def _believe(suite: _Suite, body: bytes, signature: bytes | None, answer: Answer) -> _Head:
    """Check all that a Release's own bytes can tell. Raises VerifyError."""
    keys = suite.archive.keys
    if signature is None:
        signed = openpgp.verify_clear(body, keys, suite.keys_dir, now=suite.now, where=answer.url)
    else:
        signed = openpgp.verify_detached(
            body, signature, keys, suite.keys_dir, now=suite.now, where=answer.url
        )
    release = releases.parse(signed.content, where=answer.url)
    releases.check(release, asked=suite.suite, now=suite.now, where=answer.url)
    _refuse_older(suite, release, answer.url)
    name = "InRelease" if signature is None else "Release"
    file = _stored(suite, f"{suite.folder}/{name}", body)
    gpg = None if signature is None else _stored(suite, f"{suite.folder}/Release.gpg", signature)
    facts = {
        "url": answer.url,
        "etag": answer.etag,
        "modified": answer.modified,
        "sha256": file.sha256,
        "signature": gpg.sha256 if gpg else "",
        "accepted_at": f"{suite.now:.0f}",
    }
    return _Head(suite, release, file, gpg, signed.signers, facts)


def _stored(suite: _Suite, path: str, body: bytes) -> IndexFile:
    digest = hashlib.sha256(body).hexdigest()
    return IndexFile(path, digest, len(body), suite.cache.put_index(digest, body))


def _accepted(release: Release) -> str:
    return "accepted_" + hashlib.sha256(release.identity.encode()).hexdigest()[:24]


def _refuse_older(suite: _Suite, release: Release, url: str) -> None:
    """Refuse to go back in time: an old Release is signed as well as the new one was."""
    last = suite.cache.recall(_accepted(release)).get("date", "0")
    if suite.allow_older or not last.isdigit() or release.date >= int(last):
        return
    raise VerifyError(
        f"the Release of {suite.suite} is older than the one accepted before",
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
        gpg = suite.cache.index_path(known["signature"]).read_bytes() if known["signature"] else None
        then = float(known["accepted_at"])
    except (KeyError, ValueError, OSError):
        raise FetchError(
            f"nothing is known of the suite {suite.suite} yet",
            where=f"archives.{suite.role}",
            why="offline: only what an earlier run has verified can be used",
            hint="run once without --offline",
        ) from None
    asof = _Suite(suite.role, suite.suite, suite.archive, suite.arch, suite.keys_dir, then, True, suite.cache)
    head = _believe(asof, body, gpg, Answer(known["url"], None))
    for index, _, _ in head.indexes():
        if not index.local.exists():
            raise FetchError(
                f"an index of {suite.suite} is not in the cache",
                where=index.path,
                why="offline",
                hint="run once without --offline",
            )
    return head


def _wanted(
    heads: Sequence[_Head], found: Mapping[_Suite, Sequence[tuple[IndexFile, str, Entry | None]]]
) -> list[Wanted]:
    wanted = []
    for head in heads:
        for index, _, _ in found[head.suite]:
            # by-hash keeps a mirror's update from getting between the Release and its indexes; some
            # mirrors lack a file there, so the plain name is tried as well
            hashed = f"{index.path.rpartition('/')[0]}/by-hash/SHA256/{index.sha256}"
            paths = (hashed, index.path) if head.release.by_hash else (index.path,)
            wanted.append(Wanted(head.suite.role, paths, index.size, index.sha256, index.local))
    return wanted


def _table(index: IndexFile, suffix: str, expect: Entry | None, role: str = "") -> PackagesIndex:
    """Open an index, unpacking and scanning it if no earlier run did."""
    plain = index.local.with_name(f"{index.sha256}.plain")
    table = index.local.with_name(f"{index.sha256}.table")
    if not plain.exists():
        unpack(index.local, suffix, plain, expect=expect, limit=_INDEX_LIMIT, where=index.path)
        table.unlink(missing_ok=True)
    for path in (index.local, plain, table):
        with suppress(OSError):
            os.utime(path)  # in use: not to be pruned
    for _ in range(2):
        try:
            return PackagesIndex(plain, table, role=role, where=index.path)
        except (ValueError, FileNotFoundError):
            build_table(plain, table)
    raise VerifyError("an index's table cannot be read", where=str(table), hint="remove it and try again")


def _state(head: _Head) -> SuiteState:
    return SuiteState(
        suite=head.suite.suite,
        release=head.file,
        date=head.release.date,
        valid_until=head.release.valid_until,
        signed_by=head.signers,
        indexes=tuple(index for index, _, _ in head.indexes()),
        signature=head.signature,
    )
