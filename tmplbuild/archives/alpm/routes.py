"""What a gateway gives out: the databases of this run, packages that were verified, and their signatures."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tmplbuild.archives import packages, routing
from tmplbuild.archives.alpm.pool import Pool
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.gateway import Route
from tmplbuild.archives.model import ArchiveState, Package
from tmplbuild.recipes.model import Archive

_SIGNATURE = ".sig"


@dataclass(slots=True)
class _Packages:
    """The packages of an archive by path; read when the first one is asked for."""

    state: ArchiveState
    _found: dict[str, Package] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def at(self, path: str) -> Package | None:
        """The package whose file lies at a path below the archive's address."""
        with self._lock:
            if self._found is None:
                pool = Pool.of([self.state])
                rows = [pool.package(one) for entries in pool.named.values() for one in entries]
                self._found = {row.filename: row for row in rows}
            return self._found.get(path)


def gateway_routes(
    archives: Mapping[str, Archive], states: Sequence[ArchiveState], *, fetcher: Fetcher, cache: PackageCache
) -> tuple[Route, ...]:
    """One route for each archive: see `tmplbuild.archives.routing.routes`."""
    found = {state.role: _Packages(state) for state in states}
    plain = routing.routes(
        archives,
        states,
        fetcher=fetcher,
        cache=cache,
        listed=lambda role, suite, cache: {},
        packages=lambda state: found[state.role].at,
    )
    return tuple(
        _with_signatures(route, found[state.role], fetcher, cache)
        for route, state in zip(plain, states, strict=True)
    )


def _with_signatures(route: Route, known: _Packages, fetcher: Fetcher, cache: PackageCache) -> Route:
    def fetch(path: str) -> Path | None:
        package = known.at(path.removesuffix(_SIGNATURE)) if path.endswith(_SIGNATURE) else None
        if package is None:
            return route.fetch(path)
        packages.download([package], fetcher=fetcher, cache=cache)
        kept = packages.kept_beside(package, _SIGNATURE, cache)
        return kept if kept.exists() else None

    return Route(route.public, route.files, fetch)
