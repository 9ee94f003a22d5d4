"""Debian packages that lie beside a recipe: see `tmplbuild.archives.local`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.deb.debfile import open_deb
from tmplbuild.archives.deb.index import PackagesIndex, build_table
from tmplbuild.archives.deb.pool import Pool
from tmplbuild.archives.deb822 import pairs
from tmplbuild.archives.local import ROLE, LocalFile


def with_local(pool: Pool, files: Sequence[LocalFile], cache: PackageCache) -> tuple[Pool, list[str]]:
    """A pool that has these packages, too, and their names.

    Raises VerifyError for a file that is no package, ResolveError for one of another architecture.
    """
    stanzas, names = [], []
    for file in files:
        text = _control(file)
        fields = dict(pairs(text))
        file.refuse_arch(fields.get("Architecture", ""), (pool.arch, "all"))
        more = f"Filename: {file.filename}\nSize: {file.size}\nSHA256: {file.sha256}\n"
        stanzas.append(f"{text.strip()}\n{more}")
        names.append(fields.get("Package", ""))
    index = _index("\n".join(stanzas).encode(), cache)
    return Pool([*pool.indexes, index], pool.arch), names


def _control(file: LocalFile) -> str:
    fd = os.open(file.cached, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with open_deb(fd, str(file.path)) as found:
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
