"""What a gateway gives out of verified suites: their Release, whatever it lists, and the packages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.deb import release as releases
from tmplbuild.archives.deb.index import PackagesIndex
from tmplbuild.archives.deb.reader import open_indexes
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.gateway import Route
from tmplbuild.archives.model import ArchiveState, SuiteState
from tmplbuild.recipes.model import Archive

_LABEL = "upgrade"


def gateway_routes(
    archives: Mapping[str, Archive], states: Sequence[ArchiveState], *, fetcher: Fetcher, cache: PackageCache
) -> tuple[Route, ...]:
    """One route for each archive, at its public address.

    Release files are those that were verified, even if the mirrors have newer ones by now; all else
    is fetched when asked for, and given after its hash was checked.
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
    indexes = open_indexes([state])
    return Route(archive.public, files, partial(_fetch, state.role, listed, indexes, fetcher, cache))


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


def _fetch(
    role: str,
    listed: Mapping[str, Wanted],
    indexes: Sequence[PackagesIndex],
    fetcher: Fetcher,
    cache: PackageCache,
    path: str,
) -> Path | None:
    wanted = listed.get(path) or _package(role, indexes, cache, path)
    if wanted is None:
        return None
    fetcher.download([wanted], cache, _LABEL)
    return wanted.dest


def _package(role: str, indexes: Sequence[PackagesIndex], cache: PackageCache, path: str) -> Wanted | None:
    # pool/main/g/glibc/libc6_2.36-9_amd64.deb: the name before the underscore leads to the entry
    name = path.rpartition("/")[2].partition("_")[0]
    for index in indexes:
        for package in index.named(name):
            if package.filename == path:
                dest = cache.path(package.sha256)
                return Wanted(role, (path,), package.size, package.sha256, dest)
    return None
