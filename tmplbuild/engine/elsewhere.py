"""The seam between a build and the machines that may do its work in place of this one.

Resolving, planning and publishing stay here; only what `execute` does is done elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from tmplbuild.config import Settings
from tmplbuild.engine.execute import Done
from tmplbuild.engine.plan import Plan
from tmplbuild.engine.workers import Ended, Job
from tmplbuild.engine.world import Resolved, Wish, World
from tmplbuild.events import Emit


class Crew(Protocol):
    """Who runs the builds of a night: see `tmplbuild.engine.workers.Workers.run`."""

    def run(self, jobs: Sequence[Job], done: Callable[[Ended], None]) -> None:
        """Run all jobs; `done` is called with the end of each."""


class Elsewhere(Protocol):
    """Other machines, and the store that they share."""

    def has(self, key: str) -> bool:
        """Whether the result of this key is in their store."""

    def make(
        self,
        world: World,
        resolved: Resolved,
        plan: Plan,
        emit: Emit,
        look_ahead: Callable[[], None],
    ) -> list[Done]:
        """Have the plan's steps done. The packed file, the facts of its tree and the logs are then in
        this machine's store. Raises as `tmplbuild.engine.execute.execute` does.

        Parameters:
            look_ahead: called when the facts of the tree are here, if the template is not yet made.
        """

    def crew(self, settings: Settings, asked: Wish, emit: Emit) -> Crew:
        """Who runs many builds."""
