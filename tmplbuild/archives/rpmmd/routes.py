"""What a gateway gives out of verified repositories: repomd.xml, whatever it lists, and the packages."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tmplbuild.archives import routing
from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.gateway import Route
from tmplbuild.archives.model import ArchiveState, Package, SuiteState
from tmplbuild.archives.rpmmd import repomd
from tmplbuild.archives.rpmmd.pool import Pool
from tmplbuild.archives.rpmmd.reader import open_lists
from tmplbuild.recipes.model import Archive


@dataclass(slots=True)
class _Packages:
    """The packages of an archive by path; read when the first one is asked for."""

    state: ArchiveState
    arch: str
    _pool: Pool | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def at(self, path: str) -> Package | None:
        """The package whose file lies at a path below the archive's address."""
        with self._lock:
            if self._pool is None:
                self._pool = Pool(open_lists([self.state]), self.arch)
            return self._pool.at(path)


def gateway_routes(
    archives: Mapping[str, Archive], states: Sequence[ArchiveState], *, fetcher: Fetcher, cache: PackageCache
) -> tuple[Route, ...]:
    """One route for each archive: see `tmplbuild.archives.routing.routes`."""

    def packages(state: ArchiveState) -> routing.PackageAt:
        return _Packages(state, _arch(state)).at

    return routing.routes(archives, states, fetcher=fetcher, cache=cache, listed=_listed, packages=packages)


def _listed(role: str, suite: SuiteState, cache: PackageCache) -> dict[str, Wanted]:
    """All files that repomd.xml names, by path."""
    found = repomd.parse(suite.release.local.read_bytes(), where=suite.release.path)
    return {
        (path := f"{suite.suite}/{entry.path}"): Wanted(
            role, (path,), entry.size, entry.sha256, cache.index_path(entry.sha256)
        )
        for entry in found.files.values()
    }


_ARCHES = ("x86_64", "aarch64", "ppc64le", "s390x", "riscv64", "i686", "i586")


def _arch(state: ArchiveState) -> str:
    """The tree's architecture: the one that a repository's directory names."""
    words = {word for suite in state.suites for word in suite.suite.split("/")}
    return next((arch for arch in _ARCHES if arch in words), "x86_64")
