"""Archives of Slackware's kind: read verified, chosen by name, downloaded. The same words as
`tmplbuild.archives.deb`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from tmplbuild.archives.model import ArchiveState, Closure
from tmplbuild.archives.slackware.local import with_local
from tmplbuild.archives.slackware.pool import Pool
from tmplbuild.archives.slackware.reader import package, read_archives, read_suite
from tmplbuild.archives.slackware.routes import gateway_routes
from tmplbuild.archives.slackware.signature import vouchers
from tmplbuild.archives.wishes import Wishes
from tmplbuild.errors import ResolveError

__all__ = ["closure", "gateway_routes", "open_pool", "read_archives", "vouchers", "with_local"]

SERIES = "series-"
"""Before the name of a series: all of its packages."""


def open_pool(states: Sequence[ArchiveState], arch: str) -> Pool:
    """All packages of verified suites. Raises VerifyError for a list that cannot be read."""
    pool = Pool({}, {}, arch)
    for state in states:
        for suite in state.suites:
            for entry in read_suite(suite):
                known = entry.name in pool.found
                pool.found[entry.name] = package(state.role, entry)
                if not known:
                    pool.series.setdefault(entry.series, []).append(entry.name)
    return pool


def closure(pool: Pool, wishes: Wishes) -> Closure:
    """The packages that a recipe names, by name or by series ("series-a"); Slackware's know no
    dependencies, so there is nothing else: `priorities`, `prefer` and `recommends` have no effect.

    Raises ResolveError, VerifyError.
    """
    names = [name for wanted in (*wishes.include, *wishes.packages) for name in _named(pool, wanted)]
    found = {name: pool.found[name] for name in sorted(set(names)) if name not in wishes.exclude}
    return Closure(tuple(found.values()), frozenset())


def _named(pool: Pool, wanted: str) -> list[str]:
    if wanted in pool.found:
        return [wanted]
    series = pool.series.get(wanted.removeprefix(SERIES)) if wanted.startswith(SERIES) else None
    if series is not None:
        return series
    near = difflib.get_close_matches(wanted, pool.found, n=2, cutoff=0.6)
    raise ResolveError(
        f"there is no package {wanted!r} in the recipe's archives",
        hint=f"did you mean {' or '.join(near)}?" if near else "check the name and the archives' suites",
    )
