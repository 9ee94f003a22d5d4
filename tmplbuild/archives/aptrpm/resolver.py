"""Which packages a recipe comes to.

The packages of the base come first and alone, then the template's on top of it, so that a base is
the same whatever is installed on it. Choices among several providers are made here
(`tmplbuild.archives.aptrpm.chooser`) and told; libsolv then finds packages that can all stand
together, the chosen ones first, or says what cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tmplbuild.archives.aptrpm.chooser import Choice, Chooser
from tmplbuild.archives.aptrpm.depends import Dep
from tmplbuild.archives.aptrpm.pool import Pool
from tmplbuild.archives.aptrpm.universe import Universe
from tmplbuild.archives.libsolv import Clash, Outcome, Solver
from tmplbuild.archives.model import Closure
from tmplbuild.archives.wishes import Wishes
from tmplbuild.errors import ResolveError

_NEWEST = 1_000_000


def closure(pool: Pool, wishes: Wishes) -> Closure:
    """The closure of what is wished, packages by name. ALT's lists know neither priorities nor
    recommendations: `priorities` and `recommends` have no effect.

    Raises ResolveError for a package that does not exist, a dependency that nothing meets, or
    packages that cannot stand together; VerifyError for a malformed header.
    """
    # what is named anyway settles the choices within the base
    base = _Round(pool, prefer=wishes.include)
    base.run(wishes.include, frozenset())
    wishes.refuse_excluded(pool.entry(number).name for number in base.taken)
    full = base
    if wishes.packages:
        full = _Round(pool, prefer=wishes.prefer, exclude=frozenset(wishes.exclude))
        full.run(wishes.packages, base.taken)
    manual = {pool.entry(number).name for number in (*base.asked, *full.asked)}
    packages = sorted(
        (pool.package(number, full.providers(number)) for number in full.taken), key=lambda one: one.name
    )
    told = tuple(dict.fromkeys([*base.told(), *(full.told() if full is not base else ())]))
    return Closure(tuple(packages), frozenset(one.name for one in packages) - manual, told)


class _Round:
    """One resolution: `taken` and the choices that led to it."""

    def __init__(self, pool: Pool, *, prefer: Sequence[str], exclude: frozenset[str] = frozenset()) -> None:
        self.pool = pool
        self.prefer = prefer
        self.exclude = exclude
        self.asked: list[int] = []
        self.taken: frozenset[int] = frozenset()
        self._told: list[str] = []
        self._choices: list[Choice] = []
        self._universe: Universe

    def run(self, names: Sequence[str], fixed: frozenset[int]) -> None:
        """Resolve `names` on top of the packages `fixed`."""
        groups = [[number] for number in sorted(fixed)] + [self._named(name) for name in names]
        self._universe = Universe(self.pool, [one for group in groups for one in group], self.exclude)
        chooser = Chooser(self._universe, self.prefer, self.pool.arch)
        for group in groups:
            self._refuse_broken(group)
        ordered = [chooser.best(self._usable(group), name) for group, name in self._labelled(groups, names)]
        chooser.take(dict.fromkeys(group[0] for group in ordered))
        outcome = self._solve(ordered, chooser)
        if groups and not outcome.taken:
            raise self._cannot(outcome, [group[0] for group in ordered])
        self.taken = outcome.taken
        self._choices = chooser.choices
        for name, group in zip(names, ordered[len(fixed) :], strict=True):
            self._answer(name, next(number for number in group if number in self.taken))

    def _labelled(self, groups: Sequence[list[int]], names: Sequence[str]) -> list[tuple[list[int], str]]:
        """Each group of options with the word that it is for ("" where there is none)."""
        return list(zip(groups, [""] * (len(groups) - len(names)) + list(names), strict=True))

    def _usable(self, group: Iterable[int]) -> list[int]:
        return [number for number in group if number not in self._universe.broken]

    def _answer(self, name: str, number: int) -> None:
        entry = self.pool.entry(number)
        self.asked.append(number)
        if entry.name != name:
            self._told.append(f"{name} is provided by {entry.name}")

    def told(self) -> list[str]:
        """The choices in words."""
        return [*self._told, *filter(None, map(self._in_words, self._choices))]

    def providers(self, number: int) -> list[str]:
        """The names of the taken packages that satisfy what a taken package needs."""
        found = {
            option
            for need in self._universe.needs[number]
            for option in need.options
            if option in self.taken and option != number
        }
        return sorted(self.pool.entry(option).name for option in found)

    # -- what is asked for -----------------------------------------------------------------------

    def _named(self, name: str) -> list[int]:
        """The packages that a word of the recipe may mean: those of that name; else those that
        provide it."""
        if name in self.exclude:
            raise ResolveError(
                f"the package {name!r} is asked for and excluded",
                where="install.exclude",
                hint="drop one of the two",
            )
        own = [entry.number for entry in self.pool.named(name)]
        if own:
            return own
        offers = [
            number
            for number in self.pool.satisfying(Dep(name))
            if self.pool.entry(number).name not in self.exclude
        ]
        names = sorted({self.pool.entry(number).name for number in offers})
        if len(names) == 1 or set(names) & set(self.prefer):
            return offers
        if names:
            hint = f"{name} is provided by several packages: name or prefer one of " + ", ".join(names[:8])
        else:
            near = self.pool.near(name)
            hint = f"did you mean {' or '.join(near)}?" if near else "check the name, suites and components"
        raise ResolveError(f"there is no package {name!r} in the recipe's archives", hint=hint)

    # -- solving ---------------------------------------------------------------------------------

    def _solve(self, groups: Sequence[Sequence[int]], chooser: Chooser) -> Outcome:
        """Find packages of which one at least is in each of `groups`."""
        universe = self._universe
        solver = Solver()
        usable = self._usable(universe.needs)
        for number in usable:
            solver.package(number, self.pool.entry(number).name, _NEWEST - self.pool.age(number))
        for need in universe.all_needs:
            for number in universe.options(need):
                solver.provides(number, need.number)
        # further capabilities: each package as itself, for those that refuse it; then each group
        itself = len(universe.all_needs)
        asked = itself + len(self.pool)
        refused = set()
        for number in usable:
            for need in universe.needs[number]:
                solver.requires(number, need.number)
            for other in dict.fromkeys(other for other, _ in universe.refused(number)):
                if other not in universe.broken:
                    solver.conflicts(number, itself + other)
                    refused.add(other)
        for number in sorted(refused):
            solver.provides(number, itself + number)
        for index, group in enumerate(groups):
            for number in group:
                solver.provides(number, asked + index)
        return solver.solve(range(asked, asked + len(groups)), chooser.chosen)

    def _cannot(self, outcome: Outcome, wanted: Sequence[int]) -> ResolveError:
        words = [self._clash_in_words(clash) for clash in outcome.clashes]
        involved = [n for clash in outcome.clashes for n in (clash.one, clash.other)] or list(outcome.stuck)
        links = [self._chain(number, wanted) for number in dict.fromkeys(involved)]
        names = list(dict.fromkeys(self.pool.entry(number).name for number in involved))
        return ResolveError(
            f"the packages {' and '.join(names[:2]) or 'asked for'} cannot be installed together",
            why="\n".join(dict.fromkeys([*words, *links])),
            hint="take one of them out, exclude it, or prefer another alternative",
        )

    def _clash_in_words(self, clash: Clash) -> str:
        one, other = self.pool.entry(clash.one), self.pool.entry(clash.other)
        if clash.capability is None:
            return f"{one} and {other} are builds of one package"
        for number, dep in self._universe.refused(clash.one):
            if number == clash.other:
                kind = "obsoletes" if dep in one.obsoletes else "conflicts with"
                return f"{one} {kind} {dep}, which is {other}"
        return f"{one} cannot stand beside {other}"

    def _chain(self, number: int, wanted: Sequence[int]) -> str:
        """Who needs whom, from what is asked for down to `number`, by the shortest way."""
        came: dict[int, tuple[int, Dep] | None] = dict.fromkeys(wanted)
        todo = list(came)
        for one in todo:  # grows while it is walked
            if one == number:
                break
            for need in self._universe.needs[one]:
                for option in self._universe.options(need):
                    if option not in came:
                        came[option] = (one, need.dep)
                        todo.append(option)
        links: list[str] = []
        at = number
        while (step := came.get(at)) is not None:
            links.append(f"{self.pool.entry(step[0]).name} needs {step[1]} ({self.pool.entry(at).name})")
            at = step[0]
        return "; ".join([f"{self.pool.entry(at).name} is asked for", *reversed(links)])

    def _refuse_broken(self, group: Sequence[int]) -> None:
        if self._usable(group):
            return
        links, need, last = self._universe.blame(group[0])
        entry = self.pool.entry(last)
        chain = "; ".join([f"{self.pool.entry(group[0]).name} is asked for", *links])
        raise ResolveError(
            f"nothing can be installed that {entry.name} needs: {need.dep}",
            where=str(entry),
            why=f"{self._universe.why_none(need.dep)}\n{chain}",
            hint="an archive that is half updated looks like this too: try again later; else exclude or "
            "replace the package, or add the component that has what is missing",
        )

    def _in_words(self, choice: Choice) -> str:
        if choice.by not in self.taken:
            return ""
        by, need = self.pool.entry(choice.by).name, choice.need
        if choice.taken in self.taken:
            return f"{by} needs {need.dep}: {self.pool.entry(choice.taken).name} ({choice.reason})"
        instead = sorted(self.pool.entry(n).name for n in need.options if n in self.taken)
        refused = self.pool.entry(choice.taken).name
        return f"{by} needs {need.dep}: {', '.join(instead)} ({refused} cannot stand beside the others)"
