"""What a gateway gives out of verified repositories: repomd.xml, whatever it lists, and the packages."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.gateway import Route
from tmplbuild.archives.model import ArchiveState, SuiteState
from tmplbuild.archives.rpmmd import repomd
from tmplbuild.archives.rpmmd.pool import Pool
from tmplbuild.archives.rpmmd.reader import open_lists
from tmplbuild.recipes.model import Archive

_LABEL = "upgrade"


@dataclass(slots=True)
class _Packages:
    """The packages of an archive by path; read when the first one is asked for."""

    state: ArchiveState
    arch: str
    _pool: Pool | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def at(self, path: str, cache: PackageCache) -> Wanted | None:
        """The package whose file lies at a path below the archive's address."""
        # .../Packages/b/bash-5.2.26-3.fc40.x86_64.rpm: what stands before the last two dashes
        name = path.rpartition("/")[2].rsplit("-", 2)[0]
        with self._lock:
            if self._pool is None:
                self._pool = Pool(open_lists([self.state]), self.arch)
            for package in self._pool.packages(self._pool.repositories.named(name)):
                if package.filename == path:
                    return Wanted(
                        package.archive, (path,), package.size, package.sha256, cache.path(package.sha256)
                    )
        return None


def gateway_routes(
    archives: Mapping[str, Archive], states: Sequence[ArchiveState], *, fetcher: Fetcher, cache: PackageCache
) -> tuple[Route, ...]:
    """One route for each archive, at its public address.

    What is signed is what was verified, even if the mirrors have something newer by now; all else is
    fetched when asked for, and given after its hash was checked.
    """
    return tuple(_route(archives[state.role], state, fetcher, cache) for state in states)


def _route(archive: Archive, state: ArchiveState, fetcher: Fetcher, cache: PackageCache) -> Route:
    files: dict[str, Path] = {}
    listed: dict[str, Wanted] = {}
    for suite in state.suites:
        files[suite.release.path] = suite.release.local
        if suite.signature is not None:
            files[suite.signature.path] = suite.signature.local
        listed.update(_listed(state.role, suite, cache))
    packages = _Packages(state, _arch(state))
    return Route(archive.public, files, partial(_fetch, listed, packages, fetcher, cache))


def _listed(role: str, suite: SuiteState, cache: PackageCache) -> dict[str, Wanted]:
    """All files that repomd.xml names, by path."""
    found = repomd.parse(suite.release.local.read_bytes(), where=suite.release.path)
    return {
        (path := f"{suite.suite}/{entry.path}"): Wanted(
            role, (path,), entry.size, entry.sha256, cache.index_path(entry.sha256)
        )
        for entry in found.files.values()
    }


def _fetch(
    listed: Mapping[str, Wanted], packages: _Packages, fetcher: Fetcher, cache: PackageCache, path: str
) -> Path | None:
    wanted = listed.get(path) or packages.at(path, cache)
    if wanted is None:
        return None
    fetcher.download([wanted], cache, _LABEL)
    return wanted.dest


_ARCHES = ("x86_64", "aarch64", "ppc64le", "s390x", "riscv64", "i686", "i586")


def _arch(state: ArchiveState) -> str:
    """The tree's architecture: the one that a repository's directory names."""
    words = {word for suite in state.suites for word in suite.suite.split("/")}
    return next((arch for arch in _ARCHES if arch in words), "x86_64")
