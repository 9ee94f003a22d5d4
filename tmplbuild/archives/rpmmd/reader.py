"""Repositories with `repodata/repomd.xml` (dnf, zypper): signature, checksums, the list of packages.

A suite of such an archive is one repository, named by its directory below the archive's address
("9-stream/BaseOS/x86_64/os").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from tmplbuild.archives import digest, openpgp, suites
from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.clock import refuse_future
from tmplbuild.archives.deb.index import unpack
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.model import ArchiveState, IndexFile, Listed, SuiteState
from tmplbuild.archives.rpmmd import repomd
from tmplbuild.archives.rpmmd.repomd import Repomd
from tmplbuild.archives.suites import Form, Head, Suite
from tmplbuild.errors import VerifyError
from tmplbuild.recipes.model import Archive

_REPOMD_LIMIT = 4 << 20
_LIST_LIMIT = 512 << 20  # bytes of an unpacked list; those of the largest distributions have some 200 MB
_FILES_LIMIT = 2 << 30  # the same of a list of all files
_KINDS = ("primary", "modules")
_SUFFIXES = (".zst", ".xz", ".gz", ".bz2")

_Head: TypeAlias = Head[Repomd]


@dataclass(frozen=True, slots=True)
class Lists:
    """What a verified repository says of its packages: uncompressed files. `role` and `suite` are those
    of the recipe; `modules` is None where it has no module streams. `files` is the list of all files, which
    is not read but where one is missing: `plain_files`."""

    role: str
    suite: str
    primary: Path
    modules: Path | None
    files: Later | None = None


@dataclass(frozen=True, slots=True)
class Later:
    """A list that may be fetched: where it would lie, and what repomd.xml says of it."""

    index: IndexFile
    entry: repomd.Entry

    @property
    def is_here(self) -> bool:
        """Whether it was fetched."""
        return self.index.local.exists()

    def wanted(self, role: str) -> Wanted:
        """It, to be fetched. Raises VerifyError for one that is larger than any."""
        _refuse_larger(self.index.path, self.entry, _FILES_LIMIT)
        return Wanted(role, (self.index.path,), self.index.size, self.index.sha256, self.index.local)

    def unpacked(self) -> Path:
        """The list that was fetched, uncompressed. Raises VerifyError."""
        return _unpacked(self.index, self.entry, _FILES_LIMIT)


def read_archives(archives: Mapping[str, Archive], arch: str, **options: Any) -> tuple[ArchiveState, ...]:
    """Read all repositories of all archives, verified.

    Parameters:
        archives: by role, as the recipe has them; their suites are directories that hold `repodata/`.
        arch: the distribution's word for the architecture (x86_64); for messages, as suites name their own.

    The other parameters and the errors are those of `tmplbuild.archives.suites.read`.
    """
    return suites.read(_FORM, archives, arch, **options)


def open_lists(states: Sequence[ArchiveState]) -> list[Lists]:
    """The lists of verified repositories, unpacked, in the recipe's order. Raises VerifyError."""
    return [_opened(state.role, suite) for state in states for suite in state.suites]


def _opened(role: str, suite: SuiteState) -> Lists:
    found = repomd.parse(suite.release.local.read_bytes(), where=suite.release.path)
    plain = {}
    for index in suite.indexes:
        kind = next(
            kind for kind in _KINDS if kind in found.files and found.files[kind].sha256 == index.sha256
        )
        plain[kind] = _unpacked(index, found.files[kind])
    return Lists(role, suite.suite, plain["primary"], plain.get("modules"), _later(suite, found))


def _later(suite: SuiteState, found: Repomd) -> Later | None:
    entry = found.files.get("filelists")
    if entry is None:
        return None
    local = suite.release.local.with_name(digest.file_name(entry.sha256))
    return Later(IndexFile(f"{suite.suite}/{entry.path}", entry.sha256, entry.size, local), entry)


def _verify(body: bytes, signature: bytes | None, suite: Suite, url: str) -> openpgp.Signed:
    keys = openpgp.Keyring(suite.archive.keys, suite.keys_dir, suite.archive.weak_keys)
    return keys.verify_detached(body, signature or b"", now=suite.now, where=url)


def _check(release: Repomd, suite: Suite, url: str) -> None:
    refuse_future(f"the repomd.xml of {suite.suite}", release.date, suite.now, url)


def _indexes(head: _Head) -> list[IndexFile]:
    suite = head.suite
    return [
        IndexFile(
            f"{suite.suite}/{entry.path}", entry.sha256, entry.size, suite.cache.index_path(entry.sha256)
        )
        for kind in _KINDS
        if (entry := head.release.files.get(kind)) is not None
    ]


def _wanted(head: _Head) -> list[Wanted]:
    role = head.suite.role
    for kind, entry in head.release.files.items():
        if kind in _KINDS:
            _refuse_larger(f"{head.suite.suite}/{entry.path}", entry, _LIST_LIMIT)
    return [Wanted(role, (one.path,), one.size, one.sha256, one.local) for one in _indexes(head)]


def _refuse_larger(path: str, entry: repomd.Entry, limit: int) -> None:
    if max(entry.size, entry.plain_size) > limit:
        raise VerifyError(
            "a repository's list of packages is larger than any",
            where=path,
            why=f"{entry.size} bytes, unpacked {entry.plain_size}, are declared",
            hint="use another mirror (MIRROR=)",
        )


def _ready(heads: Sequence[_Head], fetcher: Fetcher) -> None:
    by_hash = {entry.sha256: entry for head in heads for entry in head.release.files.values()}
    indexes = {index.sha256: index for head in heads for index in _indexes(head)}
    fetcher.parallel([partial(_unpacked, index, by_hash[index.sha256]) for index in indexes.values()])


def _unpacked(index: IndexFile, entry: repomd.Entry, limit: int = 0) -> Path:
    """Unpack a list if no earlier run did; what lies there has been verified. Raises VerifyError."""
    plain = index.local.with_name(f"{index.sha256}.plain")
    if not plain.exists():
        suffix = next((end for end in _SUFFIXES if entry.path.endswith(end)), "")
        expect = Listed(entry.plain_sha256, entry.plain_size) if entry.plain_sha256 else None
        unpack(index.local, suffix, plain, expect=expect, limit=limit or _LIST_LIMIT, where=index.path)
    return plain


_FORM = Form(
    title="repomd.xml",
    paths=lambda suite: ("", f"{suite}/repodata/repomd.xml", f"{suite}/repodata/repomd.xml.asc"),
    limit=_REPOMD_LIMIT,
    verify=_verify,
    parse=lambda content, url: repomd.parse(content, where=url),
    check=_check,
    accepted=lambda suite, _release: f"accepted_{suite.role}_{suite.suite}_{suite.trust}",
    indexes=_indexes,
    wanted=_wanted,
    ready=_ready,
    weak_keys=True,
)
