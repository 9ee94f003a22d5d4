"""What a gateway gives out of verified suites, whatever their format: what is signed, all that it vouches
for, and the packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.gateway import Route
from tmplbuild.archives.model import ArchiveState, Package, SuiteState
from tmplbuild.archives.packages import wanted
from tmplbuild.recipes.model import Archive

_LABEL = "upgrade"

Listed: TypeAlias = Callable[[str, SuiteState, PackageCache], Mapping[str, Wanted]]
PackageAt: TypeAlias = Callable[[str], Package | None]


def routes(
    archives: Mapping[str, Archive],
    states: Sequence[ArchiveState],
    *,
    fetcher: Fetcher,
    cache: PackageCache,
    listed: Listed,
    packages: Callable[[ArchiveState], PackageAt],
) -> tuple[Route, ...]:
    """One route for each archive, at its public address.

    What is signed is what was verified, even if the mirrors have something newer by now; all else is
    fetched when asked for, and given after its hash was checked.

    Parameters:
        listed: the files that a suite's signed file names, by path, of a role.
        packages: finds the package of an archive whose file lies at a path.
    """

    def route(state: ArchiveState) -> Route:
        files: dict[str, Path] = {}
        found: dict[str, Wanted] = {}
        for suite in state.suites:
            files[suite.release.path] = suite.release.local
            if suite.signature is not None:
                files[suite.signature.path] = suite.signature.local
            found.update(listed(state.role, suite, cache))
        fetch = partial(_fetch, found, packages(state), fetcher, cache)
        return Route(archives[state.role].public, files, fetch)

    return tuple(map(route, states))


def _fetch(
    listed: Mapping[str, Wanted],
    package_at: PackageAt,
    fetcher: Fetcher,
    cache: PackageCache,
    path: str,
) -> Path | None:
    found = listed.get(path)
    if found is None:
        package = package_at(path)
        if package is None:
            return None
        found = wanted(package, fetcher, cache)
    fetcher.download([found], cache, _LABEL)
    return found.dest
