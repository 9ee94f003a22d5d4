"""Which packages a request comes to, as Alpine's apk chooses them.

Name by name, each gets the best of its providers: one that nothing speaks against; of the recipe's
preference; of the greatest version; of the highest provider priority; of the earlier repository. A package
that only provides a bare name, without a version or a priority, is never taken for it unasked. Where a
choice turns out to be impossible because of something that came later, it is made anew, knowing that.
Packages that are to be installed if others are (`install_if`) come last. apk-tools' solver.c does the same
with more care for what is installed already; here nothing is.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cmp_to_key

from tmplbuild.archives.apk import version
from tmplbuild.archives.apk.depends import Dep
from tmplbuild.archives.apk.index import Entry
from tmplbuild.errors import ResolveError

_TRIES = 200


@dataclass(frozen=True, slots=True)
class Provider:
    """A package that provides a name, in a version ("" for none)."""

    entry: Entry
    version: str


class Universe:
    """All packages of the archives, by what they provide."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(entries)
        self.providers: dict[str, list[Provider]] = defaultdict(list)
        self.conditional: list[Entry] = []
        for entry in self.entries:
            self.providers[entry.name].append(Provider(entry, entry.version))
            for one in entry.provides:
                self.providers[one.name].append(Provider(entry, one.version))
            if entry.install_if:
                self.conditional.append(entry)

    def named(self, name: str) -> list[Entry]:
        """All packages of that very name."""
        return [one.entry for one in self.providers.get(name, ()) if one.entry.name == name]


class _Wrong(Exception):
    """A choice that has to be made anew: another condition on a name is known now."""

    def __init__(self, by: str, dep: Dep, because: str) -> None:
        self.by, self.dep, self.because = by, dep, because


