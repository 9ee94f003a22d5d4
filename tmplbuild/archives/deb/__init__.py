"""Archives of Debian's kind: read verified, resolved, downloaded.

fetcher = Fetcher(mirrors.table(recipe.archives, override), emit=emit)
cache = PackageCache(root)
states = read_archives(recipe.archives, "amd64", fetcher=fetcher, cache=cache, keys_dir=keys)
full = closure(states, arch="amd64", priorities=("required",), packages=("openssh-server",))
download(full.packages, fetcher=fetcher, cache=cache)
cache.path(full.packages[0].sha256)
"""

from __future__ import annotations

from collections.abc import Sequence

from tmplbuild.archives.deb.closure import Request, resolve
from tmplbuild.archives.deb.pool import Pool
from tmplbuild.archives.deb.reader import open_indexes, read_archives
from tmplbuild.archives.deb.routes import gateway_routes
from tmplbuild.archives.model import ArchiveState, Closure
from tmplbuild.archives.packages import download

__all__ = ["closure", "download", "gateway_routes", "open_pool", "read_archives"]


def open_pool(states: Sequence[ArchiveState], arch: str) -> Pool:
    """All packages of verified suites; worth keeping where several closures are asked for."""
    return Pool(open_indexes(states), arch)


def closure(
    states: Sequence[ArchiveState] | Pool,
    *,
    arch: str,
    priorities: Sequence[str] = ("required",),
    include: Sequence[str] = (),
    packages: Sequence[str] = (),
    exclude: Sequence[str] = (),
    prefer: Sequence[str] = (),
    recommends: bool = False,
) -> Closure:
    """The packages that a recipe comes to; without `packages` only its base, which the full closure
    always contains.

    Parameters: as in the recipe's sections `bootstrap` and `install`; `exclude`, `prefer` and
    `recommends` have no effect on the base. Raises ResolveError.
    """
    pool = states if isinstance(states, Pool) else open_pool(states, arch)
    request = Request(
        tuple(priorities), tuple(include), tuple(packages), tuple(exclude), tuple(prefer), recommends
    )
    return resolve(pool, request)
