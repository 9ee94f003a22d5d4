"""Which reader of archives a recipe's package manager goes with."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol, cast

from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher, Voucher
from tmplbuild.archives.gateway import Route
from tmplbuild.archives.local import LocalFile
from tmplbuild.archives.model import ArchiveState, Closure
from tmplbuild.archives.openpgp import KeysDir
from tmplbuild.archives.wishes import Wishes
from tmplbuild.recipes.model import Archive, Recipe


class Family(Protocol):
    """What a reader of archives can do: the words of `tmplbuild.archives.deb`, `.aptrpm` and `.rpmmd`."""

    def read_archives(
        self,
        archives: Mapping[str, Archive],
        arch: str,
        *,
        fetcher: Fetcher,
        cache: PackageCache,
        keys_dir: KeysDir,
        offline: bool = False,
        allow_older: bool = False,
    ) -> tuple[ArchiveState, ...]: ...

    def open_pool(self, states: Sequence[ArchiveState], arch: str) -> Any: ...

    def with_local(
        self, pool: Any, files: Sequence[LocalFile], cache: PackageCache
    ) -> tuple[Any, list[str]]: ...

    def closure(self, pool: Any, wishes: Wishes) -> Closure: ...

    def vouchers(
        self, archives: Mapping[str, Archive], keys_dir: KeysDir, now: float
    ) -> Mapping[str, Voucher]: ...  # where a recipe may say that packages are signed

    def gateway_routes(
        self,
        archives: Mapping[str, Archive],
        states: Sequence[ArchiveState],
        *,
        fetcher: Fetcher,
        cache: PackageCache,
    ) -> tuple[Route, ...]: ...


_FAMILIES = {
    "apt-deb": "tmplbuild.archives.deb",
    "apt-rpm": "tmplbuild.archives.aptrpm",
    "dnf": "tmplbuild.archives.rpmmd",
    "zypper": "tmplbuild.archives.rpmmd",
    "apk": "tmplbuild.archives.apk",
    "pacman": "tmplbuild.archives.alpm",
    "slackpkg": "tmplbuild.archives.slackware",
}


def of(recipe: Recipe) -> Family:
    """The reader for a recipe. A package manager reads one kind of archive, so it decides."""
    return cast(Family, import_module(_FAMILIES[recipe.upgrade.manager]))


def vouchers(recipe: Recipe, keys_dir: KeysDir) -> Mapping[str, Voucher]:
    """By archive, what its packages have to pass where they are signed themselves."""
    if all(archive.signed == "index" for archive in recipe.archives.values()):
        return {}
    found: Mapping[str, Voucher] = of(recipe).vouchers(recipe.archives, keys_dir, time.time())
    return found
