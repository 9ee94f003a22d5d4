"""nightly: every enabled template up to date, at the least cost, and a report of what came of it.

All templates are looked at in this process, which asks each archive once; only those for which something
is to be done get a process of their own, several at a time. The same is done for `update NAME...`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tmplbuild import __version__
from tmplbuild.config import Settings, as_environment
from tmplbuild.core.process import be_nice
from tmplbuild.engine import failure
from tmplbuild.engine.budget import Budget, available_mib
from tmplbuild.engine.courier import deliver
from tmplbuild.engine.look import Seen, look, select
from tmplbuild.engine.room import need_of
from tmplbuild.engine.status import Status, judge
from tmplbuild.engine.urgency import urgency
from tmplbuild.engine.workers import Ended, Job, Workers
from tmplbuild.engine.world import Wish
from tmplbuild.errors import HostError, StageError, TmplbuildError
from tmplbuild.events import Emit, NightDone, NightStarted, Note, TemplateDone
from tmplbuild.ui.errors import error_object

if TYPE_CHECKING:
    from tmplbuild.engine.elsewhere import Elsewhere

Row = dict[str, Any]
Report = dict[str, Any]

_OUTCOMES = ("failed", "built", "updated", "unchanged", "busy", "skipped")


def run(
    settings: Settings,
    patterns: Sequence[str],
    *,
    emit: Emit,
    enabled_only: bool,
    wish: Wish,
    elsewhere: Elsewhere | None = None,
    arches: Sequence[str] = (),
    nice: bool = True,
) -> Report:
    """Bring templates up to date.

    Parameters:
        patterns, enabled_only: which: see `tmplbuild.engine.look.select`.
        wish: for all of them.
        elsewhere: the machines that make the layers where this one is not to.
        arches: each template for each of them that its recipe has.
        nice: let other work of this machine go first, as the settings' [nightly] says.

    Returns the report: what docs/json.md says of it. A failure of one template is a row in it, and takes
    nothing from the others. Raises UsageError, and KeyboardInterrupt after all builds have stopped.
    """
    began, start = time.time(), time.monotonic()
    names = select(settings, patterns, enabled_only=enabled_only)
    seen = look(settings, names, wish, arches, elsewhere.has if elsewhere is not None else None)
    by_template = {one.template: one for one in seen if one.error is None and not one.skip}
    todo = [one for one in by_template.values() if not one.current]
    emit(NightStarted(tuple(one.template for one in todo)))
    rows: dict[int, Row] = {}

    def told(one: Seen, outcome: str, text: str, ended: Ended | None = None) -> None:
        rows[id(one)] = _row(settings, one, outcome, text, ended)
        emit(TemplateDone(one.template, outcome, text, ended.seconds if ended else 0.0))

    for one in seen:
        if one.skip:
            told(one, "skipped", one.skip)
        elif one.error is not None:
            _remember(one)
            told(one, "failed", one.error.what)
        elif one.current:
            if one.failed is not None and one.world is not None:
                one.world.store.forget_failed(one.template)  # what failed was other packages
                one.failed = None
            told(one, "unchanged", _unchanged(one))

    def ended(found: Ended) -> None:
        one = by_template[found.template]
        told(one, *_outcome(one, found), found)

    if todo:
        if nice:
            _give_way(settings, emit)
        crew = elsewhere.crew(settings, wish, emit) if elsewhere is not None else _workers(settings, emit)
        crew.run(
            [_job(one, wish) for one in _in_order(settings, todo, overdue_first=elsewhere is not None)], ended
        )
    return _report(began, time.monotonic() - start, [rows[id(one)] for one in seen])


def finish(report: Report, settings: Settings, *, emit: Emit, send: bool) -> int:
    """Show the report and, if asked to, keep and send it. Returns the exit status of the run."""
    troubles = deliver(report, settings) if send else []
    for error in troubles:
        emit(Note(str(error), "warning"))
    emit(NightDone(report))
    return 1 if troubles else int(report["status"])


def _remember(one: Seen) -> None:
    if one.world is not None and one.error is not None:
        failure.remember(one.world.store, one.template, "resolve", one.error)
        one.failed = one.world.store.read_record(one.template, failure.KIND)


def _unchanged(one: Seen) -> str:
    assert one.resolved is not None
    return one.resolved.reason


def _give_way(settings: Settings, emit: Emit) -> None:
    night = settings.nightly
    try:
        be_nice(night.nice, night.ionice)
    except (HostError, StageError) as error:
        emit(Note(f"{error.what} {error.why}", "warning"))


def _workers(settings: Settings, emit: Emit) -> Workers:
    night = settings.nightly
    budget = Budget(
        jobs=night.jobs or _at_once(settings.jobs),
        memory_mib=night.memory_mib or available_mib(),
        keep_free_mib=night.keep_free_mib,
        place=settings.state_dir,
    )
    return Workers(budget, as_environment(settings), emit=emit, timeout_s=night.timeout_s)


def _at_once(jobs: int) -> int:
    """Templates at once where nobody says: a build waits for its VE for a good part of its time, so that
    twice as many as there are processors keep them busy (benchmarks/nightly.py --part parallel)."""
    return 2 * jobs if jobs > 1 else 1


def _in_order(settings: Settings, todo: Sequence[Seen], *, overdue_first: bool) -> list[Seen]:
    """The longest first, so that none is left for the end; by a fleet, which has many at once, what is
    overdue before those."""

    def first(one: Seen) -> float:
        assert one.plan is not None
        if not overdue_first:
            return len(one.plan.todo)
        days = settings.nightly.stale_after_days
        return urgency(one.plan, one.last, now=time.time(), stale_after_days=days)

    return sorted(todo, key=first, reverse=True)


def _job(one: Seen, asked: Wish) -> Job:
    assert one.plan is not None
    flags = {
        "--rebuild": asked.rebuild,
        "--allow-older": asked.allow_older,
        "--offline": asked.offline,
        "--no-boot-test": not asked.boot_test,
    }
    words = ["build", one.name, "--json", "--here", *(["--arch", one.arch] if one.arch else [])]
    words += ["--from", asked.rerun_from] if asked.rerun_from else []
    words += [flag for flag, given in flags.items() if given]
    if not asked.offline:
        words.append("--seen")  # the archives were asked just now, for all templates at once
    layers = tuple(row.step.key for row in one.plan.todo if row.step.makes_layer)
    return Job(one.template, tuple(words), need_of(one), layers)


def _outcome(one: Seen, found: Ended) -> tuple[str, str]:
    """The build's outcome in a word, and why; what is known of the template is brought up to date."""
    assert one.world is not None
    assert one.plan is not None
    store, before, first = one.world.store, one.failed, one.last is None
    one.last = one.world.record()
    one.failed = store.read_record(one.template, failure.KIND)
    if found.error is not None and not found.busy and one.failed == before:  # it could not say so itself
        crash = TmplbuildError(str(found.error.get("what")), why=str(found.error.get("why", "")))
        failure.remember(store, one.template, "build", crash)
        one.failed = store.read_record(one.template, failure.KIND)
    if found.busy:
        return "busy", str((found.error or {}).get("why") or "another run is building it")
    if found.error is not None:
        return "failed", str(found.error.get("what", ""))
    one.current, one.failed = True, None
    if found.unchanged:
        return "unchanged", str(found.summary.get("why", ""))
    stages = found.summary.get("stages", [])
    ran = [row for row in stages if not row.get("cached")]
    why = "; ".join(dict.fromkeys(r["reason"] for r in ran if not r["reason"].startswith("comes after ")))
    outcome = "built" if first or any(row["name"] == "bootstrap" for row in ran) else "updated"
    return outcome, why or one.plan.pins_reason


