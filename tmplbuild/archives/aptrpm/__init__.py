"""Archives of ALT's kind (apt-rpm): read verified, resolved, downloaded. The same words as
`tmplbuild.archives.deb`.

fetcher = Fetcher(mirrors.table(recipe.archives, override), emit=emit)
cache = PackageCache(root)
states = read_archives(recipe.archives, "x86_64", fetcher=fetcher, cache=cache, keys_dir=keys)
pool = open_pool(states, "x86_64")
full = closure(pool, Wishes(include=("basesystem", "apt"), packages=("openssh-server",)))
download(full.packages, fetcher=fetcher, cache=cache)
cache.path(full.packages[0].sha256)
"""

from __future__ import annotations

from collections.abc import Sequence

from tmplbuild.archives.aptrpm.local import with_local
from tmplbuild.archives.aptrpm.pool import Pool
from tmplbuild.archives.aptrpm.reader import open_lists, read_archives
from tmplbuild.archives.aptrpm.resolver import closure
from tmplbuild.archives.aptrpm.routes import gateway_routes
from tmplbuild.archives.model import ArchiveState
from tmplbuild.archives.packages import download

__all__ = ["closure", "download", "gateway_routes", "open_pool", "read_archives", "with_local"]


def open_pool(states: Sequence[ArchiveState], arch: str) -> Pool:
    """All packages of verified suites; worth keeping where several closures are asked for.

    The branch whose builds win over others of the same version is the first part of the first
    suite's directory ("p11" of "p11/branch/x86_64"). Raises VerifyError for a malformed list.
    """
    suites = [suite.suite for state in states for suite in state.suites]
    return Pool(open_lists(states), arch, branch=suites[0].partition("/")[0].lower() if suites else "")
