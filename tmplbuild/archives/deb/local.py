"""Packages that lie beside a recipe, as if an archive of their own listed them.

Nobody signed them: their digests are in the recipe, or were taken when it was read, and are pinned.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.deb.debfile import open_deb
from tmplbuild.archives.deb.index import PackagesIndex, build_table
from tmplbuild.archives.deb.pool import Pool
from tmplbuild.archives.deb822 import pairs
from tmplbuild.archives.model import Closure
from tmplbuild.errors import ResolveError, VerifyError

ROLE = "local"
"""What such a package's archive is called."""

_PIECE = 1 << 20


def with_files(pool: Pool, files: Mapping[Path, str], cache: PackageCache) -> tuple[Pool, list[str]]:
    """A pool that has the packages, too, and their names.

    Parameters:
        files: the sha256 by file. They are taken into the cache.

    Raises VerifyError for a file that is no package or another one than its digest says, ResolveError
    for one of another architecture, StoreError.
    """
    stanzas, names = [], []
    for path, sha256 in files.items():
        bring(path, sha256, cache)
        text = _control(cache.path(sha256), path)
        fields = dict(pairs(text))
        if fields.get("Architecture") not in (pool.arch, "all"):
            raise ResolveError(
                "a local package is for another architecture",
                where=str(path),
                why=f"it is for {fields.get('Architecture')}, the template for {pool.arch}",
            )
        size = cache.path(sha256).stat().st_size
        stanzas.append(f"{text.strip()}\nFilename: {ROLE}/{path.name}\nSize: {size}\nSHA256: {sha256}\n")
        names.append(fields.get("Package", ""))
    index = _index("\n".join(stanzas).encode(), cache)
    return Pool([*pool.indexes, index], pool.arch), names


def refuse_others(closure: Closure, files: Mapping[Path, str]) -> None:
    """See that the very files are taken, not what an archive has under their names. Raises ResolveError."""
    taken = {package.sha256 for package in closure.packages}
    for path, sha256 in files.items():
        if sha256 not in taken:
            same = [one for one in closure.packages if path.name.startswith(f"{one.name}_")]
            raise ResolveError(
                "a local package is not what would be installed",
                where=str(path),
                why=", ".join(f"{one.archive} has {one.name} {one.version}" for one in same),
                hint="give it a later version, such as one that ends in +local1",
            )


def bring(path: Path, sha256: str, cache: PackageCache) -> None:
    """Take a file into the cache, if it is what its digest says. Raises VerifyError, StoreError."""
    dest = cache.path(sha256)
    with cache.claim(dest) as fd:
        if fd is None:
            return
        seen = hashlib.sha256()
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                seen.update(piece)
                view = memoryview(piece)
                while view:
                    view = view[os.write(fd, view) :]
        if seen.hexdigest() != sha256:
            raise VerifyError(
                "a local package is not the one that was meant",
                where=str(path),
                why=f"its sha256 is {seen.hexdigest()}, not {sha256}",
            )
        cache.keep(dest)


def _control(cached: Path, path: Path) -> str:
    fd = os.open(cached, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with open_deb(fd, str(path)) as found:
            return found.control["control"].content.decode("utf-8", "replace")
    finally:
        os.close(fd)


def _index(text: bytes, cache: PackageCache) -> PackagesIndex:
    plain = cache.put_index(hashlib.sha256(text).hexdigest(), text)
    table = plain.with_name(f"{plain.name}.local")
    try:
        return PackagesIndex(plain, table, role=ROLE, where="install.files")
    except (OSError, ValueError):
        build_table(plain, table)
        return PackagesIndex(plain, table, role=ROLE, where="install.files")
