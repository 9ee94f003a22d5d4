"""Archives of Alpine's kind: read verified, resolved, downloaded. The same words as
`tmplbuild.archives.deb`."""

from __future__ import annotations

from collections.abc import Sequence

from tmplbuild.archives.apk.index import Entry
from tmplbuild.archives.apk.local import with_local
from tmplbuild.archives.apk.pool import Pool
from tmplbuild.archives.apk.reader import package, read_archives, read_suite
from tmplbuild.archives.apk.routes import gateway_routes
from tmplbuild.archives.apk.solver import Universe, solve
from tmplbuild.archives.model import ArchiveState, Closure, Package
from tmplbuild.archives.wishes import Wishes

__all__ = ["closure", "gateway_routes", "open_pool", "read_archives", "with_local"]


def open_pool(states: Sequence[ArchiveState], arch: str) -> Pool:
    """All packages of verified repositories; worth keeping where several closures are asked for.

    Raises VerifyError for a list that cannot be read.
    """
    rows = [(state.role, suite) for state in states for suite in state.suites]
    entries = [entry for number, (_, suite) in enumerate(rows) for entry in read_suite(suite, number)]
    return Pool(Universe(entries), tuple((role, suite.suite) for role, suite in rows), arch)


def closure(pool: Pool, wishes: Wishes) -> Closure:
    """The packages that a recipe comes to; without `packages` only its base.

    Alpine has neither priorities nor recommendations: `priorities` and `recommends` have no effect.

    Raises ResolveError, VerifyError.
    """
    base = solve(pool.universe, wishes.include)
    wishes.refuse_excluded(one.name for one in base)
    # what the base has stays as it is: asked for by name, it is taken before anything else
    names = tuple(dict.fromkeys((*wishes.include, *wishes.packages)))
    kept = (*wishes.prefer, *(one.name for one in base))
    full = solve(pool.universe, names, exclude=wishes.exclude, prefer=kept) if wishes.packages else base
    found = sorted(full, key=lambda one: one.name)
    return Closure(
        tuple(_package(pool, one) for one in found), frozenset(one.name for one in found) - set(names)
    )


def _package(pool: Pool, entry: Entry) -> Package:
    role, suite = pool.homes[entry.place[0]]
    return package(role, suite, entry)
