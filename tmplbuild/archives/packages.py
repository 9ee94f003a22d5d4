"""Packages into the cache, whatever their archive's format.

An archive's index says what a package's hash is. Where the index itself is signed, that is all; where the
packages are, each passes a check of its own before it is used: the fetcher knows, by role, which
(`tmplbuild.engine.families.vouchers`).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.cache import PackageCache, write_whole
from tmplbuild.archives.fetch import Answer, Fetcher, Voucher
from tmplbuild.archives.model import Package

_BESIDE_LIMIT = 64 << 10


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
        None if vouch is None else partial(_passes, vouch, package, fetcher, cache),
    )


def kept_beside(package: Package, suffix: str, cache: PackageCache) -> Path:
    """Where the cache keeps a small file that lay beside a package (its signature)."""
    return cache.path(package.sha256).with_suffix(suffix)


def _passes(vouch: Voucher, package: Package, fetcher: Fetcher, cache: PackageCache, fd: int) -> None:
    """Have a package's file checked, and keep what came with it. Raises VerifyError, FetchError."""
    fresh: dict[Path, bytes] = {}

    def beside(suffix: str, known: bytes) -> bytes:
        kept = kept_beside(package, suffix, cache)
        with suppress(FileNotFoundError):
            return kept.read_bytes()
        path = package.filename + suffix
        fresh[kept] = known or fetcher.get(package.archive, path, _body, limit=_BESIDE_LIMIT)
        return fresh[kept]

    vouch(package, fd, beside)
    for path, data in fresh.items():
        write_whole(path, data)


def _body(answer: Answer) -> bytes:
    return answer.body or b""
