"""Alpine's packages that lie beside a recipe: see `tmplbuild.archives.local`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tmplbuild.archives import local
from tmplbuild.archives.apk.index import Entry, entry_of
from tmplbuild.archives.apk.pool import Pool
from tmplbuild.archives.apk.solver import Universe
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.local import ROLE, LocalFile

# What a list calls the keys of a .PKGINFO, apk-package(5).
_LETTERS = {
    "pkgname": "P",
    "pkgver": "V",
    "arch": "A",
    "origin": "o",
    "depend": "D",
    "provides": "p",
    "install_if": "i",
    "provider_priority": "k",
}
_NO_CHECKSUM = "Q1"  # its digest is of the whole file


def with_local(pool: Pool, files: Sequence[LocalFile], cache: PackageCache) -> tuple[Pool, list[str]]:
    """A pool that has these packages, too, and their names.

    Raises VerifyError for a file that is no package, ResolveError for one of another architecture.
    """
    place = len(pool.homes)
    found = [_entry(file, (place, number)) for number, file in enumerate(files)]
    for entry, file in zip(found, files, strict=True):
        file.refuse_arch(entry.arch, (pool.arch, "noarch"))
    universe = Universe([*pool.universe.entries, *found])
    return Pool(universe, (*pool.homes, (ROLE, ROLE)), pool.arch), [entry.name for entry in found]


def _entry(file: LocalFile, place: tuple[int, int]) -> Entry:
    fields = {_LETTERS[key]: " ".join(row) for key, row in local.pkginfo(file).items() if key in _LETTERS}
    entry = entry_of({**fields, "C": _NO_CHECKSUM, "S": str(file.size)}, place)
    if entry is None:
        raise file.bad(f"its .PKGINFO says {str(fields)[:200]}")
    return replace(entry, digest=file.sha256, filename=file.path.name)
