"""Several builds at once, each a process of its own: one that crashes takes nothing with it."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tmplbuild.core.process import Sibling
from tmplbuild.engine.budget import Budget, Need
from tmplbuild.errors import BusyError, StageError, StoreError, TmplbuildError
from tmplbuild.events import Emit, Note, TemplateEvent
from tmplbuild.ui.errors import error_object
from tmplbuild.ui.jsonlines import event_of

_LOOK_S = 5.0  # memory and disk may come free without a word; signals: see core/waits.py
_GRACE_S = 60.0  # a build that is to stop takes down its VE first


@dataclass(frozen=True, slots=True)
class Job:
    """One template's build.

    Parameters:
        words: the command line, without the program.
        layers: keys of the layers that it makes, in order; who needs the same first one had better wait.
    """

    template: str
    words: tuple[str, ...]
    need: Need
    layers: tuple[str, ...] = ()

    @property
    def recipe(self) -> str:
        """The recipe's name."""
        return self.words[1]

    @property
    def arch(self) -> str | None:
        """The architecture, if it is not the recipe's first."""
        return self.words[self.words.index("--arch") + 1] if "--arch" in self.words else None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a build went: `error` is the object that --json prints of one, None after a good run."""

    template: str
    seconds: float
    unchanged: bool = False
    summary: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None

    @property
    def busy(self) -> bool:
        """Whether it was not begun, since another run builds this template."""
        return self.error is not None and self.error.get("exit_code") == BusyError.exit_code


class Workers:
    """Runs jobs within a budget.

    Parameters:
        env: the variables that give a build this run's settings.
        timeout_s: longest time of one build, seconds; 0: none.
        done: called with each build's end, in this thread, as it comes.
    """

    def __init__(self, budget: Budget, env: Mapping[str, str], *, emit: Emit, timeout_s: float = 0.0) -> None:
        self._budget = budget
        self._env = env
        self._emit = emit
        self._timeout_s = timeout_s
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self._running: dict[str, tuple[Job, threading.Thread]] = {}
        self._siblings: dict[str, Sibling] = {}
        self._lock = threading.Lock()
        self._over = False

    def run(self, jobs: Sequence[Job], done: Callable[[Ended], None]) -> None:
        """Run all jobs. An interrupt stops those that run, waits for them, and is raised again."""
        waiting = list(jobs)
        try:
            while waiting or self._running:
                self._start(waiting, done)
                if not self._running:
                    continue  # what was left could not even begin
                try:
                    ended = self._ended.get(timeout=_LOOK_S)
                except queue.Empty:
                    continue
                self._running.pop(ended.template)[1].join()
                done(ended)
        finally:
            self._stop()

    def _start(self, waiting: list[Job], done: Callable[[Ended], None]) -> None:
        """Begin what may begin now; what can never begin has ended."""
        while waiting:
            running = [job for job, _ in self._running.values()]
            needs = [job.need for job in running]
            made = {job.layers[0] for job in running if job.layers}
            # one that would only wait for a layer that another one makes comes later, if there is a choice
            order = sorted(waiting, key=lambda job: bool(job.layers) and job.layers[0] in made)
            job = next((job for job in order if self._budget.allows(job.need, needs)), None)
            if job is None:
                return
            waiting.remove(job)
            if lacking := self._budget.lacks(job.need) if not running else 0:
                done(Ended(job.template, 0.0, error=error_object(self._no_room(job, lacking))))
                continue
            thread = threading.Thread(target=self._work, args=(job,), name=f"build {job.template}")
            self._running[job.template] = job, thread
            thread.start()

    def _no_room(self, job: Job, lacking: int) -> StoreError:
        free = self._budget.free_mib()
        return StoreError(
            f"there is no room for a build of {job.template}",
            where=str(self._budget.place),
            why=f"it may take {job.need.disk_mib} MiB, {free} MiB are free, and {self._budget.keep_free_mib} "
            f"MiB are to stay so (nightly.keep_free_mib): {lacking} MiB are missing",
            hint="make room (tmplbuild cache prune)",
        )

    def _work(self, job: Job) -> None:
        """One build, in a thread of its own, which lives as long as the process."""
        start = time.monotonic()
        try:
            ended = self._built(job, start)
        except Exception as error:  # noqa: BLE001  # a row of the report, not the end of the run
            found = TmplbuildError(
                "the build could not be run", where=job.template, why=f"{type(error).__name__}: {error}"
            )
            ended = Ended(job.template, time.monotonic() - start, error=error_object(found))
        self._ended.put(ended)

    def _built(self, job: Job, start: float) -> Ended:
        sibling = Sibling(job.words, self._env)
        with self._lock:
            self._siblings[job.template] = sibling
            if self._over:  # while it was being started
                sibling.stop()
        late = threading.Event()

        def too_late() -> None:
            late.set()
            sibling.stop()

        timer = threading.Timer(self._timeout_s, too_late)
        if self._timeout_s:
            timer.start()
        last: dict[str, Any] = {}
        try:
            for line in sibling.lines():
                last = self._heard(job, line) or last
        finally:
            timer.cancel()
            status, said = sibling.wait()
            with self._lock:
                del self._siblings[job.template]
        seconds = time.monotonic() - start
        if late.is_set():
            error = StageError(
                f"the build took longer than {self._timeout_s:g} s and was stopped",
                where=job.template,
                hint="raise nightly.timeout_s if it only needs more time",
            )
            return Ended(job.template, seconds, error=error_object(error))
        if status == 0 and last.get("event") == "run_done":
            return Ended(job.template, seconds, bool(last.get("unchanged")), dict(last["summary"]))
        if last.get("event") == "error":
            return Ended(job.template, seconds, error=last)
        return Ended(job.template, seconds, error=error_object(_crash(job, status, said)))

    def _heard(self, job: Job, line: bytes) -> dict[str, Any] | None:
        """Pass an event on; the object if it is one that ends a build."""
        try:
            found = json.loads(line)
            name = found["event"]
        except (ValueError, KeyError, TypeError):
            self._emit(TemplateEvent(job.template, Note(line.decode("utf-8", "replace").strip())))
            return None
        if name in ("run_done", "error"):
            ending: dict[str, Any] = found
            return ending
        event = event_of(found)
        if event is not None:
            self._emit(TemplateEvent(job.template, event))
        return None

    def _stop(self) -> None:
        """Stop what still runs, and see it gone."""
        with self._lock:
            self._over = True
            for sibling in self._siblings.values():
                sibling.stop()
        deadline = time.monotonic() + _GRACE_S
        for _, thread in self._running.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            for sibling in self._siblings.values():
                sibling.kill()


def _crash(job: Job, status: int, said: str) -> TmplbuildError:
    how = f"by signal {-status}" if status < 0 else f"with status {status}"
    killed = " (9: killed, perhaps for want of memory)" if status == -9 else ""
    return StageError(
        "the build's process ended without a word",
        where=job.template,
        why=f"it ended {how}{killed}",
        hint=f"tmplbuild build {job.template} tells more",
        tail=tuple(said.splitlines()[-20:]),
    )
