"""Archives of Arch's kind: read, resolved, each package verified. The same words as
`tmplbuild.archives.deb`."""

from __future__ import annotations

from collections.abc import Sequence

from tmplbuild.archives import wishes
from tmplbuild.archives.alpm.pool import Pool
from tmplbuild.archives.alpm.reader import read_archives
from tmplbuild.archives.alpm.resolver import resolve
from tmplbuild.archives.alpm.routes import gateway_routes
from tmplbuild.archives.alpm.signature import vouchers
from tmplbuild.archives.model import ArchiveState, Closure

__all__ = ["closure", "gateway_routes", "open_pool", "read_archives", "vouchers"]


def open_pool(states: Sequence[ArchiveState], arch: str) -> Pool:
    """All packages of the repositories; worth keeping where several closures are asked for.

    Raises VerifyError for a database that cannot be read.
    """
    return Pool.of(states)


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
    """The packages that a recipe comes to; without `packages` only its base.

    Parameters: as in the recipe's sections `bootstrap` and `install`. Arch has neither priorities nor
    recommendations: `priorities` and `recommends` have no effect.

    Raises ResolveError, VerifyError.
    """
    pool = states if isinstance(states, Pool) else open_pool(states, arch)
    base, asked = resolve(pool, include, prefer=prefer)
    wishes.refuse_excluded((one.name for one in base), exclude)
    full = base
    if packages:
        full, asked = resolve(pool, (*include, *packages), fixed=base, exclude=exclude, prefer=prefer)
    found = sorted(full, key=lambda one: one.name)
    names = frozenset(one.name for one in found)
    return Closure(tuple(map(pool.package, found)), names - asked)
