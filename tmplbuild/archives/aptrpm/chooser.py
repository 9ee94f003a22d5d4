"""Choosing among several packages that satisfy a dependency: first what leaves no choice, then the
rest in the order in which it came up, so that a choice is made only where one is left.

apt-rpm takes whichever it meets first. Here the order is fixed: a package that stands beside those
chosen already; one that the recipe prefers; the one whose own name is asked for; one that no other
option obsoletes; one of the tree's own architecture; then by name, and of one name the newest build.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tmplbuild.archives.aptrpm.universe import Need, Universe

_NATIVE = "noarch"


@dataclass(frozen=True, slots=True)
class Choice:
    """A need that several packages could meet: who has it, and what was taken for which reason."""

    by: int
    need: Need
    taken: int
    reason: str


class Chooser:
    """Parameters:
    prefer: names, the first that fits is taken.
    arch: the tree's architecture.
    """

    def __init__(self, universe: Universe, prefer: Sequence[str], arch: str) -> None:
        self.universe = universe
        self.pool = universe.pool
        self.arch = arch
        self.chosen: dict[int, None] = {}
        self.choices: list[Choice] = []
        self._rank = {name: index for index, name in reversed(list(enumerate(prefer)))}
        self._blocked: set[int] = set()
        self._new: deque[int] = deque()
        self._open: deque[tuple[int, Need]] = deque()

    def take(self, numbers: Iterable[int]) -> None:
        """Choose packages and what they need. What cannot be met is left out: the solver says why."""
        for number in numbers:
            self._choose(number)
        while self._new or self._open:
            while self._new:
                self._follow(self._new.popleft())
            if self._open:
                self._decide(*self._open.popleft())

    def best(self, options: Iterable[int], name: str) -> list[int]:
        """The options for something called `name`, the best first."""
        found = list(options)
        gone = {
            number
            for option in found
            for dep in self.pool.entry(option).obsoletes
            for number in self.pool.obsoleted(dep)
            if number != option
        }
        return sorted(found, key=lambda number: self._key(number, name, number in gone))

    def _key(self, number: int, name: str, obsolete: bool) -> tuple[bool, int, bool, bool, bool, str, int]:
        entry = self.pool.entry(number)
        return (
            number in self._blocked,
            self._rank.get(entry.name, len(self._rank)),
            entry.name != name,
            obsolete,
            entry.arch not in (self.arch, _NATIVE),
            entry.name,
            self.pool.age(number),
        )

    def _choose(self, number: int) -> None:
        if number in self.chosen:
            return
        self.chosen[number] = None
        self._new.append(number)
        self._blocked.update(other for other, _ in self.universe.refused(number))
        self._blocked.update(
            other.number for other in self.pool.named(self.pool.entry(number).name) if other.number != number
        )

    def _follow(self, number: int) -> None:
        for need in self.universe.needs[number]:
            options = self.universe.options(need)
            if any(option in self.chosen for option in options):
                continue
            if len(options) == 1:
                self._choose(options[0])
            elif options:
                self._open.append((number, need))

    def _decide(self, by: int, need: Need) -> None:
        options = self.universe.options(need)
        if any(option in self.chosen for option in options):
            return
        ordered = self.best(self._standing(options), need.dep.name)
        taken = ordered[0]
        names = list(dict.fromkeys(self.pool.entry(option).name for option in ordered))
        if len(names) > 1:
            if names[0] in self._rank:
                reason = f"preferred of {len(names)}"
            elif names[0] == need.dep.name:
                reason = f"by its name, of {len(names)}"
            else:
                reason = f"of {', '.join(names)}"
            self.choices.append(Choice(by, need, taken, reason))
        self._choose(taken)

    def _standing(self, options: list[int]) -> list[int]:
        """Those options that refuse none of the chosen, if there are any."""
        found = [
            option
            for option in options
            if not any(other in self.chosen for other, _ in self.universe.refused(option))
        ]
        return found or options
