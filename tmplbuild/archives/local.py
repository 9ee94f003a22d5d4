"""Packages that lie beside a recipe, as if an archive of their own listed them, whatever their format.

Nobody signed them: their digests are in the recipe, or were taken when it was read, and are pinned. Each
family of archives reads their own headers into entries as its lists have them (`with_local`), so that what
follows knows of no difference.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tmplbuild.archives import zstd
from tmplbuild.archives.cache import PackageCache, write_all
from tmplbuild.archives.model import Closure
from tmplbuild.core.tarread import TarReader
from tmplbuild.core.untar import open_tarball
from tmplbuild.errors import ResolveError, VerifyError

ROLE = "local"
"""What such a package's archive is called."""

_PIECE = 1 << 20
_HEAD_LIMIT = 16 << 20  # bytes of a file that tells of a package
_FIRST_MEMBERS = 32


@dataclass(frozen=True, slots=True)
class LocalFile:
    """One of them: `path` as it lies beside the recipe, `cached` as it was taken into the cache; `size` in
    bytes."""

    path: Path
    cached: Path
    sha256: str
    size: int

    @property
    def filename(self) -> str:
        """Its path below the address that such an archive would have."""
        return f"{ROLE}/{self.path.name}"

    def refuse_arch(self, arch: str, wanted: Sequence[str]) -> None:
        """Make sure that it is for one of these architectures. Raises ResolveError."""
        if arch not in wanted:
            raise ResolveError(
                "a local package is for another architecture",
                where=str(self.path),
                why=f"it is for {arch[:40] or 'none'}, the template for {wanted[0]}",
            )

    def bad(self, why: str) -> VerifyError:
        """The error for one that cannot be read."""
        return VerifyError("a local package cannot be read", where=str(self.path), why=why)


def taken_in(files: Mapping[Path, str], cache: PackageCache) -> list[LocalFile]:
    """Take files into the cache.

    Parameters:
        files: the sha256 by file.

    Raises VerifyError for one that is another than its digest says, StoreError.
    """
    found = []
    for path, sha256 in files.items():
        bring(path, sha256, cache)
        cached = cache.path(sha256)
        found.append(LocalFile(path, cached, sha256, cached.stat().st_size))
    return found


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
                write_all(fd, piece)
        if seen.hexdigest() != sha256:
            raise VerifyError(
                "a local package is not the one that was meant",
                where=str(path),
                why=f"its sha256 is {seen.hexdigest()}, not {sha256}",
            )
        cache.keep(dest)


def refuse_others(closure: Closure, files: Sequence[LocalFile], names: Sequence[str]) -> None:
    """See that the very files are taken, not what an archive has under their names. Raises ResolveError.

    Parameters:
        names: of the packages in the files.
    """
    taken = {package.sha256 for package in closure.packages}
    for file, name in zip(files, names, strict=True):
        if file.sha256 not in taken:
            same = [one for one in closure.packages if one.name == name]
            raise ResolveError(
                "a local package is not what would be installed",
                where=str(file.path),
                why=", ".join(f"{one.archive} has {one.name} {one.version}" for one in same),
                hint="give it a later version, such as one that ends in +local1",
            )


def pkginfo(file: LocalFile) -> dict[str, list[str]]:
    """The file .PKGINFO of a package that is a tarball: the values by key, of lines KEY = VALUE.

    Raises VerifyError for one that has none.
    """
    try:
        with open_tarball(file.cached, zstd=zstd.open_reader) as stream:
            reader = TarReader(stream)
            for _, member in zip(range(_FIRST_MEMBERS), reader, strict=False):
                if member.name == ".PKGINFO" and member.kind == "file" and member.size <= _HEAD_LIMIT:
                    return _rows(b"".join(reader.chunks()).decode("utf-8", "replace"))
    except VerifyError:
        raise
    except Exception as error:  # each kind of compression has errors of its own
        raise file.bad(str(error) or type(error).__name__) from error
    raise file.bad("it has no .PKGINFO among its first files")


def _rows(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, sign, value = line.partition(" = ")
        if sign and not line.startswith("#"):
            found.setdefault(key.strip(), []).append(value.strip())
    return found
