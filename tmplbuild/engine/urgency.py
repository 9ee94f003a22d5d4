"""Which of many builds comes first: what is overdue, then what takes longest, so that no long one is left for
the end of the night."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tmplbuild.engine.pinning import DAY_S
from tmplbuild.engine.plan import Plan

NEVER_DAYS = 36500
"""A template that was never built is overdue by so many days."""


def urgency(plan: Plan, last: Mapping[str, Any] | None, *, now: float, stale_after_days: int) -> float:
    """The greater, the earlier: days overdue, each counted as a day's seconds, and the seconds that the build
    will take.

    Parameters:
        last: the record of the last good build, None if there is none.
        now: seconds since the epoch.
        stale_after_days: age from which a template is overdue; 0 for never.
    """
    return DAY_S * _overdue(last, now, stale_after_days) + min(expected_s(plan, last), DAY_S - 1)


def expected_s(plan: Plan, last: Mapping[str, Any] | None) -> float:
    """How long the plan's steps took when they were last run, seconds; what is not known takes none."""
    known = (last or {}).get("seconds", {})
    return float(sum(known.get(row.step.name, 0.0) for row in plan.todo))


def _overdue(last: Mapping[str, Any] | None, now: float, stale_after_days: int) -> int:
    if last is None:
        return NEVER_DAYS
    late = (now - last["made"]) / DAY_S - stale_after_days
    return max(0, round(late)) if stale_after_days else 0
