"""Archives of Arch's kind: read, resolved, each package verified. The same words as
`tmplbuild.archives.deb`."""

from __future__ import annotations

from collections.abc import Sequence

from tmplbuild.archives.alpm.local import with_local
from tmplbuild.archives.alpm.pool import Pool
from tmplbuild.archives.alpm.reader import read_archives
from tmplbuild.archives.alpm.resolver import resolve
from tmplbuild.archives.alpm.routes import gateway_routes
from tmplbuild.archives.alpm.signature import vouchers
from tmplbuild.archives.model import ArchiveState, Closure
from tmplbuild.archives.wishes import Wishes

__all__ = ["closure", "gateway_routes", "open_pool", "read_archives", "vouchers", "with_local"]


def open_pool(states: Sequence[ArchiveState], arch: str) -> Pool:
    """All packages of the repositories; worth keeping where several closures are asked for.

    Raises VerifyError for a database that cannot be read.
    """
    return Pool.of(states, arch)


def closure(pool: Pool, wishes: Wishes) -> Closure:
    """The packages that a recipe comes to; without `packages` only its base.

    Arch has neither priorities nor recommendations: `priorities` and `recommends` have no effect.

    Raises ResolveError, VerifyError.
    """
    base, asked = resolve(pool, wishes.include)
    wishes.refuse_excluded(one.name for one in base)
    full = base
    if wishes.packages:
        full, asked = resolve(
            pool,
            (*wishes.include, *wishes.packages),
            fixed=base,
            exclude=wishes.exclude,
            prefer=wishes.prefer,
        )
    found = sorted(full, key=lambda one: one.name)
    return Closure(tuple(map(pool.package, found)), frozenset(one.name for one in found) - asked)
