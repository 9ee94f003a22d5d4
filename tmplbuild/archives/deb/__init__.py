"""Archives of Debian's kind: read verified, resolved, downloaded.

fetcher = Fetcher(mirrors.table(recipe.archives, override), emit=emit)
cache = PackageCache(root)
states = read_archives(recipe.archives, "amd64", fetcher=fetcher, cache=cache, keys_dir=keys)
pool = open_pool(states, "amd64")
full = closure(pool, Wishes(priorities=("required",), packages=("openssh-server",)))
download(full.packages, fetcher=fetcher, cache=cache)
cache.path(full.packages[0].sha256)
"""

from __future__ import annotations

from collections.abc import Sequence

from tmplbuild.archives.deb.local import with_local
from tmplbuild.archives.deb.pool import Pool
from tmplbuild.archives.deb.reader import open_indexes, read_archives
from tmplbuild.archives.deb.resolver import closure
from tmplbuild.archives.deb.routes import gateway_routes
from tmplbuild.archives.model import ArchiveState
from tmplbuild.archives.packages import download

__all__ = ["closure", "download", "gateway_routes", "open_pool", "read_archives", "with_local"]


def open_pool(states: Sequence[ArchiveState], arch: str) -> Pool:
    """All packages of verified suites; worth keeping where several closures are asked for."""
    return Pool(open_indexes(states), arch)
