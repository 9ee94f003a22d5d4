"""Arch's packages that lie beside a recipe: see `tmplbuild.archives.local`."""

from __future__ import annotations

from collections.abc import Sequence

from tmplbuild.archives import local
from tmplbuild.archives.alpm import version
from tmplbuild.archives.alpm.database import Entry, entry_of
from tmplbuild.archives.alpm.pool import Pool
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.local import ROLE, LocalFile

# What a database calls the keys of a .PKGINFO, PKGBUILD(5).
_SECTIONS = {
    "pkgname": "NAME",
    "pkgver": "VERSION",
    "pkgbase": "BASE",
    "arch": "ARCH",
    "builddate": "BUILDDATE",
    "depend": "DEPENDS",
    "provides": "PROVIDES",
    "conflict": "CONFLICTS",
    "replaces": "REPLACES",
    "group": "GROUPS",
}


def with_local(pool: Pool, files: Sequence[LocalFile], cache: PackageCache) -> tuple[Pool, list[str]]:
    """A pool that has these packages, too, and their names.

    pacman takes a package from the first repository that has it; one from beside the recipe comes first if it
    is newer than all of these: else the live upgrade would take it back.

    Raises VerifyError for a file that is no package, ResolveError for one of another architecture.
    """
    place = len(pool.homes)
    found = [_entry(file, (place, number)) for number, file in enumerate(files)]
    more = pool.copy()
    more.homes = (*pool.homes, (ROLE, ROLE))
    for entry, file in zip(found, files, strict=True):
        file.refuse_arch(entry.arch, (pool.arch, "any"))
        more.add([entry])
        rows = more.named[entry.name]
        if all(version.compare(entry.version, one.version) > 0 for one in rows[:-1]):
            rows.insert(0, rows.pop())
    return more, [entry.name for entry in found]


def _entry(file: LocalFile, place: tuple[int, int]) -> Entry:
    fields = {_SECTIONS[key]: row for key, row in local.pkginfo(file).items() if key in _SECTIONS}
    fields |= {"FILENAME": [file.path.name], "CSIZE": [str(file.size)], "SHA256SUM": [file.sha256]}
    return entry_of(fields, place, str(file.path))
