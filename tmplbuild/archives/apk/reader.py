"""Repositories of Alpine's kind: one signed file each, APKINDEX.tar.gz.

A suite of such an archive is one repository, named by its directory below the archive's address
("v3.22/main/x86_64").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tmplbuild.archives import openpgp, suites
from tmplbuild.archives.apk import index, keys
from tmplbuild.archives.apk.index import Entry, Index
from tmplbuild.archives.clock import refuse_future
from tmplbuild.archives.model import ArchiveState, Package, SuiteState
from tmplbuild.archives.suites import Form, Suite
from tmplbuild.errors import VerifyError
from tmplbuild.recipes.model import Archive

_LIMIT = 64 << 20
NAME = "APKINDEX.tar.gz"


def read_archives(archives: Mapping[str, Archive], arch: str, **options: Any) -> tuple[ArchiveState, ...]:
    """Read all repositories of all archives, verified.

    Parameters:
        archives: by role, as the recipe has them; their suites are directories that hold APKINDEX.tar.gz.
        arch: Alpine's word for the architecture (x86_64); for messages, as suites name their own.

    The other parameters and the errors are those of `tmplbuild.archives.suites.read`.
    """
    return suites.read(_FORM, archives, arch, **options)


def read_suite(suite: SuiteState, repository: int = 0) -> list[Entry]:
    """The packages of a verified repository. Raises VerifyError."""
    _, signed = index.taken_apart(suite.release.local.read_bytes(), suite.release.path)
    text = index.listed(signed, suite.release.path)
    return list(index.entries(text, repository, suite.release.path))


def package(role: str, suite: str, entry: Entry) -> Package:
    """A package in the words of all archives. Raises VerifyError for one whose digest is of no known
    kind."""
    filename = f"{suite}/{entry.filename or f'{entry.name}-{entry.version}.apk'}"
    if not entry.digest:
        raise VerifyError(
            f"the package {entry.name} cannot be verified",
            where=filename,
            why="its repository lists it without a SHA-1 of its control member",
        )
    return Package(
        name=entry.name,
        version=entry.version,
        arch=entry.arch,
        archive=role,
        filename=filename,
        size=entry.size,
        sha256=entry.digest,
    )


def _verify(body: bytes, signature: bytes | None, suite: Suite, url: str) -> openpgp.Signed:
    return keys.verify(body, suite.archive.keys, suite.keys_dir, where=url)


def _parse(content: bytes, url: str) -> Index:
    try:
        return index.head(content, url)
    except VerifyError:
        # one that is believed by the recipe's digest comes with its signature in front
        return index.head(index.taken_apart(content, url)[1], url)


def _check(release: Index, suite: Suite, url: str) -> None:
    refuse_future(f"the APKINDEX of {suite.suite}", release.date, suite.now, url)


_FORM: Form[Index] = Form(
    title="APKINDEX",
    paths=lambda suite: (f"{suite}/{NAME}",),
    limit=_LIMIT,
    verify=_verify,
    parse=_parse,
    check=_check,
    accepted=lambda suite, _release: f"accepted_{suite.role}_{suite.suite}_{suite.trust}",
    indexes=lambda head: [],
    wanted=lambda head: [],
    ready=lambda heads, fetcher: None,
)
