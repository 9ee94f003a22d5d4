"""A build's steps, done by the fleet: orders are given, lost work is given again, what came of it is fetched.

This machine resolves, plans and publishes; see `tmplbuild.engine.elsewhere`.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmplbuild import errors
from tmplbuild.config import Settings
from tmplbuild.engine import failure
from tmplbuild.engine.budget import BUILD_MIB
from tmplbuild.engine.elsewhere import Crew
from tmplbuild.engine.execute import Done
from tmplbuild.engine.keys import digest
from tmplbuild.engine.plan import Plan
from tmplbuild.engine.urgency import urgency
from tmplbuild.engine.world import Resolved, Wish, World
from tmplbuild.errors import BusyError, FetchError, StageError, StoreError, TmplbuildError, VerifyError
from tmplbuild.events import Away, Emit, Note, StageDone, StageFailed, StageStarted
from tmplbuild.fleet.arrival import Arrival, bring
from tmplbuild.fleet.crew import FleetCrew
from tmplbuild.fleet.graph import Task, at_once, needs_of, submit, tasks_of
from tmplbuild.fleet.identity import identity
from tmplbuild.fleet.lacks import nobody_has
from tmplbuild.fleet.order import give, part_of, secrets_of
from tmplbuild.fleet.parties import LostError
from tmplbuild.fleet.shared import SharedStore
from tmplbuild.ui.jsonlines import event_of

if TYPE_CHECKING:
    from tmplbuild.fleet.desk import Desk
    from tmplbuild.fleet.grid import Grid

Found = dict[str, Any]

_ATTEMPTS = 6
_RETRYABLE = {kind.exit_code for kind in (FetchError, StoreError, BusyError)}
"""What another machine, or the same one later, may do better: no mirror answered, the disk was full, the
store could not be reached. A script that fails, and bytes that are wrong, are so everywhere."""
_COME_S = 60.0  # workers that have just been started
_BACK_S = 180.0  # a scheduler that is restarted is waited for
_ABSENT_S = 15.0  # so is a worker, when no other one can do it
_FRESH_S = 1.0  # who is there is asked no oftener, for all templates


class Fleet:
    """Workers and their store.

    Parameters:
        grid: the workers, by way of their scheduler.
        store: the shared store's address.
        patience_s: how long it is asked again when it does not answer, seconds.
        tell: called with a line when it does not answer, and when it does again.
    """

    def __init__(
        self, grid: Grid | Desk, store: str, *, patience_s: float, tell: Callable[[str], None]
    ) -> None:
        self.grid = grid
        self.over = threading.Event()
        self.shared = SharedStore(store, patience_s=patience_s, tell=tell, over=self.over)
        self._made: set[str] | None = None
        self._lock = threading.Lock()
        self._ears: dict[str, list[Callable[[Found], None]]] = {}
        self._sent: dict[Path, str] = {}
        self.common: set[str] = set()  # keys of layers that several templates of this run need
        self.futures: set[Any] = set()
        self._seats: Counter[str] = Counter()
        grid.listen(self._hear)

    def has(self, key: str) -> bool:
        """See `Elsewhere.has`; the store is asked once, at the first question."""
        with self._lock:
            if self._made is None:
                self.grid.wait_for_workers(_COME_S)
                self._made = {name.removesuffix(".json") for name in self.shared.names("layers")}
            return key in self._made

    def make(
        self,
        world: World,
        resolved: Resolved,
        plan: Plan,
        emit: Emit,
        look_ahead: Callable[[], None],
    ) -> list[Done]:
        """See `Elsewhere.make`."""
        order = give(world, resolved, plan, self.shared, self._sent)
        arrival = Arrival(self.shared, world, resolved, plan, look_ahead)
        job = _Job(self, world, plan, order, emit, arrival)
        try:
            found = job.run()
        except BaseException as error:
            stage, steps = job.stage, [{"name": row.step.name, "key": row.step.key} for row in plan.steps]
            key = next((row["key"] for row in steps if row["name"] == stage), "")
            told = error if isinstance(error, TmplbuildError) and not self.over.is_set() else None
            failure.remember(world.store, world.template, stage or "fleet", told, key=key, steps=steps)
            raise
        done = arrival.complete(found)
        with self._lock:
            if self._made is not None:
                self._made |= {row.step.key for row in plan.steps}
        return done

    def crew(self, settings: Settings, asked: Wish, emit: Emit) -> Crew:
        """See `Elsewhere.crew`."""
        self.grid.wait_for_workers(_COME_S)
        emit(Note(f"Dask's own page: {self.grid.dashboard}"))
        jobs = sum(one.jobs for one in self.grid.members() if one.version == identity())
        return FleetCrew(
            settings,
            asked,
            emit,
            elsewhere=self,
            at_once=at_once(jobs),
            common=self.common.update,
            stop=self.stop,
        )

    def stop(self) -> None:
        """Call off whatever is under way: the run has been interrupted."""
        self.over.set()
        with self._lock:
            futures = list(self.futures)
        self.grid.call_off(futures)

    @contextmanager
    def seat(self, host: str) -> Iterator[list[Any]]:
        """What draws a template to the worker of that name (`Grid.lure`), or nothing: nobody is to wait for
        one machine, which built all of them last, while others have nothing to do."""
        there = self.grid.members(_FRESH_S) if host else []
        member = next((one for one in there if one.name == host), None)
        with self._lock:
            given = member is not None and self._seats[host] < 2 * member.jobs
            self._seats[host] += given
        try:
            yield self.grid.lure(member.address) if member is not None and given else []
        finally:
            with self._lock:
                self._seats[host] -= given

    # -- events ----------------------------------------------------------------------------------

    def _hear(self, bundle: Found) -> None:
        with self._lock:
            ears = list(self._ears.get(bundle["key"], ()))
        for ear in ears:
            ear(bundle)

    def attend(self, key: str, ear: Callable[[Found], None]) -> None:
        """Let somebody hear the events of a task."""
        with self._lock:
            self._ears.setdefault(key, []).append(ear)

    def turn_away(self, key: str, ear: Callable[[Found], None]) -> None:
        """The inverse of `attend`."""
        with self._lock:
            self._ears[key].remove(ear)
            if not self._ears[key]:
                del self._ears[key]


@dataclass
class _Job:
    """One template's parts, from submission to their ends."""

    fleet: Fleet
    world: World
    plan: Plan
    order: str
    emit: Emit
    arrival: Arrival
    stage: str = ""  # that was heard of last
    avoid: set[str] = field(default_factory=set)

    def run(self) -> list[Found]:
        """All parts that have something to do. Raises the error of the one that failed."""
        for index, row in enumerate(self.plan.steps, 1):
            if not row.runs:
                self.emit(StageDone(row.step.name, index, len(self.plan.steps), 0.0, True, row.reason))
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                # whoever built it last has its layers
                with self.fleet.seat((self.world.record() or {}).get("host", "")) as lure:
                    return self._attempt(attempt, lure)
            except LostError as error:
                if self.fleet.over.is_set():
                    raise KeyboardInterrupt from error
                why = error.why
                if attempt == _ATTEMPTS or not self._is_back():
                    raise StageError(
                        "the fleet lost this build", where=self.world.template, why=why
                    ) from error
                self.emit(Note(f"lost, and given out again ({why})", "warning"))
            except TmplbuildError as error:
                if error.exit_code not in _RETRYABLE or attempt == _ATTEMPTS:
                    raise
                self.emit(Note(f"{error.what} ({error.where}): given to another machine", "warning"))
        raise AssertionError("unreachable")

    def _is_back(self) -> bool:
        deadline = time.monotonic() + _BACK_S
        while time.monotonic() < deadline and not self.fleet.over.wait(1.0):
            if self.fleet.grid.is_back():
                return True
        return False

    def _attempt(self, attempt: int, lure: list[Any]) -> list[Found]:
        grid, only = self.fleet.grid, []
        if self.avoid:  # a machine that is started again has another address, and another chance
            only = [one.address for one in grid.members() if one.address not in self.avoid]
        again = "" if attempt == 1 else f"~{attempt}-{digest(only)[:8]}"
        tasks = tasks_of(
            self.plan,
            self.order,
            shared=self.fleet.common,
            needs=self._needs,
            urgency=self._urgency(),
            again=again,
        )
        self._can_be_done(tasks)
        futures: list[Any] = []
        for task in tasks:
            self.fleet.attend(task.key, self._hear)
        try:
            futures = submit(grid, self.order, tasks, only=only, lure=lure)
            self.fleet.futures.update(futures)
            if self.fleet.over.is_set():
                raise KeyboardInterrupt
            return [self._ended(*pair, only) for pair in zip(futures, tasks, strict=True)]
        finally:
            for task in tasks:
                self.fleet.turn_away(task.key, self._hear)
            for future in futures:
                self.fleet.futures.discard(future)
                grid.forget(future)

    def _can_be_done(self, tasks: Sequence[Task]) -> None:
        """Raise HostError when no worker can do one of them, nor comes to that within some seconds."""
        deadline = time.monotonic() + _ABSENT_S
        for task in tasks:
            while lacks := self.fleet.grid.lacking(task.needs):
                if self.fleet.over.wait(1.0):
                    raise KeyboardInterrupt
                if time.monotonic() > deadline:
                    where = f"{self.world.template}: {task.part}"
                    raise nobody_has(lacks, task.needs, where, secrets_of(self.world, task.part))

    def _ended(self, future: Any, task: Task, only: list[str]) -> Found:
        found = self.fleet.grid.result(future, task.needs, only)
        if "error" not in found:
            self._take_logs(found)
            return found
        with suppress(StoreError, VerifyError):  # what went wrong first is told
            self._take_logs(found)
        if address := self.fleet.grid.worker_of(future):
            self.avoid.add(address)
        raise error_of(found["error"], found.get("worker", ""), self._log())

    def _needs(self, part: str) -> dict[str, float]:
        loaded = self.world.loaded
        memory_mib = min(loaded.recipe.limits.memory_mib, BUILD_MIB)
        return needs_of(loaded.ve_arch, memory_mib, secrets_of(self.world, part))

    def _urgency(self) -> float:
        days = self.world.settings.nightly.stale_after_days
        return urgency(self.plan, self.world.record(), now=time.time(), stale_after_days=days)

    def _hear(self, bundle: Found) -> None:
        places = {row.step.name: index for index, row in enumerate(self.plan.steps, 1)}
        steps = tuple(row.step for row in self.plan.steps)
        ours = {step.name for step in part_of(steps, bundle["part"])}
        for found in bundle["events"]:
            event = event_of(found)
            if isinstance(event, StageStarted | StageDone):
                if event.stage not in ours:  # what lies below is only fetched
                    continue
                self.stage = event.stage
                event = replace(event, index=places[event.stage], total=len(places))
                if isinstance(event, StageStarted):
                    event = replace(event, host=bundle["host"])
                self.emit(event)
            elif isinstance(event, StageFailed):
                self.stage = event.stage
                self.emit(replace(event, log=self._log(), host=bundle["host"]))
            elif isinstance(event, Away):
                self.arrival.begin(event)
            elif event is not None:
                self.emit(event)

    def _take_logs(self, found: Found) -> None:
        folder = self.world.store.log_dir(self.world.template)
        for name, sha256 in found.get("logs", {}).items():
            path = folder / Path(name).name
            path.unlink(missing_ok=True)
            bring(sha256, path, self.world, self.fleet.shared)

    def _log(self) -> str:
        folder = self.world.store.log_dir(self.world.template)
        return str(next(iter(sorted(folder.glob(f"*-{self.stage}.log"))), "")) if self.stage else ""


def error_of(found: Found, worker: str, log: str) -> TmplbuildError:
    """An error as another machine told it, with the machine's name."""
    kind = getattr(errors, str(found.get("class")), TmplbuildError)
    where = " on ".join(filter(None, (str(found.get("where", "")), worker)))
    texts = {"where": where, "why": str(found.get("why", "")), "hint": str(found.get("hint", ""))}
    if kind is StageError:
        hint = texts["hint"].partition("open the failed tree with:")
        if hint[1]:
            texts["hint"] = f"{hint[0]}on {worker}, open the failed tree with:{hint[2]}"
        return StageError(str(found["what"]), **texts, log=log, tail=tuple(found.get("tail", ())))
    if not (isinstance(kind, type) and issubclass(kind, TmplbuildError)):
        kind = TmplbuildError
    made: TmplbuildError = kind(str(found["what"]), **texts)
    return made
