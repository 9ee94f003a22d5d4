"""What a gateway gives out of verified suites: CHECKSUMS.md5, and all that it names; signatures of
packages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tmplbuild.archives import packages, routing
from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.gateway import Route
from tmplbuild.archives.model import ArchiveState, Package, SuiteState
from tmplbuild.archives.slackware.reader import checksums_of, package, read_suite
from tmplbuild.recipes.model import Archive

_SIGNATURE = ".asc"


def gateway_routes(
    archives: Mapping[str, Archive], states: Sequence[ArchiveState], *, fetcher: Fetcher, cache: PackageCache
) -> tuple[Route, ...]:
    """One route for each archive: see `tmplbuild.archives.routing.routes`."""
    plain = routing.routes(
        archives,
        states,
        fetcher=fetcher,
        cache=cache,
        listed=_listed,
        packages=lambda state: _packages(state).get,
    )
    return tuple(
        _verified(route, _packages(state), fetcher, cache) for route, state in zip(plain, states, strict=True)
    )


def _packages(state: ArchiveState) -> dict[str, Package]:
    return {entry.path: package(state.role, entry) for suite in state.suites for entry in read_suite(suite)}


def _listed(role: str, suite: SuiteState, cache: PackageCache) -> dict[str, Wanted]:
    """All other files that CHECKSUMS.md5 names, by path."""
    return {
        (path := f"{suite.suite}/{name}"): Wanted(
            role, (path,), 0, f"md5:{md5}", cache.index_path(f"md5:{md5}")
        )
        for name, md5 in checksums_of(suite).files.items()
        if not name.endswith((".txz", ".tgz", _SIGNATURE))
    }


def _verified(route: Route, known: Mapping[str, Package], fetcher: Fetcher, cache: PackageCache) -> Route:
    """The route with the packages' signatures, once these hold."""

    def fetch(path: str) -> Path | None:
        found = known.get(path.removesuffix(_SIGNATURE)) if path.endswith(_SIGNATURE) else None
        if found is None:
            return route.fetch(path)
        packages.download([found], fetcher=fetcher, cache=cache)
        kept = packages.kept_beside(found, _SIGNATURE, cache)
        return kept if kept.exists() else None

    return Route(route.public, route.files, fetch)
