"""What a gateway gives out of verified repositories: the signed index, and the packages."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tmplbuild.archives import routing
from tmplbuild.archives.apk.reader import package, read_suite
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.gateway import Route
from tmplbuild.archives.model import ArchiveState, Package
from tmplbuild.recipes.model import Archive


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
                rows = [
                    package(self.state.role, suite.suite, entry)
                    for suite in self.state.suites
                    for entry in read_suite(suite)
                    if entry.digest
                ]
                self._found = {row.filename: row for row in rows}
            return self._found.get(path)


def gateway_routes(
    archives: Mapping[str, Archive], states: Sequence[ArchiveState], *, fetcher: Fetcher, cache: PackageCache
) -> tuple[Route, ...]:
    """One route for each archive: see `tmplbuild.archives.routing.routes`."""
    return routing.routes(
        archives,
        states,
        fetcher=fetcher,
        cache=cache,
        listed=lambda role, suite, cache: {},
        packages=lambda state: _Packages(state).at,
    )
