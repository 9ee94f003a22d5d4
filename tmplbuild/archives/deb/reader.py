"""Suites of Debian's kind: InRelease (or Release and Release.gpg), and the Packages files it vouches for."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

from tmplbuild.archives import compressed, openpgp, suites
from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.deb import release as releases
from tmplbuild.archives.deb.index import PackagesIndex, build_table, unpack
from tmplbuild.archives.deb.release import Release
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.model import ArchiveState, IndexFile, Listed
from tmplbuild.archives.suites import Form, Head, Suite
from tmplbuild.errors import RecipeError, VerifyError
from tmplbuild.recipes.model import Archive

_RELEASE_LIMIT = 16 << 20
_TRIES = 3
_INDEX_LIMIT = 1 << 30  # bytes of an unpacked index whose size the Release does not declare

_Head: TypeAlias = Head[Release]
_Row: TypeAlias = tuple[IndexFile, str, Listed | None]
"""A Packages file as it is fetched, its compression, and the unpacked file's hash if it is named."""


def read_archives(archives: Mapping[str, Archive], arch: str, **options: Any) -> tuple[ArchiveState, ...]:
    """Read all suites of all archives, verified; `arch` is Debian's word for the architecture (amd64).

    The other parameters and the errors are those of `tmplbuild.archives.suites.read`.
    """
    return suites.read(_FORM, archives, arch, **options)


def open_indexes(states: Sequence[ArchiveState]) -> list[PackagesIndex]:
    """The Packages indexes of verified suites, in the recipe's order, without reading them as a whole."""
    opened = []
    for state in states:
        for suite in state.suites:
            for index in suite.indexes:
                suffix = next(end for end in compressed.SUFFIXES if index.path.endswith(end))
                opened.append(_table(index, suffix, None, role=state.role))
    return opened


def _paths(suite: str) -> tuple[str, ...]:
    folder = f"dists/{suite}"
    return f"{folder}/InRelease", f"{folder}/Release", f"{folder}/Release.gpg"


def _verify(body: bytes, signature: bytes | None, suite: Suite, url: str) -> openpgp.Signed:
    keys = suite.archive.keys
    if signature is None:
        return openpgp.verify_clear(body, keys, suite.keys_dir, now=suite.now, where=url)
    return openpgp.verify_detached(body, signature, keys, suite.keys_dir, now=suite.now, where=url)


def _accepted(_suite: Suite, release: Release) -> str:
    return "accepted_" + hashlib.sha256(release.identity.encode()).hexdigest()[:24]


def _check(release: Release, suite: Suite, url: str) -> None:
    releases.check(release, asked=suite.suite, now=suite.now, where=url)


def _rows(head: _Head) -> list[_Row]:
    """The Packages files of our architecture."""
    arch = head.suite.arch
    return [
        _row(head, component, one)
        for component in head.suite.archive.components
        for one in ([arch, "all"] if head.release.all_apart else [arch])
    ]


def _row(head: _Head, component: str, arch: str) -> _Row:
    suite, release = head.suite, head.release
    plain = f"{component}/binary-{arch}/Packages"
    for suffix in compressed.SUFFIXES:
        entry = release.files.get(plain + suffix)
        if entry is not None:
            local = suite.cache.index_path(entry.digest)
            path = f"dists/{suite.suite}/{plain}{suffix}"
            return IndexFile(path, entry.digest, entry.size, local), suffix, release.files.get(plain)
    raise RecipeError(
        f"the suite {suite.suite} has no packages of component {component!r} for {arch!r}",
        where=f"archives.{suite.role}",
        why=f"components: {' '.join(release.components)}; architectures: {' '.join(release.architectures)}",
        hint="correct archives.NAME.components or image.arches in the recipe",
    )


def _indexes(head: _Head) -> list[IndexFile]:
    return [index for index, _, _ in _rows(head)]


def _wanted(head: _Head) -> list[Wanted]:
    wanted = []
    for index in _indexes(head):
        # by-hash keeps a mirror's update from getting between the Release and its indexes; some
        # mirrors lack a file there, so the plain name is tried as well
        hashed = f"{index.path.rpartition('/')[0]}/by-hash/SHA256/{index.sha256}"
        paths = (hashed, index.path) if head.release.by_hash else (index.path,)
        wanted.append(Wanted(head.suite.role, paths, index.size, index.sha256, index.local))
    return wanted


def _ready(heads: Sequence[_Head], fetcher: Fetcher) -> None:
    rows = {row[0].sha256: row for head in heads for row in _rows(head)}
    fetcher.parallel([partial(_table, *row) for row in rows.values()])


def _table(index: IndexFile, suffix: str, expect: Listed | None, role: str = "") -> PackagesIndex:
    """Open an index, unpacking and scanning it if no earlier run did.

    Other runs may be at the same: both files follow from the index's bytes, and appear whole.
    """
    plain = index.local.with_name(f"{index.sha256}.plain")
    table = index.local.with_name(f"{index.sha256}.table")
    for _ in range(_TRIES):
        try:
            if not plain.exists():
                unpack(index.local, suffix, plain, expect=expect, limit=_INDEX_LIMIT, where=index.path)
            for path in (index.local, plain, table):
                with suppress(OSError):
                    os.utime(path)  # in use: not to be pruned
            try:
                return PackagesIndex(plain, table, role=role, where=index.path)
            except (ValueError, FileNotFoundError):
                build_table(plain, table)
        except FileNotFoundError:
            pass  # the unpacked one was there when we looked
    raise VerifyError("an index's table cannot be read", where=str(table), hint="remove it and try again")


_FORM = Form(
    title="Release",
    paths=_paths,
    limit=_RELEASE_LIMIT,
    verify=_verify,
    parse=lambda content, url: releases.parse(content, where=url),
    check=_check,
    accepted=_accepted,
    indexes=_indexes,
    wanted=_wanted,
    ready=_ready,
)
