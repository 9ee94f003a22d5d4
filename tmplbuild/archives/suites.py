"""Reading the suites of a recipe's archives, whatever their format: fetched, believed, remembered.

A format is a table of functions (`Form`); what is the same for all is here: which suites there are, what
was accepted of them before, that none goes back in time, the run without network, and the branch that is
believed by a pinned digest because nobody signs it any more as one must today.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, Protocol, TypeVar

from tmplbuild.archives import openpgp
from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.clock import utc
from tmplbuild.archives.fetch import Answer, Fetcher
from tmplbuild.archives.model import ArchiveState, IndexFile, SuiteState
from tmplbuild.archives.trouble import MissingError
from tmplbuild.errors import FetchError, VerifyError
from tmplbuild.events import Note
from tmplbuild.recipes.model import Archive

PATIENCE_S = 2 * 86400
"""Seconds for which a suite that has gone back in time is read as it was before; then it is an error."""


class OlderError(VerifyError):
    """A release is older than the one accepted before: the mirror lags behind, or replays an old state."""


class Dated(Protocol):
    """What is asked of a parsed release: seconds since the epoch, 0 where it does not say."""

    @property
    def date(self) -> int: ...
    @property
    def valid_until(self) -> int: ...


R = TypeVar("R", bound=Dated)


@dataclass(frozen=True, slots=True)
class Suite:
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
    def frozen(self) -> str:
        """The sha256 that the recipe pins for the suite's signed file, "" where a signature decides."""
        return self.archive.frozen.get(self.suite, "")

    @property
    def unsigned(self) -> bool:
        """Whether only the packages are signed: nothing vouches for what the suite says of itself."""
        return self.archive.signed == "packages"

    @property
    def memory(self) -> str:
        """The name under which the last verified release is remembered: other keys, other memory."""
        return f"suite_{self.role}_{self.suite}_{self.trust}"

    @property
    def trust(self) -> str:
        """Stands for who vouches for the suite."""
        who = " ".join(sorted(self.archive.keys)) + self.frozen
        if self.archive.signed != "index":
            who += self.archive.signed
        return hashlib.sha256(who.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Head(Generic[R]):
    """A believed release, and the facts to remember once all its indexes are verified too."""

    suite: Suite
    release: R
    file: IndexFile
    signers: tuple[str, ...]
    facts: dict[str, str]
    signature: IndexFile | None = None


@dataclass(frozen=True, slots=True)
class Form(Generic[R]):
    """How one kind of archive is read.

    Parameters:
        title: what people call its signed file ("Release").
        paths: the signed file of a suite below the archive's address ("" where there is none such), and
            where a detached signature may stand for one inside the file, that file and its signature.
        limit: bytes beyond which a signed file is refused.
        verify: body, detached signature (None: it is in the body), suite, address → what is signed.
        parse: the signed text and its address → the release.
        check: refuses a release that is not the suite's, by now; not asked of one that is frozen.
        accepted: the name under which the newest date of the suite is remembered.
        indexes: the verified indexes of the recipe's components.
        wanted: what is to be downloaded of a head.
        ready: unpacks and scans what was downloaded, and tells of what weakens the archive.
        components: refuses a recipe that names components which no suite has.
        weak_keys: whether the recipe's keys of that name count.
    """

    title: str
    paths: Callable[[str], tuple[str, ...]]
    limit: int
    verify: Callable[[bytes, bytes | None, Suite, str], openpgp.Signed]
    parse: Callable[[bytes, str], R]
    check: Callable[[R, Suite, str], None]
    accepted: Callable[[Suite, R], str]
    indexes: Callable[[Head[R]], list[IndexFile]]
    wanted: Callable[[Head[R]], list[Wanted]]
    ready: Callable[[Sequence[Head[R]], Fetcher], None]
    components: Callable[[Sequence[Head[R]]], None] = lambda heads: None
    weak_keys: bool = False


def read(
    form: Form[R],
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
        arch: the distribution's own word for the architecture.
        fetcher: knows the mirrors of every role; its `emit` gets warnings.
        keys_dir: the directory of the certificates, FINGERPRINT.asc, or several to look in, in order.
        now: seconds since the epoch (the clock's if None).
        offline: use the state that was verified last, and no network.
        allow_older: accept a release that is older than the one accepted last.

    Raises VerifyError, FetchError, StoreError, and RecipeError for a component or an architecture
    that the suites do not have.
    """
    moment = time.time() if now is None else now
    suites = [
        Suite(role, suite, archive, arch, keys_dir, moment, allow_older, cache)
        for role, archive in archives.items()
        for suite in archive.suites
    ]
    if offline:
        heads = [_remembered(form, suite) for suite in suites]
    else:
        heads = fetcher.parallel([partial(_head, form, suite, fetcher) for suite in suites])
    form.components(heads)
    if not offline:
        fetcher.download([wanted for head in heads for wanted in form.wanted(head)], cache, "indexes")
    form.ready(heads, fetcher)
    for head in heads:
        if not offline:
            _remember(form, head)
    _tell_frozen(heads, fetcher)
    if form.weak_keys:
        _tell_weak(archives, fetcher)
    return tuple(
        ArchiveState(
            role, tuple(_state(form, head) for head in heads if head.suite.role == role), archive.modules
        )
        for role, archive in archives.items()
    )


def _remember(form: Form[R], head: Head[R]) -> None:
    """Keep what was accepted; not in place of something later that another run has accepted meanwhile, of a
    machine behind the mirror's name that is up to date before others. Raises StoreError."""
    suite, date = head.suite, head.release.date
    back = suite.allow_older
    with suite.cache.alone():
        if back or bool(suite.frozen) or date >= _date(suite.cache.recall(suite.memory)):
            suite.cache.remember(suite.memory, {**head.facts, "date": str(date)})
        accepted = form.accepted(suite, head.release)
        if back or date > _date(suite.cache.recall(accepted)):
            suite.cache.remember(accepted, {"date": str(date)})


def _date(facts: Mapping[str, str]) -> int:
    told = facts.get("date", "")
    return int(told) if told.isdigit() else 0


def _head(form: Form[R], suite: Suite, fetcher: Fetcher) -> Head[R]:
    try:
        return _fetched(form, suite, fetcher)
    except OlderError as older:
        return _kept(form, suite, fetcher, older)


def _fetched(form: Form[R], suite: Suite, fetcher: Fetcher) -> Head[R]:
    known = suite.cache.recall(suite.memory)
    if not suite.cache.index_path(known.get("sha256", "0" * 64)).exists():
        known = {}
    whole, *apart = form.paths(suite.suite)
    if suite.unsigned:
        whole, apart = whole or apart[0], []
    if not whole:
        return _detached(form, suite, fetcher, *apart)

    def signed(answer: Answer) -> Head[R]:
        body = answer.body
        if body is None:
            body = suite.cache.index_path(known["sha256"]).read_bytes()
        return _believe(form, suite, whole, body, None, answer)

    try:
        return fetcher.get(suite.role, whole, signed, limit=form.limit, known=known)
    except MissingError as missing:
        if not apart:
            raise
        try:
            return _detached(form, suite, fetcher, *apart)
        except MissingError:
            raise missing from None


def _detached(form: Form[R], suite: Suite, fetcher: Fetcher, path: str, signature: str) -> Head[R]:
    """A suite of the older form: its release, and the signature in a file of its own."""
    answer = fetcher.get(suite.role, path, lambda answer: answer, limit=form.limit)

    def signed(of: Answer) -> Head[R]:
        return _believe(form, suite, path, answer.body or b"", of.body or b"", answer, signature)

    return fetcher.get(suite.role, signature, signed, limit=form.limit)


def _believe(
    form: Form[R],
    suite: Suite,
    path: str,
    body: bytes,
    signature: bytes | None,
    answer: Answer,
    signature_path: str = "",
) -> Head[R]:
    """Check all that a release's own bytes can tell. Raises VerifyError."""
    sha256 = hashlib.sha256(body).hexdigest()
    if suite.frozen:
        _expect(suite, sha256, answer.url)
        signed = openpgp.Signed(body, ())
        release = form.parse(body, answer.url)
    else:
        signed = _signed(form, suite, body, signature, answer.url, sha256)
        release = form.parse(signed.content, answer.url)
        form.check(release, suite, answer.url)
        _refuse_older(form, suite, release, answer.url)
    gpg = None if signature is None else _stored(suite, signature_path, signature)
    facts = {
        "url": answer.url,
        "etag": answer.etag,
        "modified": answer.modified,
        "sha256": sha256,
        "signature": gpg.sha256 if gpg else "",
        "accepted_at": f"{suite.now:.0f}",
    }
    return Head(suite, release, _stored(suite, path, body), signed.signers, facts, gpg)


def _signed(
    form: Form[R], suite: Suite, body: bytes, signature: bytes | None, url: str, sha256: str
) -> openpgp.Signed:
    if suite.unsigned:
        return openpgp.Signed(body, ())
    try:
        return form.verify(body, signature, suite, url)
    except openpgp.WeakError as error:
        error.hint = f'{error.hint}: archives.{suite.role}.frozen = {{ "{suite.suite}" = "{sha256}" }}'
        if form.weak_keys:
            error.hint += f"; or its key be named in archives.{suite.role}.weak_keys, knowing that"
        raise


def _expect(suite: Suite, sha256: str, url: str) -> None:
    if sha256 != suite.frozen:
        raise VerifyError(
            f"the suite {suite.suite} is not as it was frozen",
            where=url,
            why=f"its sha256 is {sha256}; archives.{suite.role}.frozen says {suite.frozen}",
            hint="a frozen suite never changes: use another mirror (MIRROR=), or correct the recipe",
        )


def _refuse_older(form: Form[R], suite: Suite, release: R, url: str) -> None:
    """Refuse to go back in time: an old release is signed as well as the new one was. Raises OlderError."""
    last = _date(suite.cache.recall(form.accepted(suite, release)))
    if suite.allow_older or release.date >= last:
        return
    raise OlderError(
        f"the {form.title} of {suite.suite} is older than the one accepted before",
        where=url,
        why=f"it is dated {utc(release.date)}; the last one was of {utc(last)}",
        hint="the mirror lags behind or replays an old state: try again later, use another one "
        "(MIRROR=), or allow it with --allow-older",
    )


def _stored(suite: Suite, path: str, body: bytes) -> IndexFile:
    sha256 = hashlib.sha256(body).hexdigest()
    return IndexFile(path, sha256, len(body), suite.cache.put_index(sha256, body))


def _kept(form: Form[R], suite: Suite, fetcher: Fetcher, older: OlderError) -> Head[R]:
    """The suite as it was accepted last, in place of an older state of it, as apt does: of the machines
    behind a mirror's name some are up to date before others. It is verified again by now; and whoever
    replays an old state gains nothing but time, and of that no more than `PATIENCE_S`. Raises `older`.
    """
    found = _recall(form, suite)
    if found is None or suite.now - found.then > PATIENCE_S:
        raise older
    try:
        head = found.believed(form, suite)
    except VerifyError:
        raise older from None
    since = f"the one accepted {utc(found.then)} is used instead ({older.where}: {older.why})"
    fetcher.emit(Note(f"{older.what}: {since}", level="warning"))
    return replace(head, facts={**head.facts, "accepted_at": f"{found.then:.0f}"})


@dataclass(frozen=True, slots=True)
class _Recalled:
    """What the cache has of the release that was accepted last; `then` is when, seconds since the epoch."""

    path: str
    body: bytes
    beside: str
    signature: bytes | None
    answer: Answer
    then: float

    def believed(self, form: Form[R], suite: Suite) -> Head[R]:
        """It, verified again as of the suite's `now`. Raises VerifyError."""
        return _believe(form, suite, self.path, self.body, self.signature, self.answer, self.beside)


def _recall(form: Form[R], suite: Suite) -> _Recalled | None:
    known = suite.cache.recall(suite.memory)
    whole, *apart = form.paths(suite.suite)
    try:
        body = suite.cache.index_path(known["sha256"]).read_bytes()
        gpg = suite.cache.index_path(known["signature"]).read_bytes() if known["signature"] else None
        answer = Answer(known["url"], None, known["etag"], known["modified"])
        path, beside = (whole or apart[0], "") if gpg is None else apart
        return _Recalled(path, body, beside, gpg, answer, float(known["accepted_at"]))
    except (KeyError, ValueError, OSError):
        return None


def _remembered(form: Form[R], suite: Suite) -> Head[R]:
    """The head that was verified last, verified again as of then. Raises FetchError."""
    found = _recall(form, suite)
    if found is None:
        raise FetchError(
            f"nothing is known of the suite {suite.suite} yet",
            where=f"archives.{suite.role}",
            why="offline: only what an earlier run has verified can be used",
            hint="run once without --offline",
        )
    asof = replace(suite, now=found.then, allow_older=True)
    head = found.believed(form, asof)
    for index in form.indexes(head):
        if not index.local.exists():
            raise FetchError(
                f"an index of {suite.suite} is not in the cache",
                where=index.path,
                why="offline",
                hint="run once without --offline",
            )
    return head


def _tell_frozen(heads: Sequence[Head[R]], fetcher: Fetcher) -> None:
    names = sorted({head.suite.suite for head in heads if head.suite.frozen})
    if names:
        text = f"believed by the digest that the recipe pins, not by a signature: {', '.join(names)}"
        fetcher.emit(Note(text, level="warning"))


def _tell_weak(archives: Mapping[str, Archive], fetcher: Fetcher) -> None:
    for role, archive in archives.items():
        if archive.weak_keys:
            text = f"signatures that can be forged are accepted of {', '.join(archive.weak_keys)} ({role})"
            fetcher.emit(Note(text, level="warning"))


def _state(form: Form[R], head: Head[R]) -> SuiteState:
    return SuiteState(
        suite=head.suite.suite,
        release=head.file,
        date=head.release.date,
        valid_until=head.release.valid_until,
        signed_by=head.signers,
        indexes=tuple(form.indexes(head)),
        signature=head.signature,
    )
