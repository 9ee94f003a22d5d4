"""Suites of ALT's kind: `base/release` with its signatures appended, and the lists it vouches for.

A suite is one directory with a `base/release`: "p11/branch/x86_64" and "p11/branch/noarch" are two
suites of one archive. A suite may lack a component (noarch has none but classic), yet not all of them.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from tmplbuild.archives import digest, openpgp, suites
from tmplbuild.archives.aptrpm import pkglist
from tmplbuild.archives.aptrpm import release as releases
from tmplbuild.archives.aptrpm.entry import Source
from tmplbuild.archives.aptrpm.pool import PackageList
from tmplbuild.archives.aptrpm.release import Release
from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.cache import write_whole
from tmplbuild.archives.clock import refuse_future
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.model import ArchiveState, IndexFile, Listed
from tmplbuild.archives.suites import Form, Head, Suite
from tmplbuild.errors import RecipeError, StoreError, VerifyError
from tmplbuild.events import Note
from tmplbuild.recipes.model import Archive

_RELEASE_LIMIT = 4 << 20
_LIST_LIMIT = 1 << 30

_Head: TypeAlias = Head[Release]


@dataclass(frozen=True, slots=True)
class _List:
    """A component's list: as it is fetched, its compression, and its uncompressed form."""

    index: IndexFile
    suffix: str
    plain: Listed

    @property
    def unpacked(self) -> Path:
        """Where the uncompressed list lies; of what the release says of it, not of what was fetched."""
        return self.index.local.with_name(f"{digest.file_name(self.plain.digest)}.plain")


def read_archives(archives: Mapping[str, Archive], arch: str, **options: Any) -> tuple[ArchiveState, ...]:
    """Read all suites of all archives, verified.

    Parameters:
        archives: by role, as the recipe has them; their suites are directories that hold `base/`.
        arch: ALT's word for the architecture (x86_64); for messages, as suites name their own.

    The other parameters and the errors are those of `tmplbuild.archives.suites.read`.
    """
    return suites.read(_FORM, archives, arch, **options)


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


def _verify(body: bytes, _signature: bytes | None, suite: Suite, url: str) -> openpgp.Signed:
    return releases.verify(body, suite.archive.keys, suite.keys_dir, now=suite.now, where=url)


def _accepted(suite: Suite, _release: Release) -> str:
    return f"accepted_{suite.role}_{suite.suite}_{suite.trust}"


def _check(release: Release, suite: Suite, url: str) -> None:
    refuse_future(f"the release of {suite.suite}", release.date, suite.now, url)


def _lists(head: _Head) -> Iterator[_List]:
    """The lists of the recipe's components, those that the suite has. Raises VerifyError."""
    suite, files = head.suite.suite, head.release.files
    for component in head.suite.archive.components:
        path = f"base/pkglist.{component}"
        plain = files.get(path)
        suffix = next((end for end in pkglist.SUFFIXES if path + end in files), None)
        if suffix is None:
            continue
        if plain is None or plain.size > _LIST_LIMIT:
            raise VerifyError(
                f"the release of {suite} does not say how long the list of {component} is, "
                "or it is longer than a list may be",
                where=f"{suite}/{path}",
            )
        yield _List(_index(head, path + suffix), suffix, plain)


def _index(head: _Head, path: str) -> IndexFile:
    entry = head.release.files[path]
    local = head.suite.cache.index_path(entry.digest)
    return IndexFile(f"{head.suite.suite}/{path}", entry.digest, entry.size, local)


def _lacks(head: _Head, component: str) -> bool:
    path = f"base/pkglist.{component}"
    return not any(path + suffix in head.release.files for suffix in pkglist.SUFFIXES)


def _labels(head: _Head) -> list[tuple[str, IndexFile]]:
    """The small release.COMPONENT files of the recipe's components."""
    paths = {name: f"base/release.{name}" for name in head.suite.archive.components}
    return [(name, _index(head, path)) for name, path in paths.items() if path in head.release.files]


def _components(heads: Sequence[_Head]) -> None:
    for role in dict.fromkeys(head.suite.role for head in heads):
        _check_components(role, [head for head in heads if head.suite.role == role])


def _check_components(role: str, heads: Sequence[_Head]) -> None:
    archive, arch = heads[0].suite.archive, heads[0].suite.arch
    have = {name for head in heads for name in head.release.components}
    missing = [name for name in archive.components if all(_lacks(head, name) for head in heads)]
    empty = [head.suite.suite for head in heads if all(_lacks(head, name) for name in archive.components)]
    if missing or empty:
        raise RecipeError(
            f"the archive {role!r} has no list of {', '.join(missing or archive.components)} for {arch!r}",
            where=f"archives.{role}",
            why=f"suites: {' '.join(empty or archive.suites)}; components there: {' '.join(sorted(have))}",
            hint="correct archives.NAME.components or suites in the recipe",
        )


def _wanted(head: _Head) -> list[Wanted]:
    files = [item.index for item in _lists(head)] + [index for _, index in _labels(head)]
    return [Wanted(head.suite.role, (one.path,), one.size, one.sha256, one.local) for one in files]


def _ready(heads: Sequence[_Head], fetcher: Fetcher) -> None:
    fetcher.parallel([partial(_unpack, item) for head in heads for item in _lists(head)])
    for head in heads:
        _tell(head, fetcher)


def _tell(head: _Head, fetcher: Fetcher) -> None:
    """Warn of what weakens the archive, and check what release.COMPONENT says. Raises VerifyError."""
    if head.release.hash == "md5":
        fetcher.emit(
            Note(f"the release of {head.suite.suite} vouches for its files by MD5 alone", level="warning")
        )
    for component, index in _labels(head):
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


_FORM = Form(
    title="release",
    paths=lambda suite: (f"{suite}/base/release",),
    limit=_RELEASE_LIMIT,
    verify=_verify,
    parse=lambda body, url: releases.parse(releases.signed_text(body), where=url),
    check=_check,
    accepted=_accepted,
    indexes=lambda head: [item.index for item in _lists(head)],
    wanted=_wanted,
    ready=_ready,
    components=_components,
)
