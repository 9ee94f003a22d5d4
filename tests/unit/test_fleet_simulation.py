"""The tasks that a night is to Dask, and how its scheduler gives them out, on a clock that does not wait."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fleet_simulation import Costs, Kill, Template, lower_bound, simulate
from tmplbuild.engine.steps import NAMES
from tmplbuild.engine.urgency import NEVER_DAYS, expected_s, urgency
from tmplbuild.fleet.graph import needs_of, shared_of, tasks_of

BUILT = dict.fromkeys(NAMES, 4.0)
UPDATED = {name: 4.0 for name in NAMES if name not in ("bootstrap", "install", "configure", "strip", "clean")}
DAY = 86400.0


def template(number: int, base: str = "b", arch: str = "x86_64", times: float = 1.0) -> Template:
    seconds = {name: took * (1.0 if name == "bootstrap" else times) for name, took in BUILT.items()}
    return Template(f"t{number}", arch, base, seconds, seconds)


def parts(one: Template, *others: Template) -> list[str]:
    makes = [[row.step.key for row in each.plan().todo if row.step.makes_layer] for each in (one, *others)]
    tasks = tasks_of(one.plan(), one.order, shared=shared_of(makes), needs=lambda _: {}, urgency=7.0)
    assert [task.priority for task in tasks] == sorted((task.priority for task in tasks), reverse=True)
    return [task.part for task in tasks]


def test_what_nobody_else_waits_for_is_one_task() -> None:
    assert parts(template(1)) == ["base+tree+pack"]
    assert parts(template(1), template(2)) == ["base", "tree+pack"]
    assert parts(template(1), template(2, base="other")) == ["base+tree+pack"]
    assert parts(Template("u", "x86_64", "b", UPDATED, {})) == ["tree+pack"]


def test_equal_trees_are_one_task_and_each_is_packed() -> None:
    plan = template(1).plan()
    shared = {row.step.key for row in plan.todo}
    one, other = (
        [task.key for task in tasks_of(plan, order * 64, shared=shared, needs=lambda _: {}, urgency=0.0)]
        for order in ("1", "2")
    )
    assert [key.split("-")[0] for key in one] == ["base", "tree", "pack"]
    assert one[:2] == other[:2]
    assert one[2] != other[2]


def test_what_is_overdue_comes_first_then_what_takes_longest() -> None:
    plan = template(1).plan()

    def first(days: float, seconds: float) -> float:
        last = {"made": 100 * DAY - days * DAY, "seconds": {"upgrade": seconds}}
        return urgency(plan, last, now=100 * DAY, stale_after_days=30)

    assert first(29, 10) < first(1, 20) < first(32, 5) < first(40, 1)
    assert urgency(plan, None, now=0.0, stale_after_days=30) == NEVER_DAYS * DAY
    assert expected_s(plan, {"seconds": BUILT}) == 4.0 * len(NAMES)


def test_a_task_needs_what_a_worker_must_offer() -> None:
    needs = needs_of("aarch64", 512, ["token"])
    assert {"arch aarch64", "memory_mib", "secret token"} < needs.keys()


def test_fifty_templates_on_five_workers() -> None:
    todo = [template(number, base=f"b{number % 5}", times=1 + number % 7) for number in range(50)]
    workers = ["x86_64"] * 5
    night = simulate(todo, workers, costs=Costs())
    assert night.bound_s == lower_bound(todo, workers, Costs())
    assert 1.0 <= night.ratio < 1.25
    assert night.tasks == {"base": 5, "tree+pack": 50}
    assert set(night.runs.values()) == {1}, "equal work is done once"


def test_a_worker_that_is_killed_costs_its_part_of_a_build() -> None:
    todo = [template(number) for number in range(30)]
    night = simulate(todo, ["x86_64"] * 3, costs=Costs(), kills=[Kill("w1", 100.0)])
    assert night.tasks == {"base": 1, "tree+pack": 30}
    assert sum(night.runs.values()) - len(night.runs) in (1, 2)
    assert night.ratio < 1.35


def test_each_architecture_has_its_workers() -> None:
    arches = ["x86_64", "x86_64", "aarch64"]
    todo = [template(number, arch=arches[number % 3], base=arches[number % 3]) for number in range(30)]
    night = simulate(todo, arches, costs=Costs())
    assert night.tasks == {"base": 2, "tree+pack": 30}
    assert night.ratio < 1.25


@pytest.mark.parametrize("name", ["built", "updated"])
def test_the_recorded_durations_are_of_a_build_s_steps(name: str) -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "fleet_steps.json"
    for row in json.loads(path.read_text())["templates"]:
        assert row[name].keys() <= set(NAMES)
        assert ("bootstrap" in row[name]) == (name == "built")