def _row(settings: Settings, one: Seen, outcome: str, text: str, ended: Ended | None) -> Row:
    status: Status = judge(one, now=time.time(), stale_after_days=settings.nightly.stale_after_days)
    error = ended.error if ended is not None else None
    if error is None and one.error is not None:
        error = error_object(one.error)
    summary = ended.summary if ended is not None else {}
    if outcome == "failed" and status.state != "failed":  # not even begun, or ended without a word
        status = replace(status, state="failed", why=text)
    return {
        **status.to_json(),
        "outcome": outcome,
        "why": text,
        "seconds": round(ended.seconds, 3) if ended is not None else 0.0,
        "error": error if outcome == "failed" else None,
        "sha256": (one.last or {}).get("summary", {}).get("sha256"),
        "stages": summary.get("stages", []),
        "changes": _changes(summary),
        "warnings": summary.get("warnings", []),
    }


def _changes(summary: dict[str, Any]) -> list[str]:
    """What a build changed, a line each: what may break those who use the template first."""
    headline = summary.get("changed")
    return [*summary.get("breaking", ()), *([str(headline)] if headline else [])]


def _report(began: float, seconds: float, rows: list[Row]) -> Report:
    counts = {name: sum(row["outcome"] == name for row in rows) for name in _OUTCOMES}
    bad = any(row["outcome"] == "failed" or row["stale"] for row in rows)
    return {
        "tool": f"tmplbuild {__version__}",
        "began": round(began, 3),
        "seconds": round(seconds, 3),
        "status": 1 if bad else 0,
        "counts": {name: count for name, count in counts.items() if count},
        "stale": [row["template"] for row in rows if row["stale"]],
        "templates": rows,
    }
