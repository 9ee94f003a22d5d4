"""Trees of Slackware's kind: a signed CHECKSUMS.md5, and PACKAGES.TXT, which it vouches for.

A suite of such an archive is a directory with these files ("slackware64-15.0",
"slackware64-15.0/patches"); of a package that several have, the last one's is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from tmplbuild.archives import openpgp, suites
from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.clock import refuse_future
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.model import ArchiveState, IndexFile, Package, SuiteState
from tmplbuild.archives.slackware import listing
from tmplbuild.archives.slackware.listing import Checksums, Entry
from tmplbuild.archives.suites import Form, Head, Suite
from tmplbuild.recipes.model import Archive

_LIMIT = 64 << 20
_NAME = "CHECKSUMS.md5"
_PACKAGES = "PACKAGES.TXT"
_STAMP = b"signed at "

_Head: TypeAlias = Head[Checksums]


def read_archives(archives: Mapping[str, Archive], arch: str, **options: Any) -> tuple[ArchiveState, ...]:
    """Read all suites of all archives, verified.

    Parameters:
        archives: by role, as the recipe has them; their suites are directories that hold CHECKSUMS.md5.
        arch: Slackware's word for the architecture (x86_64); for messages, as suites name their own.

    The other parameters and the errors are those of `tmplbuild.archives.suites.read`.
    """
    return suites.read(_FORM, archives, arch, **options)


def checksums_of(suite: SuiteState) -> Checksums:
    """The signed list of a verified suite. Raises VerifyError."""
    return listing.checksums(suite.release.local.read_bytes(), suite.release.path)


def read_suite(suite: SuiteState) -> list[Entry]:
    """The packages of a verified suite. Raises VerifyError."""
    (index,) = suite.indexes
    return list(listing.packages(index.local.read_bytes(), checksums_of(suite), suite.suite, index.path))


def package(role: str, entry: Entry) -> Package:
    """A package in the words of all archives. How large its file is nobody declares."""
    return Package(
        name=entry.name,
        version=entry.version,
        arch=entry.arch,
        archive=role,
        filename=entry.path,
        size=0,
        sha256=f"md5:{entry.md5}",
    )


def _verify(body: bytes, signature: bytes | None, suite: Suite, url: str) -> openpgp.Signed:
    keys = openpgp.Keyring(suite.archive.keys, suite.keys_dir, suite.archive.weak_keys)
    signed = keys.verify_detached(body, signature or b"", now=suite.now, where=url)
    # the list does not say when it was made, its signature does
    return replace(signed, content=_STAMP + str(signed.made).encode() + b"\n" + signed.content)


def _parse(content: bytes, url: str) -> Checksums:
    found = listing.checksums(content, url)
    if content.startswith(_STAMP):
        found.date = int(content[len(_STAMP) : content.index(b"\n")])
    return found


def _check(release: Checksums, suite: Suite, url: str) -> None:
    refuse_future(f"the {_NAME} of {suite.suite}", release.date, suite.now, url)


def _indexes(head: _Head) -> list[IndexFile]:
    digest = f"md5:{head.release.files[_PACKAGES]}"
    suite = head.suite
    return [IndexFile(f"{suite.suite}/{_PACKAGES}", digest, 0, suite.cache.index_path(digest))]


def _wanted(head: _Head) -> list[Wanted]:
    role = head.suite.role
    return [Wanted(role, (one.path,), one.size, one.sha256, one.local) for one in _indexes(head)]


def _ready(heads: Sequence[_Head], fetcher: Fetcher) -> None:
    for head in heads:
        if not head.release.date:
            (index,) = _indexes(head)
            head.release.date = listing.date_of(index.local.read_bytes())


_FORM: Form[Checksums] = Form(
    title=_NAME,
    paths=lambda suite: ("", f"{suite}/{_NAME}", f"{suite}/{_NAME}.asc"),
    limit=_LIMIT,
    verify=_verify,
    parse=_parse,
    check=_check,
    accepted=lambda suite, _release: f"accepted_{suite.role}_{suite.suite}_{suite.trust}",
    indexes=_indexes,
    wanted=_wanted,
    ready=_ready,
    weak_keys=True,
)
