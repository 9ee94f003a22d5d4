"""Which packages a request comes to, as pacman works it out.

Each dependency is met by a package that is taken already; else by the one of that name in the first
repository that has it; else by the first that provides it, in the order of the repositories (pacman asks,
and takes that one where nobody answers). Nothing is tried again: where packages conflict, pacman refuses,
and so does this.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence

from tmplbuild.archives.alpm.database import Dep, Entry, parse
from tmplbuild.archives.alpm.pool import Pool
from tmplbuild.errors import ResolveError


def resolve(
    pool: Pool,
    names: Sequence[str],
    *,
    fixed: Iterable[Entry] = (),
    exclude: Collection[str] = (),
    prefer: Sequence[str] = (),
) -> tuple[list[Entry], frozenset[str]]:
    """The packages of a request on top of `fixed`, and the names of those that it names itself.

    Parameters:
        names: of packages, of groups (all of their packages), or of what packages provide.

    Raises ResolveError.
    """
    taken = {one.name: one for one in fixed}
    finder = _Finder(pool, taken, frozenset(exclude), (*names, *prefer))
    asked: set[str] = set()
    for name in names:
        if name in exclude:
            raise ResolveError(
                f"the package {name!r} is asked for and excluded",
                where="install.exclude",
                hint="drop one of the two",
            )
        group = pool.groups.get(name, []) if name not in pool.named and name not in pool.providers else []
        wanted = [one for one in group if one.name not in exclude] or [finder.meet(parse(name), "the recipe")]
        asked |= {one.name for one in wanted}
        for one in wanted:
            finder.take(one)
    _refuse_conflicts(taken.values())
    return list(taken.values()), frozenset(asked)


class _Finder:
    """Takes packages, and what they need."""

    def __init__(
        self, pool: Pool, taken: dict[str, Entry], exclude: frozenset[str], prefer: Sequence[str]
    ) -> None:
        self._pool = pool
        self._taken = taken
        self._exclude = exclude
        self._rank = {name: at for at, name in reversed(list(enumerate(prefer)))}
        self._provided: dict[str, list[Entry]] = {}
        for one in taken.values():
            self._note(one)

    def take(self, first: Entry) -> None:
        todo = [first]
        while todo:
            entry = todo.pop()
            if entry.name in self._taken:
                continue
            self._taken[entry.name] = entry
            self._note(entry)
            # pacman follows each dependency to its end before it looks at the next one
            for dep in entry.depends:
                found = self.meet(dep, entry.name)
                if found.name not in self._taken:
                    self.take(found)

    def _note(self, entry: Entry) -> None:
        for name in (entry.name, *(one.name for one in entry.provides)):
            self._provided.setdefault(name, []).append(entry)

    def meet(self, dep: Dep, by: str) -> Entry:
        """The package for a dependency. Raises ResolveError."""
        for one in self._provided.get(dep.name, ()):
            if provides(one, dep):
                return one
        for one in self._pool.named.get(dep.name, ()):
            if one.name not in self._exclude and dep.fits(one.version):
                return one
        able = [
            one
            for one in self._pool.providers.get(dep.name, ())
            if one.name not in self._exclude and provides(one, dep)
        ]
        if able:
            last = len(self._rank)
            return min(able, key=lambda one: (self._rank.get(one.name, last), one.place[0], one.name))
        near = difflib.get_close_matches(dep.name, self._pool.named, n=2, cutoff=0.6)
        there = [f"{one.name} {one.version}" for one in self._pool.named.get(dep.name, ())]
        raise ResolveError(
            f"there is no package for {str(dep)!r} in the recipe's archives",
            why=f"{by} asks for it" + (f"; there is {', '.join(there)}" if there else ""),
            hint=f"did you mean {' or '.join(near)}?" if near else "check the name and the archives' suites",
        )


def provides(entry: Entry, dep: Dep) -> bool:
    """Whether a package is, or provides, what a dependency wants."""
    if entry.name == dep.name and dep.fits(entry.version):
        return True
    return any(one.name == dep.name and dep.fits(one.version) for one in entry.provides)


def _refuse_conflicts(taken: Iterable[Entry]) -> None:
    found = list(taken)
    holders: dict[str, list[Entry]] = {}
    for one in found:
        for name in {one.name, *(dep.name for dep in one.provides)}:
            holders.setdefault(name, []).append(one)
    for one in found:
        for dep in one.conflicts:
            for other in holders.get(dep.name, ()):
                if other is not one and provides(other, dep):
                    raise ResolveError(
                        "the packages asked for cannot be installed together",
                        why=f"{one.name} {one.version} conflicts with {other.name} {other.version}",
                        hint="take one of them out, exclude it, or prefer another alternative",
                    )
