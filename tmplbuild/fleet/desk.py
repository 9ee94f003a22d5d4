"""Dask's client in a process of its own, that of a command which gives orders.

Loading it takes as long as all that is done before the first order can be given; this way both are done at
the same time. What the process is asked is what `tmplbuild.fleet.grid.Grid` can be asked.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tmplbuild.core.aside import Aside, GoneError, Say
from tmplbuild.fleet.parties import LostError, Member, Tls, refuse_open

if TYPE_CHECKING:
    from tmplbuild.fleet.grid import Grid

Found = dict[str, Any]

_AT_ONCE = ("result", "worker_of", "is_back", "members", "lacking", "lure", "wait_for_workers", "dashboard")


@dataclass(frozen=True, slots=True)
class Ticket:
    """Stands for a future of Dask's, which stays with the process."""

    number: int


@contextmanager
def connected(scheduler: str, tls: Tls | None) -> Iterator[Grid | Desk]:
    """A client of the scheduler at this address; that it cannot be reached is told when it is first asked.

    Raises UsageError; HostError, where the client cannot have a process of its own.
    """
    refuse_open(scheduler, tls)

    def reach() -> Grid:
        from tmplbuild.fleet.grid import reach

        return reach(scheduler, tls)

    # locks that other threads hold would stay locked in a copy of this process
    grid = Desk(reach) if threading.active_count() == 1 else reach()
    try:
        yield grid
    finally:
        grid.close()


class Desk:
    """See `tmplbuild.fleet.grid.Grid`, whose methods these are.

    Parameters:
        reach: makes the grid; what it raises, whoever asks first is told.
    """

    def __init__(self, reach: Callable[[], Grid]) -> None:
        self._hear: Callable[[Found], None] = lambda bundle: None
        self._clerk = Aside(
            lambda say: _Clerk(reach(), say), heard=lambda bundle: self._hear(bundle), at_once=_AT_ONCE
        )

    def close(self) -> None:
        if self._clerk.answered:
            self._clerk.close()
        else:  # it may be trying to reach somebody who is not there
            self._clerk.kill()

    def is_back(self) -> bool:
        with suppress(LostError):
            return bool(self._ask("is_back"))
        return False

    def submit(
        self,
        key: str,
        words: Sequence[Any],
        *,
        needs: dict[str, float],
        priority: float,
        only: Sequence[str] = (),
    ) -> Any:
        return self._ask("submit", key, words, needs=needs, priority=priority, only=only)

    def lure(self, address: str) -> list[Any]:
        found: list[Any] = self._ask("lure", address)
        return found

    def result(self, future: Any, needs: Mapping[str, float], only: Sequence[str] = ()) -> Found:
        found: Found = self._ask("result", future, needs, only)
        return found

    def worker_of(self, future: Any) -> str:
        return str(self._ask("worker_of", future))

    def forget(self, future: Any) -> None:
        self._clerk.tell("forget", future)

    def call_off(self, futures: Sequence[Any]) -> None:
        with suppress(LostError):
            self._ask("call_off", futures)

    def listen(self, hear: Callable[[Found], None]) -> None:
        self._hear = hear
        self._clerk.tell("listen")

    def members(self, max_age_s: float = 0.0) -> list[Member]:
        found: list[Member] = self._ask("members", max_age_s)
        return found

    def lacking(self, needs: Mapping[str, float]) -> list[str]:
        found: list[str] = self._ask("lacking", needs)
        return found

    def wait_for_workers(self, timeout_s: float) -> None:
        self._ask("wait_for_workers", timeout_s)

    @property
    def dashboard(self) -> str:
        return str(self._ask("dashboard"))

    def _ask(self, what: str, *words: Any, **more: Any) -> Any:
        try:
            return self._clerk.tell(what, *words, **more).result()
        except GoneError as error:
            raise LostError("the process that speaks to the fleet has ended") from error


class _Clerk:
    """The grid, with tickets in place of Dask's futures."""

    def __init__(self, grid: Grid, say: Say) -> None:
        self._grid, self._say = grid, say
        self._futures: dict[Ticket, Any] = {}
        self._numbers = itertools.count(1)

    def _ticket(self, future: Any) -> Ticket:
        ticket = Ticket(next(self._numbers))
        self._futures[ticket] = future
        return ticket

    def submit(self, key: str, words: Sequence[Any], **more: Any) -> Ticket:
        return self._ticket(self._grid.submit(key, [self._futures.get(one, one) for one in words], **more))

    def lure(self, address: str) -> list[Ticket]:
        return [self._ticket(future) for future in self._grid.lure(address)]

    def result(self, ticket: Ticket, needs: Mapping[str, float], only: Sequence[str]) -> Found:
        return self._grid.result(self._futures[ticket], needs, only)

    def worker_of(self, ticket: Ticket) -> str:
        return self._grid.worker_of(self._futures[ticket])

    def forget(self, ticket: Ticket) -> None:
        self._grid.forget(self._futures.pop(ticket))

    def call_off(self, tickets: Sequence[Ticket]) -> None:
        self._grid.call_off([self._futures[one] for one in tickets if one in self._futures])

    def listen(self) -> None:
        self._grid.listen(self._say)

    def is_back(self) -> bool:
        return self._grid.is_back()

    def members(self, max_age_s: float) -> list[Member]:
        return self._grid.members(max_age_s)

    def lacking(self, needs: Mapping[str, float]) -> list[str]:
        return self._grid.lacking(needs)

    def wait_for_workers(self, timeout_s: float) -> None:
        self._grid.wait_for_workers(timeout_s)

    def dashboard(self) -> str:
        return self._grid.dashboard

    def close(self) -> None:
        self._grid.close()
