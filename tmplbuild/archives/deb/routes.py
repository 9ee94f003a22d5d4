"""What a gateway gives out of verified suites: their Release, whatever it lists, and the packages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from tmplbuild.archives import routing
from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.deb import release as releases
from tmplbuild.archives.deb.index import PackagesIndex
from tmplbuild.archives.deb.reader import open_indexes
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.gateway import Route
from tmplbuild.archives.model import ArchiveState, Package, SuiteState
from tmplbuild.recipes.model import Archive


def gateway_routes(
    archives: Mapping[str, Archive], states: Sequence[ArchiveState], *, fetcher: Fetcher, cache: PackageCache
) -> tuple[Route, ...]:
    """One route for each archive: see `tmplbuild.archives.routing.routes`."""

    def packages(state: ArchiveState) -> routing.PackageAt:
        return partial(_package, open_indexes([state]))

    return routing.routes(archives, states, fetcher=fetcher, cache=cache, listed=_listed, packages=packages)


def _listed(role: str, suite: SuiteState, cache: PackageCache) -> dict[str, Wanted]:
    """All files that the suite's Release names, by path and by hash."""
    release = releases.parse(suite.release.local.read_bytes(), where=suite.release.path)
    found: dict[str, Wanted] = {}
    for path, entry in release.files.items():
        plain = f"dists/{suite.suite}/{path}"
        hashed = f"{plain.rpartition('/')[0]}/by-hash/SHA256/{entry.digest}"
        paths = (hashed, plain) if release.by_hash else (plain,)
        wanted = Wanted(role, paths, entry.size, entry.digest, cache.index_path(entry.digest))
        found[plain] = wanted
        found.setdefault(hashed, wanted)
    return found


def _package(indexes: Sequence[PackagesIndex], path: str) -> Package | None:
    # pool/main/g/glibc/libc6_2.36-9_amd64.deb: the name before the underscore leads to the entry
    name = path.rpartition("/")[2].partition("_")[0]
    return next(
        (package for index in indexes for package in index.named(name) if package.filename == path), None
    )
