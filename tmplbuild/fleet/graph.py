"""What one template's build is to Dask: up to three tasks in a row, their keys, needs and priorities.

Parts that nobody else waits for are one task: a machine that goes on by itself starts no process in between,
packs ahead all the while, and uploads what it has made beside what it does next. What was uploaded need not
be made again, should it die.

Nothing is looked up here, so that a night of thousands can be simulated with the very graph that a fleet gets
(tests/fleet_simulation.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tmplbuild.engine.plan import Plan
from tmplbuild.engine.steps import Step
from tmplbuild.fleet.identity import identity
from tmplbuild.fleet.order import PARTS, part_of
from tmplbuild.secrets import plain

if TYPE_CHECKING:
    from tmplbuild.fleet.desk import Desk
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
        **{f"secret {plain(name)}": 1 for name in secrets},
    }


def shared_of(makes: Iterable[Sequence[str]]) -> set[str]:
    """The layers that several builds make.

    Parameters:
        makes: for each build the keys of the layers that it makes.
    """
    found = Counter(key for keys in makes for key in set(keys))
    return {key for key, count in found.items() if count > 1}


def at_once(jobs: int) -> int:
    """How many templates are under way at a time: enough that no worker waits for the next one.

    Parameters:
        jobs: parts of builds that all workers together do at once.
    """
    return 2 * jobs + 2


def tasks_of(
    plan: Plan,
    order: str,
    *,
    shared: Collection[str] = (),
    needs: Callable[[str], dict[str, float]],
    urgency: float,
    again: str = "",
) -> tuple[Task, ...]:
    """The parts of a plan that have something to do, in order; each rests on the one before.

    Parameters:
        order: the order's name.
        shared: keys of layers that others wait for, too: what makes them is a task by itself.
        needs: what a part takes of a machine.
        urgency: see `tmplbuild.engine.urgency`. All parts of a template have the same, so that one that was
            begun is finished before the next is.
        again: appended to the keys of parts that are given out once more.
    """
    found: list[Task] = []
    names: list[str] = []
    for name, steps in _todo(plan):
        names.append(name)
        if name != "pack" and steps[-1].key not in shared:
            continue
        part, names = "+".join(names), []
        first = urgency + (_BASE_FIRST_S if part == "base" else 0.0)
        found.append(Task(part, _key(plan, order, part) + again, needs(part), first))
    return tuple(found)


def _todo(plan: Plan) -> list[tuple[str, tuple[Step, ...]]]:
    todo = {row.step.name for row in plan.todo}
    steps = tuple(row.step for row in plan.steps)
    found = [(part, part_of(steps, part)) for part in PARTS]
    return [(part, own) for part, own in found if any(step.name in todo for step in own)]


def submit(
    grid: Grid | Desk,
    order: str,
    tasks: Sequence[Task],
    *,
    only: Sequence[str] = (),
    lure: Sequence[Any] = (),
) -> list[Any]:
    """Submit tasks, each to be done after the one before. Returns their futures.

    Parameters:
        only: see `tmplbuild.fleet.grid.Grid.submit`.
        lure: see `tmplbuild.fleet.grid.Grid.lure`.
    """
    futures: list[Any] = []
    for task in tasks:
        words = [order, task.part, *(futures[-1:] or lure)]
        futures.append(grid.submit(task.key, words, needs=task.needs, priority=task.priority, only=only))
    return futures


def _key(plan: Plan, order: str, part: str) -> str:
    steps = part_of(tuple(row.step for row in plan.steps), part)
    again = any(row.again for row in plan.steps if row.step in steps)
    words = [part, steps[-1].key[:32]]
    if again or part.endswith("pack"):  # the boot test's step does not know what the template is called
        words.append(order[:12])
    return "-".join(words)
