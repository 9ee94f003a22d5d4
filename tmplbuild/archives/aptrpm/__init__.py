"""Archives of ALT's kind (apt-rpm): read verified, resolved, downloaded. The same words as
`tmplbuild.archives.deb`.

fetcher = Fetcher(mirrors.table(recipe.archives, override), emit=emit)
cache = PackageCache(root)
states = read_archives(recipe.archives, "x86_64", fetcher=fetcher, cache=cache, keys_dir=keys)
full = closure(states, arch="x86_64", include=("basesystem", "apt"), packages=("openssh-server",))
download(full.packages, fetcher=fetcher, cache=cache)
cache.path(full.packages[0].sha256)
"""

from __future__ import annotations

from collections.abc import Sequence

from tmplbuild.archives.aptrpm.closure import Request, resolve
from tmplbuild.archives.aptrpm.pool import Pool
from tmplbuild.archives.aptrpm.reader import open_lists, read_archives
from tmplbuild.archives.aptrpm.routes import gateway_routes
from tmplbuild.archives.model import ArchiveState, Closure
from tmplbuild.archives.packages import download

__all__ = ["closure", "download", "gateway_routes", "open_pool", "read_archives"]


def open_pool(states: Sequence[ArchiveState], arch: str) -> Pool:
    """All packages of verified suites; worth keeping where several closures are asked for.

    The branch whose builds win over others of the same version is the first part of the first
    suite's directory ("p11" of "p11/branch/x86_64"). Raises VerifyError for a malformed list.
    """
    suites = [suite.suite for state in states for suite in state.suites]
    return Pool(open_lists(states), arch, branch=suites[0].partition("/")[0].lower() if suites else "")


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

    Parameters: as in the recipe's sections `bootstrap` and `install`; `exclude` and `prefer` have no
    effect on the base, whose choices `include` settles by naming what is wanted. ALT's lists know
    neither priorities nor recommendations: `priorities` and `recommends` have no effect.

    Raises ResolveError, VerifyError.
    """
    pool = states if isinstance(states, Pool) else open_pool(states, arch)
    return resolve(pool, Request(arch, tuple(include), tuple(packages), tuple(exclude), tuple(prefer)))
