"""Slackware's packages that lie beside a recipe: see `tmplbuild.archives.local`."""

from __future__ import annotations

from collections.abc import Sequence

from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.local import ROLE, LocalFile
from tmplbuild.archives.model import Package
from tmplbuild.archives.slackware.listing import FILE
from tmplbuild.archives.slackware.pool import Pool
from tmplbuild.errors import ResolveError


def with_local(pool: Pool, files: Sequence[LocalFile], cache: PackageCache) -> tuple[Pool, list[str]]:
    """A pool that has these packages, too, and their names.

    Raises VerifyError for a file that is called like none, ResolveError for one of another architecture,
    and for one that an archive has, too: versions have no order, and slackpkg would put the archive's in its
    place.
    """
    found = dict(pool.found)
    names = []
    for file in files:
        match = FILE.fullmatch(file.path.name)
        if match is None:
            raise file.bad("it is not called NAME-VERSION-ARCH-BUILD.txz")
        file.refuse_arch(match["arch"], (pool.arch, "noarch", "fw"))
        name = match["name"]
        if (other := pool.found.get(name)) is not None:
            raise ResolveError(
                "a local package has the name of one in the archives",
                where=str(file.path),
                why=f"{other.archive} has {name} {other.version}, which slackpkg would put in its place",
                hint="give it another name",
            )
        version = f"{match['version']}-{match['build']}"
        found[name] = Package(name, version, match["arch"], ROLE, file.filename, file.size, file.sha256)
        names.append(name)
    return Pool(found, pool.series, pool.arch), names
