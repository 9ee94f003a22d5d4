"""What a gateway gives out of verified suites: their release, whatever it lists, and the packages."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tmplbuild.archives import routing
from tmplbuild.archives.aptrpm import release as releases
from tmplbuild.archives.aptrpm.pool import Pool
from tmplbuild.archives.aptrpm.reader import open_lists
from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.gateway import Route
from tmplbuild.archives.model import ArchiveState, Package, SuiteState
from tmplbuild.recipes.model import Archive


@dataclass(slots=True)
class _Packages:
    """The packages of all suites by name; read when the first one is asked for."""

    states: Sequence[ArchiveState]
    _pool: Pool | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def at(self, path: str) -> Package | None:
        """The package whose file lies at a path below its archive's address."""
        # .../RPMS.classic/bash-5.2.15-alt1.x86_64.rpm: what stands before the last two dashes
        name = path.rpartition("/")[2].rsplit("-", 2)[0]
        with self._lock:
            if self._pool is None:
                self._pool = Pool(open_lists(self.states), _arch(self.states))
            for entry in self._pool.named(name):
                package = self._pool.package(entry.number)
                if package.filename == path:
                    return package
        return None


def gateway_routes(
    archives: Mapping[str, Archive], states: Sequence[ArchiveState], *, fetcher: Fetcher, cache: PackageCache
) -> tuple[Route, ...]:
    """One route for each archive: see `tmplbuild.archives.routing.routes`."""

    def packages(state: ArchiveState) -> routing.PackageAt:
        return _Packages([state]).at

    return routing.routes(archives, states, fetcher=fetcher, cache=cache, listed=_listed, packages=packages)


def _listed(role: str, suite: SuiteState, cache: PackageCache) -> dict[str, Wanted]:
    """All files that the suite's release names, by path."""
    text = releases.signed_text(suite.release.local.read_bytes())
    found = {}
    for path, entry in releases.parse(text, where=suite.release.path).files.items():
        full = f"{suite.suite}/{path}"
        found[full] = Wanted(role, (full,), entry.size, entry.digest, cache.index_path(entry.digest))
    return found


def _arch(states: Sequence[ArchiveState]) -> str:
    """The tree's architecture: that of a suite's directory which is not noarch."""
    names = [suite.suite.rpartition("/")[2] for state in states for suite in state.suites]
    return next((name for name in names if name != "noarch"), "noarch")
