"""execute: run what the plan says, one step after the other, each committed before the next begins."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tmplbuild.engine import failure
from tmplbuild.engine.ahead import Ahead
from tmplbuild.engine.bench import Bench
from tmplbuild.engine.locks import layer_lock
from tmplbuild.engine.plan import Plan, Planned
from tmplbuild.engine.store import Draft, Layer, Store
from tmplbuild.errors import StageError, TmplbuildError
from tmplbuild.events import Command, Emit, Event, Note, Output, StageDone, StageFailed, StageStarted

Action = Callable[[Bench], dict[str, Any]]


@dataclass(slots=True)
class Done:
    """How a step went: its `note` (what the stage returned), seconds, and whether it was there already."""

    name: str
    key: str
    cached: bool
    seconds: float
    reason: str
    note: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shop:
    """All that executing needs beside the plan.

    Parameters:
        bench: makes the bench for a step and its draft's tree, with the emit that also writes the step's log.
        actions: what each step does, by name.
        log_dir: one log a step goes here.
        ahead: packs ahead while the steps run.
    """

    store: Store
    bench: Callable[[str, Draft, Emit], Bench]
    actions: dict[str, Action]
    log_dir: Path
    emit: Emit
    ahead: Ahead


def execute(plan: Plan, shop: Shop) -> list[Done]:
    """Run the plan's steps. What is committed stays, so that a later run resumes at the failed step.

    Raises the stage's own error, completed with its log; the failed tree is kept for `shell`.
    """
    with shop.ahead:
        return _steps(plan, shop)


def _steps(plan: Plan, shop: Shop) -> list[Done]:
    result = []
    for index, planned in enumerate(plan.steps, 1):
        step = planned.step
        with _alone(planned, shop):
            layer = None if planned.again else shop.store.get(step.key)
            if planned.runs and (layer is None or not _just_made(layer, shop.store)):
                result.append(_run(plan, planned, index, shop))
                continue
        reason = "another build has just made it" if planned.runs else planned.reason
        note = layer.note if layer is not None else {}
        shop.emit(StageDone(step.name, index, len(plan.steps), 0.0, True, reason))
        result.append(Done(step.name, step.key, True, 0.0, reason, note))
    return result


def _just_made(layer: Layer, store: Store) -> bool:
    """Whether a layer that the plan did not know of was made on what lies below it now: by a build that
    runs beside this one, and not by one of long ago whose lower layers are gone."""
    if layer.parent is None:
        return True
    below = store.get(layer.parent)
    return below is not None and layer.made >= below.made


def _alone(planned: Planned, shop: Shop) -> AbstractContextManager[None]:
    """Builds that run at once make a layer that they share only once: the others wait for it."""
    if not planned.runs or planned.again or not planned.step.makes_layer:
        return nullcontext()

    def wait() -> None:
        shop.emit(Note(f"{planned.step.name}: another build is making the same layer; waiting for it"))

    return layer_lock(shop.store.dir, planned.step.key, wait)


def _run(plan: Plan, planned: Planned, index: int, shop: Shop) -> Done:
    step = planned.step
    total = len(plan.steps)
    start = time.monotonic()
    try:
        shop.emit(StageStarted(step.name, index, total, planned.reason))
        note = _work(plan, planned, index, shop, start)
    except TmplbuildError:
        raise
    except BaseException:  # interrupted, at whatever moment
        _record_failure(plan, planned, shop, None)
        raise
    seconds = time.monotonic() - start
    shop.emit(StageDone(step.name, index, total, seconds, False, planned.reason))
    return Done(step.name, step.key, False, seconds, planned.reason, note)


def _work(plan: Plan, planned: Planned, index: int, shop: Shop, start: float) -> dict[str, Any]:
    """Run the stage's function on a draft and commit what it made; its note."""
    step = planned.step
    log = shop.log_dir / f"{index:02}-{step.name}.log"
    with _logged(log, shop.emit) as emit, _tree(plan, planned, shop) as draft:
        try:
            note = shop.actions[step.name](shop.bench(step.name, draft, emit))
        except TmplbuildError as error:
            emit(Note(f"failed: {error}", "log"))
            shop.emit(StageFailed(step.name, time.monotonic() - start, str(log)))
            if step.makes_layer:
                shop.store.fail(draft, step.name)
            told = _completed(error, plan, planned, log)
            _record_failure(plan, planned, shop, told)
            raise told from error
        emit(Note(f"done: {_told(note)}", "log"))
        if step.makes_layer:
            shop.store.commit(draft, step.key, step.name, note)
            shop.ahead.committed(step.name, step.key, note)
        else:
            shop.store.commit_note(step.key, step.name, step.parent, note)
    return note


def _told(note: dict[str, Any]) -> str:
    """What a stage did, for its log; the list of packages stands in the manifest."""
    return json.dumps({key: value for key, value in note.items() if key != "packages"}, indent=1)


def _tree(plan: Plan, planned: Planned, shop: Shop) -> AbstractContextManager[Draft]:
    step = planned.step
    if step.makes_layer or step.parent is None:
        return shop.store.draft(plan.template, step.parent)
    return shop.store.look(plan.template, step.parent)


@contextmanager
def _logged(path: Path, emit: Emit) -> Iterator[Emit]:
    """An emit that also writes commands, their output and notes to a file."""
    path.unlink(missing_ok=True)  # the history of builds may have a link to the old one
    with path.open("wb") as file:

        def both(event: Event) -> None:
            if isinstance(event, Output):
                file.write(event.data)
            elif isinstance(event, Command):
                file.write(f"$ {' '.join(event.argv)}\n".encode("utf-8", "surrogateescape"))
                file.flush()
            elif isinstance(event, Note):
                file.write(f"# {event.text}\n".encode("utf-8", "surrogateescape"))
                if event.level == "log":
                    return
            emit(event)

        yield both


def _record_failure(plan: Plan, planned: Planned, shop: Shop, error: TmplbuildError | None) -> None:
    steps = [{"name": row.step.name, "key": row.step.key} for row in plan.steps]
    failure.remember(shop.store, plan.template, planned.step.name, error, key=planned.step.key, steps=steps)


def _completed(error: TmplbuildError, plan: Plan, planned: Planned, log: Path) -> TmplbuildError:
    """The same error, told with its stage, log and the way into the failed tree."""
    if not isinstance(error, StageError):
        return error
    look = f"tmplbuild shell {plan.template} --at {planned.step.name}"
    hint = f"{error.hint}; " if error.hint else ""
    return StageError(
        f"stage {planned.step.name}: {error.what}",
        where=error.where,
        why=error.why,
        hint=f"{hint}open the failed tree with: {look}",
        log=str(log),
        tail=error.tail,
    )
