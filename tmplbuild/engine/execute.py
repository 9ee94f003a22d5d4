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
from tmplbuild.engine.beside import Beside, Held
from tmplbuild.engine.locks import layer_lock
from tmplbuild.engine.plan import Plan, Planned
from tmplbuild.engine.store import Draft, Layer, Store
from tmplbuild.errors import StageError, TmplbuildError
from tmplbuild.events import Command, Emit, Event, Note, Output, StageDone, StageFailed, StageStarted

Action = Callable[[Bench], dict[str, Any]]


@dataclass(slots=True)
class Done:
    """How a step went: its `note` (what the stage returned), seconds, whether it was there already, and the
    machine where it ran, if that was another one."""

    name: str
    key: str
    cached: bool
    seconds: float
    reason: str
    note: dict[str, Any] = field(default_factory=dict)
    host: str = ""


@dataclass(frozen=True, slots=True)
class Shop:
    """All that executing needs beside the plan.

    Parameters:
        bench: makes the bench for a step and its draft's tree, with the emit that also writes the step's log.
        actions: what each step does, by name.
        log_dir: one log a step goes here.
        ahead: packs ahead while the steps run.
        beside: the step that may run while those between the last layer and it do, where layers can be
            stacked: it tries the very tree that they look at.
        meanwhile: is given the steps so far when there is nothing to do but wait for that one.
    """

    store: Store
    bench: Callable[[str, Draft, Emit], Bench]
    actions: dict[str, Action]
    log_dir: Path
    emit: Emit
    ahead: Ahead
    beside: str = ""
    meanwhile: Callable[[list[Done]], None] = lambda done: None


def execute(plan: Plan, shop: Shop) -> list[Done]:
    """Run the plan's steps. What is committed stays, so that a later run resumes at the failed step.

    Raises the stage's own error, completed with its log; the failed tree is kept for `shell`.
    """
    with shop.ahead:
        return _steps(plan, shop)


def _steps(plan: Plan, shop: Shop) -> list[Done]:
    result: list[Done] = []
    beside: _BesideStep | None = None
    try:
        for index, planned in enumerate(plan.steps, 1):
            if beside is None and not planned.step.makes_layer:
                beside = _begin_beside(plan, shop)
            if beside is not None and planned is beside.planned:
                shop.meanwhile(result)
                result.append(beside.finish())
            else:
                result.append(_step(plan, planned, index, shop))
    finally:
        if beside is not None:
            beside.cancel()
    return result


def _step(plan: Plan, planned: Planned, index: int, shop: Shop) -> Done:
    step = planned.step
    with _alone(planned, shop):
        layer = None if planned.again else shop.store.get(step.key)
        if planned.runs and (layer is None or not _just_made(layer, shop.store)):
            return _run(plan, planned, index, shop)
    reason = "another build has just made it" if planned.runs else planned.reason
    note = layer.note if layer is not None else {}
    shop.emit(StageDone(step.name, index, len(plan.steps), 0.0, True, reason))
    return Done(step.name, step.key, True, 0.0, reason, note)


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
    with _failing(plan, planned, index, shop, start):
        shop.emit(StageStarted(step.name, index, total, planned.reason))
        with _logged(_log(planned, index, shop), shop.emit) as emit, _tree(plan, planned, shop) as draft:
            note = _worked(planned, shop, draft, shop.bench(step.name, draft, emit), emit)
            _commit(planned, shop, draft, note)
    seconds = time.monotonic() - start
    shop.emit(StageDone(step.name, index, total, seconds, False, planned.reason))
    return Done(step.name, step.key, False, seconds, planned.reason, note)


@contextmanager
def _failing(plan: Plan, planned: Planned, index: int, shop: Shop, start: float) -> Iterator[None]:
    """What fails or is interrupted within is remembered; an error is completed with its log."""
    try:
        yield
    except TmplbuildError as error:
        log = _log(planned, index, shop)
        shop.emit(StageFailed(planned.step.name, time.monotonic() - start, str(log)))
        told = _completed(error, plan, planned, log)
        _record_failure(plan, planned, shop, told)
        raise told from error
    except BaseException:  # interrupted, at whatever moment
        _record_failure(plan, planned, shop, None)
        raise


def _log(planned: Planned, index: int, shop: Shop) -> Path:
    return shop.log_dir / f"{index:02}-{planned.step.name}.log"


def _worked(planned: Planned, shop: Shop, draft: Draft, bench: Bench, emit: Emit) -> dict[str, Any]:
    """Run the stage's function on a draft; its note. The tree of one that fails is kept."""
    step = planned.step
    try:
        note = shop.actions[step.name](bench)
    except TmplbuildError as error:
        emit(Note(f"failed: {error}", "log"))
        if step.makes_layer:
            shop.store.fail(draft, step.name)
        raise
    emit(Note(f"done: {_told(note)}", "log"))
    return note


def _commit(planned: Planned, shop: Shop, draft: Draft, note: dict[str, Any]) -> None:
    step = planned.step
    if step.makes_layer:
        shop.store.commit(draft, step.key, step.name, note)
        shop.ahead.committed(step.name, step.key, note)
    else:
        shop.store.commit_note(step.key, step.name, step.parent, note)


def _begin_beside(plan: Plan, shop: Shop) -> _BesideStep | None:
    """Begin the step that may run beside others, now that the tree is there, if it is to run at all."""
    for index, planned in enumerate(plan.steps, 1):
        if planned.step.name == shop.beside and planned.runs:
            tree = next(row.step.key for row in reversed(plan.steps) if row.step.makes_layer)
            if len(shop.store.chain(tree)) > 1:
                return _BesideStep(plan, planned, index, shop, tree)
    return None


class _BesideStep:
    """A planned step that runs beside others, and is committed in its turn, after what it rests on."""

    def __init__(self, plan: Plan, planned: Planned, index: int, shop: Shop, tree: str) -> None:
        self.planned = planned
        self._plan, self._index, self._shop, self._tree = plan, index, shop, tree
        self._start = time.monotonic()
        self._emit = Held(shop.emit)
        self._thread = Beside(self._work)

    def _work(self, ended_by: Callable[[Callable[[], None]], None]) -> dict[str, Any]:
        planned, shop = self.planned, self._shop
        log = _log(planned, self._index, shop)
        with _logged(log, self._emit) as emit, shop.store.look(self._plan.template, self._tree) as draft:
            bench = shop.bench(planned.step.name, draft, emit)
            ended_by(bench.abandon)
            return _worked(planned, shop, draft, bench, emit)

    def finish(self) -> Done:
        """Show what it did and does, wait for its end, commit. Raises its error."""
        planned, plan, step = self.planned, self._plan, self.planned.step
        with _failing(plan, planned, self._index, self._shop, self._start):
            self._shop.emit(StageStarted(step.name, self._index, len(plan.steps), planned.reason))
            self._emit.release()
            note = self._thread.join()
            self._shop.store.commit_note(step.key, step.name, step.parent, note)
        seconds = self._thread.seconds
        self._shop.emit(StageDone(step.name, self._index, len(plan.steps), seconds, False, planned.reason))
        return Done(step.name, step.key, False, seconds, planned.reason, note)

    def cancel(self) -> None:
        """Have it end if it has not yet."""
        self._thread.cancel()


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
