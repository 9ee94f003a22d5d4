"""build: one template from its recipe to the template cache."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmplbuild.config import Settings
from tmplbuild.engine import failure
from tmplbuild.engine.deliver import prepare_directory
from tmplbuild.engine.locks import template_lock, tidy_lock
from tmplbuild.engine.pins import describe_archives
from tmplbuild.engine.plan import Plan
from tmplbuild.engine.record import delivered, make_record, put, stage_row, with_changes
from tmplbuild.engine.room import foresee, wanted
from tmplbuild.engine.world import Resolved, Wish, World, open_world, plan_of, prepare_host, resolve
from tmplbuild.errors import BusyError, FetchError, StageError, TmplbuildError, VerifyError
from tmplbuild.events import Emit, Note, RunDone, RunStarted

if TYPE_CHECKING:
    from tmplbuild.changes.facts import Facts
    from tmplbuild.engine.chronicle import Chronicle
    from tmplbuild.engine.elsewhere import Elsewhere
    from tmplbuild.engine.execute import Done
    from tmplbuild.recipes import LoadedRecipe


@dataclass(frozen=True, slots=True)
class Result:
    """What a build came to: the template's file, whether anything was done, and the summary."""

    file: Path
    unchanged: bool
    summary: dict[str, object]


def build(
    name: str,
    *,
    settings: Settings,
    emit: Emit,
    loaded: LoadedRecipe | None = None,
    elsewhere: Elsewhere | None = None,
    **wish: Any,
) -> Result:
    """Build a template or bring it up to date.

    Parameters:
        name: the recipe's name, or the path of its file.
        loaded: the recipe, if it has been read already.
        elsewhere: the machines that make the layers where this one is not to.
        wish: see `tmplbuild.engine.world.Wish`.

    Raises the error of whatever failed; the template in the cache is then as it was before.
    """
    start = time.monotonic()
    asked = Wish(**wish)
    made_there = elsewhere.has if elsewhere is not None else None
    world = open_world(name, asked, settings, emit, loaded=loaded, made_there=made_there)
    with template_lock(settings.state_dir, world.template):
        if elsewhere is None:
            world.core.gc()  # needs root, and says so before anything is made in a user's directories
        prepare_directory(settings.template_cache)
        chronicle = functools.cache(lambda: _chronicle(world, start))  # not for a run that does nothing
        try:
            return _build(world, asked, elsewhere, chronicle, start)
        except BaseException as error:
            chronicle().failed(error)
            raise


def _chronicle(world: World, start: float) -> Chronicle:
    from tmplbuild.engine.chronicle import Chronicle

    return Chronicle(world, start)


def _build(
    world: World, asked: Wish, elsewhere: Elsewhere | None, chronicle: Callable[[], Chronicle], start: float
) -> Result:
    """What `build` does under the template's lock."""
    with failure.remembered(world.store, world.template, "resolve"):
        resolved = resolve(world, asked)
        plan = plan_of(world, resolved, asked)
    last = world.record()
    if last is not None and plan.repeats(last):
        if any((world.store.builds / world.template).glob(".*")):
            chronicle()  # a crash kept the last build out of the history: this mends it
        return _unchanged(world, resolved, last, start)
    book = chronicle()
    book.why = resolved.reason
    if elsewhere is None:
        with failure.remembered(world.store, world.template, "room"):
            foresee(wanted(world.settings, world.cache, resolved.pins, plan, last))
        prepare_host(world)
    world.emit(RunStarted(world.template, tuple(row.step.name for row in plan.steps)))
    resolved, plan, done = _make(world, asked, elsewhere, resolved, plan, book)
    with failure.remembered(world.store, world.template, "deliver"):
        record = _published(world, resolved, plan, done, book)
    world.store.forget_failed(world.template)
    _tidy_alone(world)
    summary = {
        **record["summary"],
        "seconds": time.monotonic() - start,
        "stages": [stage_row(row) for row in done],
        "warnings": book.warnings,
    }
    world.emit(RunDone(world.template, False, summary))
    return Result(Path(str(summary["file"])), False, summary)


def _published(
    world: World, resolved: Resolved, plan: Plan, done: list[Done], book: Chronicle
) -> dict[str, Any]:
    """What was made takes its name in the template cache and its place in the history."""
    from tmplbuild.engine.comparing import compare

    record, facts = _told(world, resolved, plan, done)
    build, changes = book.stage(record, facts)
    record = put(world, with_changes(record, build, changes, compare(world, facts)))
    book.reveal(build)
    world.store.make_durable()
    return record