@dataclass
class _Attempt:
    """One way through all names, until it is done or something is wrong.

    Parameters:
        rules: conditions by name, with who makes them.
    """

    universe: Universe
    rank: dict[str, int]
    excluded: frozenset[str]
    rules: dict[str, dict[Dep, str]]
    taken: dict[str, Provider] = field(default_factory=dict)
    chosen: dict[str, Entry] = field(default_factory=dict)
    wanted: dict[str, str] = field(default_factory=dict)

    def run(self, request: Sequence[Dep]) -> list[Entry]:
        for dep in request:
            self._require("the recipe", dep)
        self._settle()
        while more := self._triggered():
            for entry in more:
                self._require(entry.name, Dep(entry.name, "=", entry.version))
            self._settle()
        return list(self.chosen.values())

    def _settle(self) -> None:
        while self.wanted:
            # what leaves no choice first, so that a choice is made only where one is left
            name = min(self.wanted, key=lambda one: len({p.entry.name for p in self._able(one)}) > 1)
            by = self.wanted.pop(name)
            if name not in self.taken:
                self._choose(name, by)

    def _require(self, by: str, dep: Dep) -> None:
        self.rules.setdefault(dep.name, {}).setdefault(dep, by)
        taken = self.taken.get(dep.name)
        if taken is not None and not dep.fits(taken.version):
            raise _Wrong(by, dep, taken.entry.name)
        if not dep.conflict and taken is None:
            self.wanted.setdefault(dep.name, by)

    def _able(self, name: str) -> list[Provider]:
        """The providers that may be taken without being asked for by their own name."""
        return [
            one
            for one in self.universe.providers.get(name, ())
            if one.entry.name not in self.excluded
            and (one.version or one.entry.priority or one.entry.name in self.rank)
        ]

    def _choose(self, name: str, by: str) -> None:
        able = [one for one in self._able(name) if self._possible(one.entry)]
        able = [one for one in able if all(dep.fits(one.version) for dep in self.rules.get(name, ()))]
        if not able:
            raise self._blocked(name) or self._refusal(name, by)
        best = max(able, key=cmp_to_key(self._order))
        entry = best.entry
        self.chosen[entry.name] = entry
        self.taken[entry.name] = Provider(entry, entry.version)
        for one in entry.provides:
            self.taken.setdefault(one.name, Provider(entry, one.version))
        for dep in entry.depends:
            self._require(entry.name, dep)

    def _blocked(self, name: str) -> _Wrong | None:
        """The condition under which another choice would have left a provider of this name, if there is
        one."""
        fitting = (
            one for one in self._able(name) if all(dep.fits(one.version) for dep in self.rules.get(name, ()))
        )
        for one in sorted(fitting, key=cmp_to_key(self._order), reverse=True):
            entry = one.entry
            for dep in (Dep(entry.name, "=", entry.version), *entry.depends):
                taken = self.taken.get(dep.name)
                if (
                    taken is not None
                    and not dep.fits(taken.version)
                    and dep not in self.rules.get(dep.name, ())
                ):
                    return _Wrong(entry.name, dep, taken.entry.name)
        return None

    def _possible(self, entry: Entry) -> bool:
        """Whether nothing that is known speaks against a package."""
        for name, number in (
            (entry.name, entry.version),
            *((one.name, one.version) for one in entry.provides),
        ):
            taken = self.taken.get(name)
            # a bare name may be provided by several; one with a version by one alone
            if (
                taken is not None
                and taken.entry is not entry
                and (taken.version or name == entry.name)
                and number
            ):
                return False
            if not all(dep.fits(number) for dep in self.rules.get(name, ()) if number or dep.conflict):
                return False
        return all(self._open(dep) for dep in entry.depends)

    def _open(self, dep: Dep) -> bool:
        """Whether a dependency can be met at all, by what is taken or might be."""
        taken = self.taken.get(dep.name)
        if taken is not None:
            return dep.fits(taken.version)
        if dep.conflict:
            return True
        return any(dep.fits(one.version) for one in self.universe.providers.get(dep.name, ()))

    def _order(self, one: Provider, other: Provider) -> int:
        a, b = one.entry, other.entry
        last = len(self.rank)
        steps = (
            self.rank.get(b.name, last) - self.rank.get(a.name, last),
            _newer(one.version, other.version),
            version.compare(a.version, b.version) if a.name == b.name else 0,
            a.priority - b.priority,
        )
        places = (b.place > a.place) - (b.place < a.place)
        return next((step for step in steps if step), places)

    def _triggered(self) -> list[Entry]:
        """The packages that are to be installed since others are; of each name the newest of them."""
        found: dict[str, Entry] = {}
        for entry in self.universe.conditional:
            if entry.name in self.chosen or entry.name in self.excluded:
                continue
            if all(map(self._met, entry.install_if)) and self._possible(entry):
                known = found.get(entry.name)
                if known is None or version.compare(entry.version, known.version) > 0:
                    found[entry.name] = entry
        return list(found.values())

    def _met(self, dep: Dep) -> bool:
        taken = self.taken.get(dep.name)
        return dep.conflict if taken is None else dep.fits(taken.version)

    def _refusal(self, name: str, by: str) -> ResolveError:
        rules = self.rules.get(name, {})
        told = [f"{who} asks for {dep}" for dep, who in rules.items()]
        told += [
            f"{one.entry.name} {one.entry.version} needs {dep}, which is not to be had"
            for one in self.universe.providers.get(name, ())
            for dep in one.entry.depends
            if not self._open(dep)
        ][:10]
        there = sorted(
            {f"{one.entry.name} {one.entry.version}" for one in self.universe.providers.get(name, ())}
        )
        if not there:
            near = difflib.get_close_matches(name, self.universe.providers, n=2, cutoff=0.6)
            hint = f"did you mean {' or '.join(near)}?" if near else "check the name and the archives' suites"
            return ResolveError(
                f"there is no package {name!r} in the recipe's archives", why=f"{by} asks for it", hint=hint
            )
        return ResolveError(
            f"nothing that provides {name!r} can be installed",
            why="\n".join([*told, f"there are: {', '.join(there[:10])}"]),
            hint="name one of them in install.prefer or install.packages, or take out what is in the way",
        )


def solve(
    universe: Universe, names: Sequence[str], *, exclude: Collection[str] = (), prefer: Sequence[str] = ()
) -> list[Entry]:
    """The packages that a request comes to. Raises ResolveError."""
    request = [Dep(name) for name in names]
    rank = {name: at for at, name in reversed(list(enumerate((*names, *prefer))))}
    learned: dict[str, dict[Dep, str]] = {}
    for _ in range(_TRIES):
        rules = {name: dict(known) for name, known in learned.items()}
        attempt = _Attempt(universe, rank, frozenset(exclude), rules)
        try:
            return attempt.run(request)
        except _Wrong as found:
            wrong = found
        known = learned.setdefault(wrong.dep.name, {})
        if wrong.dep in known:
            break
        known[wrong.dep] = wrong.by
    raise ResolveError(
        "the packages asked for cannot be installed together",
        why=f"{wrong.by} asks for {wrong.dep}, against which {wrong.because} stands",
        hint="take one of them out, or prefer another alternative; an archive that is half updated looks "
        "like this too",
    )


def _newer(one: str, other: str) -> int:
    if not one or not other:
        return bool(one) - bool(other)
    return version.compare(one, other)
