"""Which packages a recipe comes to, decided as apt does for a system with nothing installed.

A package's Pre-Depends and Depends (and Recommends, if asked) are followed depth first in the order
written. Of alternatives, one that is chosen already stands; else one that the recipe prefers; else
the first that can be installed. What is essential comes first and alone, then the rest of the base,
then the template's packages, so that a base is the same whatever is installed on it.
"""

from __future__ import annotations

from collections.abc import Sequence

from tmplbuild.archives.deb.depends import Group, Relation, text
from tmplbuild.archives.deb.index import LISTED
from tmplbuild.archives.deb.pool import Pool, groups, provides
from tmplbuild.archives.model import Closure, Package
from tmplbuild.archives.wishes import Wishes
from tmplbuild.errors import ResolveError

_DEEP = 150  # levels of recursion; what lies deeper is put off (a hostile index must not exhaust the stack)


def closure(pool: Pool, wishes: Wishes) -> Closure:
    """The closure of what is wished.

    Raises ResolveError for a package that does not exist, a dependency that nothing meets, or
    packages that cannot be installed together.
    """
    wrong = [priority for priority in wishes.priorities if priority not in LISTED]
    if wrong:
        raise ResolveError(
            f"no such set of packages: priority {wrong[0]!r}",
            where="bootstrap.priorities",
            hint=f"the priorities are {', '.join(LISTED)}",
        )
    solver = _Solver(pool)
    solver.prefer = wishes.include  # what is named anyway settles the alternatives of the essential ones
    marked = pool.marked()
    essential = [package for package in marked if package.essential]
    base = [package for package in marked if package.priority in wishes.priorities]
    base += [solver.named(name) for name in wishes.include]
    solver.take(essential, base)
    # mmdebstrap and debootstrap hand the essential ones to dpkg, not to apt: none of them is automatic
    manual = solver.first | {package.name for package in base}
    wishes.refuse_excluded(solver.chosen)
    solver.exclude = frozenset(wishes.exclude)
    solver.prefer = wishes.prefer
    solver.recommends = wishes.recommends
    wanted = [solver.named(name) for name in wishes.packages]
    solver.take(wanted)
    manual |= {package.name for package in wanted}
    chosen = tuple(solver.chosen[name] for name in sorted(solver.chosen))
    return Closure(chosen, frozenset(solver.chosen) - manual, tuple(solver.choices))


class _Unmet(Exception):
    """A dependency that nothing meets: the package that has it, and the group."""

    def __init__(self, package: Package, group: Group, why: str, chain: str) -> None:
        super().__init__(package.name)
        self.package = package
        self.group = group
        self.why = why
        self.chain = chain


class _Clash(Exception):
    """Two chosen packages refuse each other."""

    def __init__(self, names: tuple[str, str], error: ResolveError) -> None:
        super().__init__(*names)
        self.names = names
        self.error = error


