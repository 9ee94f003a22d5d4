"""What state a template is in, what the next run does with it, and why. Pure: records in, words out.

    fresh     a build would find nothing to do
    updates   a build would make something new, or the template was never built
    failed    the last build failed, or what a build would do cannot be found out
    stale     none of these keep it young: it was built longer ago than `stale_after_days`
    skipped   it cannot be built on this machine, and never was

A failure tells more than age, and age more than updates that are due: the first that holds is the state.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tmplbuild.engine.failure import INTERRUPTED
from tmplbuild.engine.look import Seen
from tmplbuild.engine.pinning import DAY_S
from tmplbuild.engine.plan import Plan

State = Literal["fresh", "updates", "failed", "stale", "skipped"]

EXIT = {"fresh": 0, "skipped": 0, "updates": 2, "failed": 1, "stale": 1}
"""Exit status of `tmplbuild status`: 1 outweighs 2."""

_SHOWN = 3  # reasons of stages that are told


@dataclass(frozen=True, slots=True)
class Status:
    """One template's state. Times are seconds since the epoch, None where there is none; `age_s` is that of
    the last good build. `stale` may be true in any state. `upstream` says what the archives brought."""

    template: str
    recipe: str
    state: State
    action: str
    why: str
    upstream: str = ""
    age_s: float | None = None
    built: float | None = None
    stale: bool = False
    failure: dict[str, Any] | None = None
    file: str | None = None
    size: int | None = None
    packages: int | None = None
    base_age_s: float | None = None
    details: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"details": list(self.details)}


def judge(seen: Seen, *, now: float, stale_after_days: int) -> Status:
    """The state of a template that was looked at.

    Parameters:
        now: seconds since the epoch.
        stale_after_days: age from which a template is an alarm; 0 for never.
    """
    last = seen.last or {}
    built = last.get("made")
    age = max(0.0, now - built) if built is not None else None
    stale = bool(stale_after_days and age is not None and age > stale_after_days * DAY_S)
    failure = _failure(seen)
    state, action, why = _decide(seen, failure, stale)
    if stale and state == "stale":
        why = f"built {days(age or 0)} ago (stale_after_days = {stale_after_days}); {why}"
    summary = last.get("summary", {})
    resolved_at = last.get("pins", {}).get("resolved_at")
    return Status(
        template=seen.template,
        recipe=seen.name,
        state=state,
        action=action,
        why=why,
        upstream=seen.resolved.reason if seen.resolved is not None else "unknown",
        age_s=age,
        built=built,
        stale=stale,
        failure=failure,
        file=summary.get("file"),
        size=summary.get("size"),
        packages=summary.get("packages"),
        base_age_s=max(0.0, now - resolved_at) if resolved_at is not None else None,
        details=tuple(_details(seen, now)),
    )


def _decide(seen: Seen, failure: Mapping[str, Any] | None, stale: bool) -> tuple[State, str, str]:
    if seen.skip:
        return "skipped", "none", seen.skip
    if seen.error is not None:
        return "failed", "look again", seen.error.what
    assert seen.plan is not None
    if failure is not None and not seen.current:
        return "failed", _action(seen.plan, seen), _first_line(failure["error"])
    if seen.current:
        return ("stale" if stale else "fresh"), "none", "nothing moved since the last good build"
    why = _reasons(seen.plan) or "the file is not in the template cache"
    return ("stale" if stale else "updates"), _action(seen.plan, seen), why


def _action(plan: Plan, seen: Seen) -> str:
    """What the next run does, in a word or two."""
    if not plan.todo:
        return "publish"
    first = plan.todo[0].step.name
    if seen.last is None:
        return "build" if first == "bootstrap" else f"build, from {first} on"
    if first == "bootstrap":
        return "rebuild"
    return "update" if first == "upgrade" else f"from {first} on"


def _reasons(plan: Plan) -> str:
    own = [row.reason for row in plan.todo if not row.reason.startswith("comes after ")]
    return "; ".join(dict.fromkeys(own[:_SHOWN]))


def _failure(seen: Seen) -> dict[str, Any] | None:
    """The last failure, if it was not an interrupt, which the next run goes on from."""
    found = seen.failed
    if found is None or found.get("error") == INTERRUPTED:
        return None
    keys = ("stage", "time", "since", "times", "error", "class", "exit_code", "log")
    return {key: found[key] for key in keys if key in found}


def _details(seen: Seen, now: float) -> list[str]:
    """What `why` tells beside the state, a sentence each."""
    rows: list[str] = []
    if seen.failed is not None and seen.failed.get("error") == INTERRUPTED:
        rows.append(f"the last run was interrupted in stage {seen.failed['stage']}")
    if seen.world is not None and seen.last is not None:
        days_ = seen.world.loaded.recipe.rebuild_after_days
        age = now - seen.last.get("pins", {}).get("resolved_at", now)
        rows.append(
            f"its base was made {days(max(age, 0))} ago; an update after {days_} days starts from bootstrap"
        )
    return rows


def exit_status(rows: Sequence[Status]) -> int:
    """0: all fresh, 2: updates available, 1: something failed or is stale."""
    found = {1 if row.stale else EXIT[row.state] for row in rows}
    return 1 if 1 in found else max(found, default=0)


def days(seconds: float) -> str:
    """An age in words: "5 hours", "3 days"."""
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} minutes"
    if seconds < 2 * DAY_S:
        return f"{seconds / 3600:.0f} hours"
    return f"{seconds / DAY_S:.0f} days"


def when(moment: float | None) -> str:
    """A time of the local clock, to the minute; "-" for none."""
    return "-" if moment is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))


def _first_line(text: object) -> str:
    return str(text).splitlines()[0] if text else ""
