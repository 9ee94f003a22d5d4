"""RPM packages that lie beside a recipe: see `tmplbuild.archives.local`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tmplbuild.archives.aptrpm import header, rpmfile
from tmplbuild.archives.aptrpm.entry import Source
from tmplbuild.archives.aptrpm.header import Header
from tmplbuild.archives.aptrpm.pool import PackageList, Pool, runs
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.local import ROLE, LocalFile


def with_local(pool: Pool, files: Sequence[LocalFile], cache: PackageCache) -> tuple[Pool, list[str]]:
    """A pool that has these packages, too, and their names.

    Raises VerifyError for a file that is no package, ResolveError for one of another architecture.
    """
    heads = [read(file, pool.arch) for file in files]
    rows = [header.with_more(head, *_found_at(file)) for head, file in zip(heads, files, strict=True)]
    listed = PackageList(b"".join(rows), Source(ROLE, ROLE), "install.files")
    names = [head.text(header.NAME) for head in heads]
    return Pool([*pool.lists, listed], pool.arch, pool.branch), names


def read(file: LocalFile, arch: str) -> Header:
    """The header of a package that a tree of this architecture can have. Raises as `with_local`."""
    fd = os.open(file.cached, os.O_RDONLY | os.O_CLOEXEC)
    try:
        head = rpmfile.parts(fd, str(file.path)).main
    finally:
        os.close(fd)
    if header.SOURCEPACKAGE in head:
        raise file.bad("it is a source package")
    file.refuse_arch(head.text(header.ARCH), runs(arch))
    return head


def _found_at(file: LocalFile) -> tuple[dict[int, str], dict[int, int]]:
    """What a list of apt-rpm says of a package beside its header's own words."""
    texts = {header.APT_FILENAME: file.path.name, header.APT_DIRECTORY: "", header.APT_SHA256: file.sha256}
    return texts, {header.APT_FILESIZE: file.size}