class _Solver:
    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.exclude: frozenset[str] = frozenset()
        self.prefer: Sequence[str] = ()
        self.recommends = False
        self.chosen: dict[str, Package] = {}
        self.choices: list[str] = []
        self._reason: dict[str, tuple[str, str]] = {}  # name: (who needs it, by which relation)
        self._later: list[Package] = []
        self._optional: set[str] = set()  # chosen although there were other alternatives
        self._avoid: set[str] = set()
        self.first: frozenset[str] = frozenset()  # what the first step came to

    def named(self, name: str) -> Package:
        """The package that the recipe names. Raises ResolveError."""
        if name in self.exclude:
            raise ResolveError(
                f"the package {name!r} is asked for and excluded",
                where="install.exclude",
                hint="drop one of the two",
            )
        found = self.pool.candidate(name)
        if found is not None:
            return found
        offers = self.pool.providers(name)
        if len(offers) == 1:  # as apt: "selecting 'x' instead of 'y'"
            self.choices.append(f"{name} is provided by {offers[0].name}")
            return offers[0]
        if offers:
            hint = f"{name} is a virtual package: name one of " + ", ".join(p.name for p in offers[:8])
        else:
            near = self.pool.near(name)
            hint = f"did you mean {' or '.join(near)}?" if near else "check the name, suites and components"
        raise ResolveError(
            f"there is no package {name!r} for {self.pool.arch} in the recipe's archives", hint=hint
        )

    def take(self, *steps: Sequence[Package]) -> None:
        """Choose packages and all that they need, step after step. Raises ResolveError.

        Where two of the chosen refuse each other and one of them was only one of several
        alternatives, all is tried again without it.
        """
        before = self._mark()
        self._avoid.clear()
        while True:
            try:
                for step in steps:
                    self._take(step)
                    if step is steps[0]:
                        self.first = frozenset(self.chosen)
                return self._check_conflicts()
            except _Clash as clash:
                loser = next((name for name in clash.names if name in self._optional), "")
                if not loser or loser in self._avoid or loser in list(self.chosen)[: before[0]]:
                    raise clash.error from None
                self._avoid.add(loser)
                self._undo(before)
            except _Unmet as unmet:
                raise self._explained(unmet) from None

    def _take(self, packages: Sequence[Package]) -> None:
        new = [package for package in packages if package.name not in self.chosen]
        for package in new:  # all of them at once, as apt marks what is named before it looks further
            self.chosen.setdefault(package.name, package)
        for package in new:
            self._needs(package, 0)
        while self._later:
            self._needs(self._later.pop(0), 0)

    def _needs(self, package: Package, depth: int) -> None:
        if depth > _DEEP:
            self._later.append(package)
            return
        for group in groups(package, "Pre-Depends", "Depends"):
            self._meet(package, group, depth)
        if self.recommends:
            for group in groups(package, "Recommends"):
                before = self._mark()
                try:
                    self._meet(package, group, depth)
                except _Unmet:
                    self._undo(before)

    def _meet(self, package: Package, group: Group, depth: int) -> None:
        if any(self._met(relation) for relation in group):
            return
        options = self._options(group)
        failure: _Unmet | None = None
        for option in options:
            before = self._mark()
            self.chosen[option.name] = option
            self._reason.setdefault(option.name, (package.name, text(group)))
            if len(options) > 1:
                self._optional.add(option.name)
                self.choices.append(self._told(package, group, option, options))
            try:
                self._needs(option, depth + 1)
                return
            except _Unmet as unmet:
                failure = failure or unmet
                if len(options) > 1:
                    self._undo(before)
        raise failure or _Unmet(package, group, self._why_none(group), self._chain(package.name))

    def _met(self, relation: Relation) -> bool:
        return any(package.name in self.chosen for package in self.pool.satisfying(relation))

    def _options(self, group: Group) -> list[Package]:
        """Who could meet a group, best first; those that cannot stand beside what is chosen go last."""
        found = {package.name: package for relation in group for package in self.pool.satisfying(relation)}
        liked = [found[name] for name in self.prefer if name in found]
        ordered = list({package.name: package for package in (*liked, *found.values())}.values())
        allowed = [package for package in ordered if package.name not in self.exclude]
        if len(allowed) < 2:
            return allowed
        last = {package.name for package in allowed if package.name in self._avoid or self._clash(package)}
        return sorted(allowed, key=lambda package: package.name in last)

    def _clash(self, package: Package) -> bool:
        others = [other for other in self.chosen.values() if other.name != package.name]
        return any(self._against(package, other) or self._against(other, package) for other in others)

    def _against(self, package: Package, other: Package) -> Relation | None:
        """The relation by which `package` refuses `other`. A package never refuses itself (Policy 7.4)."""
        for group in groups(package, "Conflicts", "Breaks"):
            relation = group[0]
            # an unqualified or a qualified name means our architecture: there is no other
            if (relation.name == other.name or relation.name in offered(other)) and self.pool.meets(
                other, Relation(relation.name, "", relation.op, relation.version)
            ):
                return relation
        return None

    def _check_conflicts(self) -> None:
        """Raise _Clash if two of the chosen packages refuse each other."""
        offers: dict[str, list[Package]] = {}
        for package in self.chosen.values():
            for name in {package.name, *offered(package)}:
                offers.setdefault(name, []).append(package)
        for package in self.chosen.values():
            for group in groups(package, "Conflicts", "Breaks"):
                for other in offers.get(group[0].name, ()):
                    relation = self._against(package, other) if other.name != package.name else None
                    if relation is not None:
                        raise _Clash((other.name, package.name), self._refusal(package, relation, other))

    def _refusal(self, package: Package, relation: Relation, other: Package) -> ResolveError:
        return ResolveError(
            f"the packages {package.name} and {other.name} cannot be installed together",
            where=f"{package.name} {package.version}",
            why=f"{package.name} refuses {relation}; chosen is {other.name} {other.version}\n"
            f"{self._chain(package.name)}\n{self._chain(other.name)}",
            hint="take one of them out, exclude it, or prefer another alternative",
        )

    def _told(self, package: Package, group: Group, option: Package, options: Sequence[Package]) -> str:
        reason = "preferred" if option.name in self.prefer else "the first that can be installed"
        return f"{package.name} needs {text(group)}: {option.name} ({reason} of {len(options)})"

    def _why_none(self, group: Group) -> str:
        rows = []
        for relation in group:
            have = self.pool.candidate(relation.name)
            offers = [package.name for package in self.pool.satisfying(relation)]
            if offers and all(name in self.exclude for name in offers):
                rows.append(f"{', '.join(offers)} is excluded by the recipe")
            elif have is not None:
                rows.append(f"{relation.name} is {have.version} in the archives")
            else:
                rows.append(f"{relation.name} is in none of the archives")
        return "; ".join(dict.fromkeys(rows))

    def _explained(self, unmet: _Unmet) -> ResolveError:
        name = unmet.package.name
        return ResolveError(
            f"nothing can be installed that {name} needs: {text(unmet.group)}",
            where=f"{name} {unmet.package.version} ({unmet.package.archive})",
            why=f"{unmet.why}\n{unmet.chain}",
            hint="an archive that is half updated looks like this too: try again later; else exclude or "
            "replace the package, or add the suite that has what is missing",
        )

    def _chain(self, name: str) -> str:
        """Who needs whom, from what the recipe asks for down to `name`."""
        links: list[str] = []
        seen: set[str] = set()
        while name in self._reason and name not in seen:
            seen.add(name)
            parent, relation = self._reason[name]
            links.append(f"{parent} needs {relation}")
            name = parent
        return "; ".join([f"{name} is asked for", *reversed(links)])

    def _mark(self) -> tuple[int, int, int]:
        return len(self.chosen), len(self.choices), len(self._later)

    def _undo(self, mark: tuple[int, int, int]) -> None:
        """Forget what was chosen since `mark` (dicts keep the order of insertion)."""
        while len(self.chosen) > mark[0]:
            name, _ = self.chosen.popitem()
            self._reason.pop(name, None)
        del self.choices[mark[1] :]
        del self._later[mark[2] :]


def offered(package: Package) -> set[str]:
    """The names that a package provides."""
    return {relation.name for relation in provides(package)}
