"""Which packages a recipe comes to, by libsolv: what dnf and zypper ask themselves."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from tmplbuild.archives.libsolv import Solvable
from tmplbuild.archives.model import Closure
from tmplbuild.archives.rpmmd.pool import Pool
from tmplbuild.archives.wishes import Wishes
from tmplbuild.errors import ResolveError


def closure(pool: Pool, wishes: Wishes) -> Closure:
    """The closure of what is wished, packages by name; the base (`include`) is always a part of it.

    There are no priorities: `priorities` has no effect. Where a file is needed that no list of packages
    names, and there is no other way, the lists of all files are read (as dnf 5 does it).

    Raises ResolveError for a package that does not exist, or packages that cannot stand together; MoreWanted
    where the lists of all files have to be fetched first; VerifyError for a package that its repository
    lists without a SHA-256.
    """
    try:
        return _closure(pool, wishes)
    except _FileError as error:
        wide = pool.with_files(error.what)
        if wide is None:
            raise
    return _closure(wide, wishes)


class _FileError(ResolveError):
    """What nothing provides is a file."""


def _closure(pool: Pool, wishes: Wishes) -> Closure:
    # what is named anyway settles the choices within the base
    base = _solve(pool, wishes.include, prefer=wishes.include)
    wishes.refuse_excluded(one.name for one in base)
    full = base
    if wishes.packages:
        full = _solve(
            pool,
            wishes.packages,
            base,
            exclude=wishes.exclude,
            prefer=wishes.prefer,
            recommends=wishes.recommends,
        )
    asked = {*wishes.include, *wishes.packages}
    packages = tuple(pool.packages(full))
    names = {one.name for one in packages}
    providers = {
        name: [one for one in pool.repositories.providers(name) if one in names]
        for name in sorted(asked - names)
    }
    told = [f"{name} is provided by {', '.join(found)}" for name, found in providers.items() if found]
    told += [f"the module stream {title} has some of the packages" for title in pool.streams_of(full)]
    manual = asked.union(*providers.values())
    return Closure(packages, frozenset(names - manual), tuple(told))


def _solve(
    pool: Pool,
    names: Sequence[str],
    fixed: Sequence[Solvable] = (),
    *,
    exclude: Sequence[str] = (),
    prefer: Sequence[str] = (),
    recommends: bool = False,
) -> Sequence[Solvable]:
    for name in names:
        _refuse_unknown(pool, name, exclude)
    numbers = [one.number for one in fixed]
    found = pool.repositories.solve(names, numbers, exclude=exclude, prefer=prefer, recommends=recommends)
    if found.problems:
        kind = _FileError if found.lacks_file else ResolveError
        raise kind(
            f"the packages asked for cannot be installed together: {found.problems[0]}",
            why="\n".join(found.problems[1:]),
            hint="take one of them out, exclude it, or prefer another alternative; an archive that is half "
            "updated looks like this too",
        )
    return found.taken


def _refuse_unknown(pool: Pool, name: str, exclude: Sequence[str]) -> None:
    if name in exclude:
        raise ResolveError(
            f"the package {name!r} is asked for and excluded",
            where="install.exclude",
            hint="drop one of the two",
        )
    if pool.repositories.named(name) or pool.repositories.providers(name):
        return
    if streams := pool.modules.of_package(name):
        raise ResolveError(
            f"the package {name!r} is of a module stream that is not enabled",
            where="archives.NAME.modules",
            hint=f"enable one that has it: {', '.join(streams)}",
        )
    if name.startswith("/"):
        raise _FileError(f"no package of the recipe's archives has the file {name}")
    near = difflib.get_close_matches(name, pool.repositories.names(), n=2, cutoff=0.6)
    raise ResolveError(
        f"there is no package {name!r} in the recipe's archives",
        hint=f"did you mean {' or '.join(near)}?" if near else "check the name and the archives' suites",
    )
