"""The plan: which steps run, which are there already, each with a reason. Pure: nothing is touched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tmplbuild.engine.pins import Pins
from tmplbuild.engine.steps import HOOK, Step

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Planned:
    """A step, whether it will run, and why; `again`: whatever lies there by then."""

    step: Step
    runs: bool
    reason: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps of one template's build. `modules` are the module streams that its recipe enables."""

    template: str
    steps: tuple[Planned, ...]
    pins_reason: str
    modules: tuple[str, ...] = ()

    @property
    def todo(self) -> tuple[Planned, ...]:
        """The steps that will run."""
        return tuple(planned for planned in self.steps if planned.runs)

    @property
    def unchanged(self) -> bool:
        """True when nothing has to run."""
        return not self.todo

    def repeats(self, last: Record | None) -> bool:
        """Whether the last good build was this very one: nothing has to run, and what its steps made is
        what was published. A run that ended between its last step and that has not done it."""
        if last is None or self.todo:
            return False
        made = {row["key"] for row in last.get("steps", ())}
        return all(row.step.key in made for row in self.steps)


def make_plan(
    template: str,
    steps: tuple[Step, ...],
    pins: Pins,
    *,
    pins_reason: str,
    has: Callable[[str], bool],
    last: Record | None,
    failed: Record | None,
    rerun_from: str | None = None,
    rebuild: bool = False,
) -> Plan:
    """Decide for each step whether it runs.

    Parameters:
        has: tells whether the store holds the result of a key.
        last: the record of the last good build, failed: of the last failure; None if there is none.
        rerun_from: name of a step from which on everything runs.
        rebuild: run everything.
    """
    planned: list[Planned] = []
    ran = ""  # the first step that runs
    asked = False
    forced = False  # a tree is made anew: what lies on it must be, too
    for step in steps:
        asked = asked or step.name == rerun_from
        forced = forced or asked
        if has(step.key) and not forced and not rebuild and not _failed(step, failed):
            planned.append(Planned(step, False, _since(step, last)))
            continue
        reason = _why(step, pins, has, last, failed) or f"comes after {ran}"
        if rebuild:
            reason = "asked for by --rebuild"
        elif step.name == rerun_from:
            reason = "asked for by --from"
        again = rebuild or asked or _failed(step, failed)
        planned.append(Planned(step, True, reason, again))
        ran = ran or step.name
        forced = forced or step.makes_layer
    modules = dict.fromkeys(title for row in pins.archives for title in row.get("modules", ()))
    return Plan(template, tuple(planned), pins_reason, tuple(modules))


def _since(step: Step, last: Record | None) -> str:
    old = _old(step, last)
    if old is None or last is None:
        return "made by an earlier run"
    return "same as in the last good build"


def _why(
    step: Step, pins: Pins, has: Callable[[str], bool], last: Record | None, failed: Record | None
) -> str:
    """Why a step must run by itself, or "" when only what lies below it changed."""
    if _failed(step, failed):
        return "failed or was interrupted in the last run"
    if has(step.key):
        return ""
    old = _old(step, last)
    if old is None or last is None:
        return "first build"
    changed = sorted(
        key
        for key in step.handed.keys() | old["handed"].keys()
        if step.handed.get(key) != old["handed"].get(key)
    )
    if "packages" in changed:
        return _moved(step, pins, last)
    if changed == ["epoch"]:
        return "the archives' date moved"
    if changed:
        section = step.name.removesuffix("-again").replace(HOOK, "hooks.")
        return f"recipe changed: [{section}] {', '.join(changed)}"
    if old["key"] == step.key:
        return "its layer is no longer in the store"
    return ""


def _failed(step: Step, failed: Record | None) -> bool:
    # of a rebuild that failed an older result may be there under the same key: it is no answer any more
    return failed is not None and failed.get("stage") == step.name and failed.get("key") == step.key


def _moved(step: Step, pins: Pins, last: Record) -> str:
    part = {"bootstrap": "base", "install": "full", "upgrade": "target"}[step.name]
    new = getattr(pins, part).versions()
    old = {row[0]: row[1] for row in last["pins"][part]["packages"]}
    moved = [f"{name} {old[name]} -> {new[name]}" for name in new if name in old and new[name] != old[name]]
    added = [f"+{name}" for name in new.keys() - old.keys()]
    removed = [f"-{name}" for name in old.keys() - new.keys()]
    rows = sorted(moved) + sorted(added) + sorted(removed)
    if not rows:
        return "packages were rebuilt in the archive"
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    return f"packages moved: {', '.join(rows[:3])}{more}"


def _old(step: Step, last: Record | None) -> Record | None:
    if last is None:
        return None
    found: Record | None = next((row for row in last.get("steps", ()) if row["name"] == step.name), None)
    return found
