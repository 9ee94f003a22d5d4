"""Which packages a recipe comes to, by libsolv: what dnf and zypper ask themselves."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from tmplbuild.archives import wishes
from tmplbuild.archives.libsolv import Solvable
from tmplbuild.archives.model import Closure
from tmplbuild.archives.rpmmd.pool import Pool
from tmplbuild.errors import ResolveError


@dataclass(frozen=True, slots=True)
class Request:
    """What a recipe asks for: see its sections `bootstrap` (include) and `install`."""

    include: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    prefer: tuple[str, ...] = ()
    recommends: bool = False


def resolve(pool: Pool, request: Request) -> Closure:
    """The closure of a request, packages by name; the base (`include`) is always a part of it.

    Raises ResolveError for a package that does not exist, or packages that cannot stand together;
    VerifyError for one that its repository lists without a SHA-256.
    """
    # what is named anyway settles the choices within the base
    base = _solve(pool, request.include, prefer=request.include)
    wishes.refuse_excluded((one.name for one in base), request.exclude)
    full = base
    if request.packages:
        full = _solve(
            pool,
            request.packages,
            base,
            exclude=request.exclude,
            prefer=request.prefer,
            recommends=request.recommends,
        )
    asked = {*request.include, *request.packages}
    packages = tuple(pool.packages(full))
    told = tuple(
        f"{name} is provided by {', '.join(found)}"
        for name in sorted(asked - {one.name for one in packages})
        if (found := [one for one in pool.repositories.providers(name) if one in {p.name for p in packages}])
    )
    manual = asked | {name for text in told for name in text.partition(" by ")[2].split(", ")}
    return Closure(packages, frozenset(one.name for one in packages) - manual, told)


def _solve(
    pool: Pool,
    names: Sequence[str],
    fixed: Sequence[Solvable] = (),
    *,
    exclude: Sequence[str] = (),
    prefer: Sequence[str] = (),
    recommends: bool = False,
) -> list[Solvable]:
    for name in names:
        _refuse_unknown(pool, name, exclude)
    numbers = [one.number for one in fixed]
    found, problems = pool.repositories.solve(
        names, numbers, exclude=exclude, prefer=prefer, recommends=recommends
    )
    if problems:
        raise ResolveError(
            f"the packages asked for cannot be installed together: {problems[0]}",
            why="\n".join(problems[1:]),
            hint="take one of them out, exclude it, or prefer another alternative; an archive that is half "
            "updated looks like this too",
        )
    return found


def _refuse_unknown(pool: Pool, name: str, exclude: Sequence[str]) -> None:
    if name in exclude:
        raise ResolveError(
            f"the package {name!r} is asked for and excluded",
            where="install.exclude",
            hint="drop one of the two",
        )
    if pool.repositories.named(name) or pool.repositories.providers(name):
        return
    near = difflib.get_close_matches(name, pool.repositories.names(), n=2, cutoff=0.6)
    raise ResolveError(
        f"there is no package {name!r} in the recipe's archives",
        hint=f"did you mean {' or '.join(near)}?" if near else "check the name and the archives' suites",
    )
