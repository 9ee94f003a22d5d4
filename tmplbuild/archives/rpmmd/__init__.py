"""Archives of dnf's and zypper's kind (rpm-md): read verified, resolved, downloaded. The same words as
`tmplbuild.archives.deb`.

fetcher = Fetcher(mirrors.table(recipe.archives, override), emit=emit)
cache = PackageCache(root)
states = read_archives(recipe.archives, "x86_64", fetcher=fetcher, cache=cache, keys_dir=keys)
pool = open_pool(states, "x86_64")
full = closure(pool, Wishes(include=("filesystem", "dnf"), packages=("openssh-server",)))
download(full.packages, fetcher=fetcher, cache=cache)
cache.path(full.packages[0].sha256)
"""

from __future__ import annotations

from collections.abc import Sequence

from tmplbuild.archives.model import ArchiveState
from tmplbuild.archives.packages import download
from tmplbuild.archives.rpmmd.local import with_local
from tmplbuild.archives.rpmmd.pool import Pool
from tmplbuild.archives.rpmmd.reader import open_lists, read_archives
from tmplbuild.archives.rpmmd.resolver import closure
from tmplbuild.archives.rpmmd.routes import gateway_routes
from tmplbuild.archives.rpmmd.signature import vouchers

__all__ = ["closure", "download", "gateway_routes", "open_pool", "read_archives", "vouchers", "with_local"]


def open_pool(states: Sequence[ArchiveState], arch: str) -> Pool:
    """All packages of verified repositories, but those of module streams that are not active; worth keeping
    where several closures are asked for.

    Raises VerifyError for a list that cannot be read, ResolveError for a module stream that there is not.
    """
    pool = Pool(open_lists(states), arch)
    pool.choose_streams([title for state in states for title in state.modules])
    return pool
