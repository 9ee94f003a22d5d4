"""What one template's build is to Dask: up to three tasks in a row, their keys, needs and priorities.

Nothing is looked up here, so that a night of thousands can be simulated with the very graph that a fleet gets
(tests/fleet_simulation.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tmplbuild.engine.plan import Plan
from tmplbuild.fleet.identity import identity
from tmplbuild.fleet.order import PARTS, part_of

if TYPE_CHECKING:
    from tmplbuild.fleet.grid import Grid

_BASE_FIRST_S = 3600.0  # others may wait for a base


@dataclass(frozen=True, slots=True)
class Task:
    """A part of a build; equal keys are one task in the fleet, whoever submits them."""

    part: str
    key: str
    needs: dict[str, float]
    priority: float


def needs_of(arch: str, memory_mib: int, secrets: Iterable[str]) -> dict[str, float]:
    """What a task takes of a machine, in the words of `tmplbuild.fleet.grid.resources`.

    Parameters:
        memory_mib: of the build with its VE.
        secrets: the names of those that the part needs.
    """
    return {
        f"version {identity()}": 1,
        f"arch {arch}": 1,
        "memory_mib": float(memory_mib),
        **{f"secret {name}": 1 for name in secrets},
    }


def tasks_of(
    plan: Plan, order: str, *, needs: Callable[[str], dict[str, float]], urgency: float, again: str = ""
) -> tuple[Task, ...]:
    """The parts of a plan that have something to do, in order; each rests on the one before.

    Parameters:
        order: the order's name.
        needs: what a part takes of a machine.
        urgency: see `tmplbuild.engine.urgency`. All parts of a template have the same, so that one that was
            begun is finished before the next is.
        again: appended to the keys of parts that are given out once more.
    """
    todo = {row.step.name for row in plan.todo}
    found = []
    for part in PARTS:
        steps = part_of(tuple(row.step for row in plan.steps), part)
        if any(step.name in todo for step in steps):
            first = urgency + (_BASE_FIRST_S if part == "base" else 0.0)
            found.append(Task(part, _key(plan, order, part) + again, needs(part), first))
    return tuple(found)


def submit(grid: Grid, order: str, tasks: Sequence[Task], only: Sequence[str] = ()) -> list[Any]:
    """Submit tasks, each to be done after the one before. Returns their futures.

    Parameters:
        only: see `tmplbuild.fleet.grid.Grid.submit`.
    """
    futures: list[Any] = []
    for task in tasks:
        words = [order, task.part, *futures[-1:]]
        futures.append(grid.submit(task.key, words, needs=task.needs, priority=task.priority, only=only))
    return futures


def _key(plan: Plan, order: str, part: str) -> str:
    steps = part_of(tuple(row.step for row in plan.steps), part)
    again = any(row.again for row in plan.steps if row.step in steps)
    words = [part, steps[-1].key[:32]]
    if again or part == "pack":  # the boot test's step does not know what the template is called
        words.append(order[:12])
    return "-".join(words)
