"""libsolv: which packages can stand together. The only module that knows the library.

libsolv never sees a version: its own order is not ALT's, and it knows no set-versions. Each
dependency that was matched here becomes a capability of its own (":7"), provided by the packages that
satisfy it; a package's builds are told apart by their rank.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import solv  # type: ignore[import-untyped]


@dataclass(frozen=True, slots=True)
class Clash:
    """Two packages that cannot stand together: by the conflict `capability`, or (None) since they are
    builds of the same package."""

    one: int
    other: int
    capability: int | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The packages that were taken; or, where nothing works, why: what clashes, and which packages
    nothing can be done for."""

    taken: frozenset[int]
    clashes: tuple[Clash, ...] = ()
    stuck: tuple[int, ...] = ()


class Solver:
    """A problem to be stated, then solved once. Packages and capabilities are numbers of the caller's."""

    def __init__(self) -> None:
        self._pool: Any = solv.Pool()
        self._pool.setdisttype(solv.Pool.DISTTYPE_RPM)
        self._repo: Any = self._pool.add_repo("all")
        self._solvables: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}

    def package(self, number: int, name: str, rank: int) -> None:
        """State a package; of the builds of one name, one at most is taken. A higher rank is newer."""
        found = self._repo.add_solvable()
        found.name = name
        found.evr = str(rank)
        found.arch = "noarch"
        found.add_provides(self._pool.str2id(name))  # by this libsolv finds the other builds
        self._solvables[number] = found
        self._numbers[found.id] = number

    def provides(self, number: int, capability: int) -> None:
        """State that the package satisfies a dependency."""
        self._solvables[number].add_provides(self._id(capability))

    def requires(self, number: int, capability: int) -> None:
        """State that the package needs one that provides the capability."""
        self._solvables[number].add_requires(self._id(capability))

    def conflicts(self, number: int, capability: int) -> None:
        """State that the package stands with no other that provides the capability."""
        self._solvables[number].add_conflicts(self._id(capability))

    def solve(self, wanted: Iterable[int], favoured: Iterable[int]) -> Outcome:
        """Find packages that provide all capabilities `wanted`; where there is a choice, the packages
        `favoured` come first."""
        self._pool.createwhatprovides()
        job, of = self._pool.Job, solv.Job
        jobs = [job(of.SOLVER_SOLVABLE_PROVIDES | of.SOLVER_INSTALL, self._id(one)) for one in wanted]
        jobs += [job(of.SOLVER_SOLVABLE | of.SOLVER_FAVOR, self._solvables[one].id) for one in favoured]
        solver = self._pool.Solver()
        problems = solver.solve(jobs)
        if problems:
            return self._failure(problems)
        return Outcome(frozenset(self._numbers[one.id] for one in solver.transaction().newsolvables()))

    def _failure(self, problems: Iterable[Any]) -> Outcome:
        clashes: dict[Clash, None] = {}
        stuck: dict[int, None] = {}
        for problem in problems:
            for rule in problem.findallproblemrules():
                for info in rule.allinfos():
                    one = self._numbers.get(info.solvable.id) if info.solvable else None
                    other = self._numbers.get(info.othersolvable.id) if info.othersolvable else None
                    if info.type == solv.Solver.SOLVER_RULE_PKG_CONFLICTS and None not in (one, other):
                        clashes[Clash(one, other, int(str(info.dep)[1:]))] = None  # type: ignore[arg-type]
                    elif info.type == solv.Solver.SOLVER_RULE_PKG_SAME_NAME and None not in (one, other):
                        clashes[Clash(one, other, None)] = None  # type: ignore[arg-type]
                    elif one is not None:
                        stuck[one] = None
        return Outcome(frozenset(), tuple(clashes), tuple(stuck))

    def _id(self, capability: int) -> int:
        found: int = self._pool.str2id(f":{capability}")
        return found
