"""Archives of dnf's and zypper's kind (rpm-md): read verified, resolved, downloaded. The same words as
`tmplbuild.archives.deb`.

fetcher = Fetcher(mirrors.table(recipe.archives, override), emit=emit)
cache = PackageCache(root)
states = read_archives(recipe.archives, "x86_64", fetcher=fetcher, cache=cache, keys_dir=keys)
full = closure(states, arch="x86_64", include=("filesystem", "dnf"), packages=("openssh-server",))
download(full.packages, fetcher=fetcher, cache=cache)
cache.path(full.packages[0].sha256)
"""

from __future__ import annotations

from collections.abc import Sequence

from tmplbuild.archives.model import ArchiveState, Closure
from tmplbuild.archives.packages import download
from tmplbuild.archives.rpmmd.closure import Request, resolve
from tmplbuild.archives.rpmmd.pool import Pool
from tmplbuild.archives.rpmmd.reader import open_lists, read_archives
from tmplbuild.archives.rpmmd.routes import gateway_routes
from tmplbuild.archives.rpmmd.signature import vouchers

__all__ = ["closure", "download", "gateway_routes", "open_pool", "read_archives", "vouchers"]


def open_pool(states: Sequence[ArchiveState], arch: str) -> Pool:
    """All packages of verified repositories; worth keeping where several closures are asked for.

    Raises VerifyError for a list that cannot be read.
    """
    return Pool(open_lists(states), arch)


def closure(
    states: Sequence[ArchiveState] | Pool,
    *,
    arch: str,
    priorities: Sequence[str] = (),
    include: Sequence[str] = (),
    packages: Sequence[str] = (),
    exclude: Sequence[str] = (),
    prefer: Sequence[str] = (),
    recommends: bool = False,
) -> Closure:
    """The packages that a recipe comes to; without `packages` only its base, which the full closure
    always contains.

    Parameters: as in the recipe's sections `bootstrap` and `install`; `exclude`, `prefer` and
    `recommends` have no effect on the base. There are no priorities: `priorities` has no effect.

    Raises ResolveError, VerifyError.
    """
    pool = states if isinstance(states, Pool) else open_pool(states, arch)
    request = Request(tuple(include), tuple(packages), tuple(exclude), tuple(prefer), recommends)
    return resolve(pool, request)
