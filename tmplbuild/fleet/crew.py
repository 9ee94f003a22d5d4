"""The builds of a night on a fleet: each a thread here, which waits; the work is done elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import fields, replace
from typing import Any

from tmplbuild.config import Settings
from tmplbuild.engine.build import build
from tmplbuild.engine.elsewhere import Elsewhere
from tmplbuild.engine.workers import Ended, Job
from tmplbuild.engine.world import Wish
from tmplbuild.errors import TmplbuildError, bug
from tmplbuild.events import Emit, Event, RunDone, TemplateEvent
from tmplbuild.fleet.graph import shared_of
from tmplbuild.ui.errors import error_object


class FleetCrew:
    """Runs jobs in their order.

    Parameters:
        elsewhere: the fleet.
        at_once: templates under way at once; the fleet's own queue need not hold the whole night.
        common: is told the keys of the layers that more than one of the jobs makes.
        stop: calls off what is under way, when the run is interrupted.
    """

    def __init__(
        self,
        settings: Settings,
        asked: Wish,
        emit: Emit,
        *,
        elsewhere: Elsewhere,
        at_once: int,
        common: Callable[[set[str]], None],
        stop: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._asked = replace(asked, seen=not asked.offline)
        self._emit = emit
        self._elsewhere = elsewhere
        self._at_once = at_once
        self._common = common
        self._stop = stop

    def run(self, jobs: Sequence[Job], done: Callable[[Ended], None]) -> None:
        """Run all jobs; an interrupt is raised again when those under way have been let go."""
        self._common(shared_of(job.layers for job in jobs))
        pool = ThreadPoolExecutor(self._at_once, "build")
        try:
            for future in as_completed([pool.submit(self._build, job) for job in jobs]):
                done(future.result())
        except BaseException:
            self._stop()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _build(self, job: Job) -> Ended:
        start = time.monotonic()

        def heard(event: Event) -> None:
            if not isinstance(event, RunDone):
                self._emit(TemplateEvent(job.template, event))

        wish: dict[str, Any] = {one.name: getattr(self._asked, one.name) for one in fields(self._asked)}
        wish["arch"] = job.arch
        try:
            result = build(job.recipe, settings=self._settings, emit=heard, elsewhere=self._elsewhere, **wish)
        except TmplbuildError as error:
            return Ended(job.template, time.monotonic() - start, error=error_object(error))
        except Exception as error:  # noqa: BLE001  # a row of the report, not the end of the run
            return Ended(job.template, time.monotonic() - start, error=error_object(bug(error, job.template)))
        return Ended(job.template, time.monotonic() - start, result.unchanged, dict(result.summary))
