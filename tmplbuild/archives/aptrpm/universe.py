"""All that a request could come to: what each package needs, who could give it, and what cannot be.

From the packages asked for, every package that satisfies any dependency is looked at in turn. A
dependency is a `Need`, shared by all who have it. A package one of whose needs nobody can meet is
broken, and so is one that needs only broken ones; no choice that is made later considers these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from tmplbuild.archives.aptrpm import evr, setversion
from tmplbuild.archives.aptrpm.depends import Dep
from tmplbuild.archives.aptrpm.entry import Entry
from tmplbuild.archives.aptrpm.pool import Pool


@dataclass(frozen=True, slots=True)
class Need:
    """A dependency, and the packages that satisfy it (without those that the recipe excludes)."""

    number: int
    dep: Dep
    options: tuple[int, ...]


class Universe:
    """What can be reached from `roots` (numbers of packages), `exclude` left out (names)."""

    def __init__(self, pool: Pool, roots: Iterable[int], exclude: frozenset[str] = frozenset()) -> None:
        self.pool = pool
        self.exclude = exclude
        self.needs: dict[int, tuple[Need, ...]] = {}
        """Every package that was reached, with what it needs."""
        self.broken: dict[int, Need] = {}
        """Packages that cannot be installed, with the need that is not met."""
        self._by_dep: dict[tuple[str, int, str], Need] = {}
        self._reach(roots)
        self._find_broken()
        self._refused: dict[int, tuple[tuple[int, Dep], ...]] = {}

    @property
    def all_needs(self) -> Collection[Need]:
        """Every need of every package."""
        return self._by_dep.values()

    def options(self, need: Need) -> list[int]:
        """Who can meet a need and is not broken."""
        return [number for number in need.options if number not in self.broken]

    def refused(self, number: int) -> tuple[tuple[int, Dep], ...]:
        """The packages in reach that this one cannot stand beside, by its own Conflicts or Obsoletes.
        A package never refuses itself."""
        found = self._refused.get(number)
        if found is None:
            found = self._refused[number] = tuple(self._refusals(self.pool.entry(number)))
        return found

    def _refusals(self, entry: Entry) -> Iterator[tuple[int, Dep]]:
        for dep in entry.conflicts:
            yield from self._others(entry, dep, self.pool.satisfying(dep))
        for dep in entry.obsoletes:
            yield from self._others(entry, dep, self.pool.obsoleted(dep))

    def _others(self, entry: Entry, dep: Dep, numbers: Iterable[int]) -> Iterator[tuple[int, Dep]]:
        for number in numbers:
            if number != entry.number and number in self.needs:
                yield number, dep

    # -- reaching --------------------------------------------------------------------------------

    def _reach(self, roots: Iterable[int]) -> None:
        todo = list(dict.fromkeys(roots))
        seen = set(todo)
        for number in todo:  # grows while it is walked
            needs = tuple(self._need(dep) for dep in self.pool.entry(number).requires if not _given(dep))
            self.needs[number] = needs
            for need in needs:
                for option in need.options:
                    if option not in seen:
                        seen.add(option)
                        todo.append(option)

    def _need(self, dep: Dep) -> Need:
        key = (dep.name, dep.flags & evr.SENSE, dep.version)
        found = self._by_dep.get(key)
        if found is None:
            options = () if dep.of_rpm else self.pool.satisfying(dep)
            if self.exclude:
                options = tuple(n for n in options if self.pool.entry(n).name not in self.exclude)
            found = self._by_dep[key] = Need(len(self._by_dep), dep, options)
        return found

    def _find_broken(self) -> None:
        users: dict[int, list[int]] = {}
        serves: dict[int, list[Need]] = {}
        for number, needs in self.needs.items():
            for need in needs:
                users.setdefault(need.number, []).append(number)
        left = {need.number: len(need.options) for need in self._by_dep.values()}
        for need in self._by_dep.values():
            for option in need.options:
                serves.setdefault(option, []).append(need)
        dead = [need for need in self._by_dep.values() if not need.options]
        for need in dead:  # grows while it is walked
            for user in users.get(need.number, ()):
                if user in self.broken:
                    continue
                self.broken[user] = need
                for served in serves.get(user, ()):
                    left[served.number] -= 1
                    if not left[served.number]:
                        dead.append(served)

    # -- words -----------------------------------------------------------------------------------

    def blame(self, number: int) -> tuple[list[str], Need, int]:
        """Why a broken package cannot be installed: who needs what, link by link, the need that
        nobody meets, and the package that has it."""
        links: list[str] = []
        while True:
            need = self.broken[number]
            entry = self.pool.entry(number)
            if not need.options:
                return links, need, number
            # what broke a package was broken before it, so this ends
            following = min(need.options, key=list(self.broken).index)
            links.append(f"{entry.name} needs {need.dep} ({self.pool.entry(following).name})")
            number = following

    def why_none(self, dep: Dep) -> str:
        """Why nobody meets a dependency."""
        if dep.of_rpm:
            return "ALT's rpm has no such feature"
        offers = [self.pool.entry(number) for number in self.pool.satisfying(dep)]
        if offers:
            return f"{', '.join(sorted({offer.name for offer in offers}))} is excluded by the recipe"
        rows = [_why_not(entry, provide, dep) for entry, provide in self.pool.providing(dep.name)[:8]]
        if rows:
            return "; ".join(dict.fromkeys(rows))
        near = self.pool.near(dep.name)
        return "no package provides it" + (f" (similar: {', '.join(near)})" if near else "")


def _given(dep: Dep) -> bool:
    return dep.of_rpm and dep.met_by_rpm()


def _why_not(entry: Entry, provide: Dep, dep: Dep) -> str:
    if setversion.is_set(provide.version) and setversion.is_set(dep.version):
        try:
            count = setversion.lacking(provide.version, dep.version)
        except ValueError as error:
            return f"{entry} provides {dep.name}, but {error}"
        return f"{entry} provides {dep.name}, but lacks {count} of the symbols that are needed of it"
    return f"{entry} provides {provide}"