def _told(world: World, resolved: Resolved, plan: Plan, done: list[Done]) -> tuple[dict[str, Any], Facts]:
    """The record of a build whose template is packed, and the facts of its tree."""
    from tmplbuild.engine.facts import facts_of, keys_of

    record = make_record(world, resolved, plan, done)
    return record, facts_of(world, keys_of(record), record["notes"]["pack"]["packages"], resolved.pins)


def _unchanged(world: World, resolved: Resolved, last: dict[str, Any], start: float) -> Result:
    again = last if delivered(world, last) else put(world, last)
    world.store.forget_failed(world.template)  # what failed was other packages, or another recipe
    summary = {
        **again["summary"],
        "seconds": time.monotonic() - start,
        "why": why_unchanged(resolved.reason, there=again is last),
    }
    world.emit(RunDone(world.template, True, summary))
    return Result(Path(str(summary["file"])), True, summary)


def _make(
    world: World,
    asked: Wish,
    elsewhere: Elsewhere | None,
    resolved: Resolved,
    plan: Plan,
    book: Chronicle,
) -> tuple[Resolved, Plan, list[Done]]:
    """Run the plan; when it fails because the archives moved under it, once more with their new state.

    Returns what the result was made of, too.
    """

    def run(resolved: Resolved, plan: Plan) -> list[Done]:
        def look_ahead(packages: Iterable[Mapping[str, Any]] = ()) -> None:
            from tmplbuild.engine.facts import facts_of

            keys = {row.step.name: row.step.key for row in plan.steps}
            with suppress(TmplbuildError):  # whoever needs it will tell
                facts = facts_of(world, keys, packages, resolved.pins)
                if facts.packages:
                    book.look_ahead(resolved.pins, keys, facts)

        if elsewhere is not None:
            return elsewhere.make(world, resolved, plan, book, look_ahead)
        from tmplbuild.engine.actions import shop_of
        from tmplbuild.engine.execute import execute

        def meanwhile(done: list[Done]) -> None:
            look_ahead(next(row for row in done if row.name == "pack").note["packages"])

        return execute(plan, replace(shop_of(world, resolved, plan, book), meanwhile=meanwhile))

    try:
        return resolved, plan, run(resolved, plan)
    except (FetchError, VerifyError, StageError) as error:
        again = _moved(world, asked, resolved)
        if again is None:
            raise
        first = error.what
    book(Note(f"the archives moved during the build ({first}): once more with their new state", "warning"))
    plan = plan_of(world, again, asked)
    try:
        return again, plan, run(again, plan)
    except (FetchError, VerifyError, StageError) as error:
        if _moved(world, asked, again) is None:
            raise
        moving = FetchError(
            "the archives keep moving while the template is being built",
            why=f"first: {first}; then: {error.what}",
            hint="try again when the mirror has finished its update, or name another one (MIRROR=)",
        )
        failure.remember(world.store, world.template, "resolve", moving)
        raise moving from error


def _moved(world: World, asked: Wish, resolved: Resolved) -> Resolved | None:
    """The archives' new state, if they have one; None where they stand still or cannot be asked."""
    if asked.offline:
        return None
    try:
        now = resolve(world, replace(asked, seen=False))
    except TmplbuildError:
        return None  # what failed first tells more
    return None if describe_archives(now.states) == describe_archives(resolved.states) else now


def _tidy_alone(world: World) -> None:
    """Tidy up, unless a build that runs beside this one is at it."""
    with suppress(BusyError), tidy_lock(world.settings.state_dir):
        tidy(world)


def tidy(world: World) -> None:
    """Let go of what is beyond the settings' bounds: what is kept to be fast must not grow for ever."""
    from tmplbuild.engine.keeping import prune

    prune(world.settings, world.settings.cache, measured=False, building=True)


def make_plan(name: str, *, settings: Settings, emit: Emit, **wish: Any) -> Plan:
    """What `build` with the same arguments would do. Nothing is built.

    Raises as `build` does for the recipe and the archives.
    """
    asked = Wish(**wish)
    world = open_world(name, asked, settings, emit)
    return plan_of(world, resolve(world, asked), asked)


def why_unchanged(reason: str, *, there: bool) -> str:
    """Why nothing was done; `there`: the file lay where it belongs."""
    if not there:
        return "nothing moved; the file was missing from the template cache and was put there again"
    return f"{reason}, and the recipe is the same"
