"""Packages into the cache, whatever their archive's format.

An archive's index says what a package's hash is. Where the index itself is signed, that is all; where the
packages are, each passes a check of its own before it is used: the fetcher knows, by role, which
(`tmplbuild.engine.families.vouchers`).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.model import Package


def download(packages: Iterable[Package], *, fetcher: Fetcher, cache: PackageCache) -> None:
    """Bring packages into the cache, checked, several at once.

    Raises FetchError, VerifyError, StoreError.
    """
    files = [wanted(package, fetcher, cache) for package in packages]
    for item in files:
        cache.used(item.dest)
    fetcher.download(files, cache, "packages")


def wanted(package: Package, fetcher: Fetcher, cache: PackageCache) -> Wanted:
    """A package as the fetcher takes it."""
    vouch = fetcher.vouchers.get(package.archive)
    return Wanted(
        package.archive,
        (package.filename,),
        package.size,
        package.sha256,
        cache.path(package.sha256),
        None if vouch is None else partial(vouch, package),
    )
