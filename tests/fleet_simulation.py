"""A night of a whole fleet within one process, on a clock that jumps from one event to the next.

Dask's scheduler and workers are the real ones, and the tasks are the product's own (`tmplbuild.fleet.graph`):
their keys, needs, priorities, order and number at a time. Only what a task does is replaced by the time that
it takes, and the clock by one that does not wait: all parties are in one event loop and speak through memory
(Dask's `inproc`), so that the loop can see that everybody sleeps, and when the first one will wake.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import selectors
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import dask
import distributed
import tornado.ioloop
from distributed import metrics

from tmplbuild.engine.plan import Plan, Planned
from tmplbuild.engine.steps import LOOKS_ONLY, NAMES, Step
from tmplbuild.engine.urgency import urgency
from tmplbuild.fleet import graph, part
from tmplbuild.fleet.grid import TOPIC, Grid
from tmplbuild.fleet.identity import identity

EPOCH = 1e6
"""When the simulated clock begins, seconds; small, so that it keeps its precision."""

MEMORY_MIB = 768
BACK_S = 10.0
"""A killed worker is started again after so long (RestartSec of the unit in docs/fleet.md)."""

_QUIET: dict[str, Any] = {  # what would wake a hundred workers each second and has no part in scheduling
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "1h",
    "distributed.admin.system-monitor.interval": "1h",
    "distributed.admin.tick.interval": "1h",
    "distributed.scheduler.active-memory-manager.start": False,
}
_HEARTBEAT_S = 60
_IDLE_S = 10.0
_NOBODY = "127.0.0.1:0"


@dataclass(frozen=True, slots=True)
class Template:
    """One template of the night.

    Parameters:
        seconds: how long each step that runs takes; the others are there already.
        told: how long the steps took the last time, which is all that can be known before.
        base: its base's name; the templates of one base share that.
        made: when its last good build was, seconds of the simulated clock.
    """

    name: str
    arch: str
    base: str
    seconds: Mapping[str, float]
    told: Mapping[str, float]
    made: float = EPOCH - 86400

    @property
    def order(self) -> str:
        """The name of its order."""
        return _digest(f"order {self.name}")

    def plan(self, made: Collection[str] = ()) -> Plan:
        """Its plan, with the steps of a real one; those whose keys are in `made` need not run."""
        rows: list[Planned] = []
        parent = None
        for name in NAMES:
            of = self.base if name == "bootstrap" else self.name
            step = Step(name, _digest(f"{name} of {of}"), parent, {}, name not in LOOKS_ONLY)
            parent = step.key if step.makes_layer else parent
            rows.append(Planned(step, name in self.seconds and step.key not in made, "simulated"))
        return Plan(self.name, tuple(rows), "")

    def takes(self, steps: str) -> float:
        """Seconds of a part, or of several ("tree+pack")."""
        found = 0.0
        for name in steps.split("+"):
            of = {key: self.seconds.get(key, 0.0) for key in NAMES}
            if name == "base":
                found += of["bootstrap"]
            elif name == "tree":
                found += sum(of[key] for key in NAMES if key not in LOOKS_ONLY) - of["bootstrap"]
            else:  # the boot test runs beside the other two
                found += max(of["check"] + of["pack"], of["boot"])
        return found


@dataclass(frozen=True, slots=True)
class Costs:
    """What a task costs beside its steps, seconds: to begin and end one; to fetch the layers below it that
    another machine has made."""

    task_s: float = 1.0
    pull_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker that dies `at` a time, in seconds from the beginning, and comes back."""

    worker: str
    at: float


@dataclass(slots=True)
class Night:
    """What came of it.

    Attributes:
        makespan_s: from the first order to the last end, on the simulated clock.
        bound_s: what no schedule can beat: the work divided among the workers that can do it, or the
            longest row of tasks, whichever is more.
        tasks: the tasks of Dask's that were submitted, by part.
        runs: how often each task was begun: more than once where a worker was lost.
        cpu_s: CPU seconds of all parties in this process: scheduler, workers, client.
    """

    makespan_s: float
    bound_s: float
    tasks: dict[str, int]
    runs: dict[str, int]
    cpu_s: float

    @property
    def ratio(self) -> float:
        """The makespan over its lower bound."""
        return self.makespan_s / self.bound_s


@dataclass(frozen=True, slots=True)
class Measured:
    """A scheduler's process: `cpu_s` during the night, `idle_cpu` CPU seconds a second before it, memory."""

    makespan_s: float
    cpu_s: float
    idle_cpu: float
    tasks: dict[str, int]
    idle_kib: int
    peak_kib: int


def simulate(
    templates: Sequence[Template],
    workers: Sequence[str],
    *,
    costs: Costs,
    kills: Sequence[Kill] = (),
    order: Callable[[Template, float], float] | None = None,
) -> Night:
    """Let a fleet bring these templates up to date.

    Parameters:
        workers: the architecture of each; they are called w0, w1...
        order: the urgency of a template at a time, to try another rule than the product's.
    """
    logging.getLogger("distributed").setLevel(logging.ERROR)
    loop = _Loop()
    asyncio.set_event_loop(loop)
    try:
        with _clock(loop), dask.config.set(_QUIET), _own_scratch():
            return loop.run_until_complete(_night(loop, templates, workers, costs, kills, order or _urgency))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


@contextmanager
def _own_scratch() -> Iterator[None]:
    """What Dask's workers write is gone at the end; else it would stay in /tmp/dask-scratch-space."""
    with tempfile.TemporaryDirectory() as place, dask.config.set({"temporary-directory": place}):
        yield


class Process(Protocol):
    """A scheduler's process."""

    address: str

    @property
    def cpu(self) -> float:
        """CPU seconds so far."""

    @property
    def peak_kib(self) -> int:
        """The most memory that it has had, KiB."""


async def work_through(
    scheduler: Process,
    templates: Sequence[Template],
    workers: Sequence[str],
    *,
    costs: Costs,
    seconds: float,
) -> Measured:
    """The same night in real time, with a scheduler that is a process of its own, reached by TCP.

    Parameters:
        seconds: how long it is to take at least: all durations are made shorter by one factor.
    """
    global _world
    logging.getLogger("distributed").setLevel(logging.ERROR)
    bound = lower_bound(templates, workers, costs)
    _world = _World({one.order: one for one in templates}, costs, speed=bound / seconds)
    kept, part.perform = part.perform, perform  # type: ignore[assignment]
    quiet = {key: value for key, value in _QUIET.items() if "scheduler" not in key}
    with dask.config.set(quiet), _own_scratch():
        team = [_worker(scheduler.address, f"w{n}", arch) for n, arch in enumerate(workers)]
        await asyncio.gather(*team)
        async with distributed.Client(scheduler.address, asynchronous=True) as client:
            grid = Grid(lambda: client)
            idle, idle_kib = scheduler.cpu, scheduler.peak_kib
            await asyncio.sleep(_IDLE_S)
            idle = (scheduler.cpu - idle) / _IDLE_S
            begin, cpu = time.monotonic(), scheduler.cpu
            tasks = await _crew(grid, templates, len(workers), _urgency)
            took, cpu, peak = time.monotonic() - begin, scheduler.cpu - cpu, scheduler.peak_kib
        await asyncio.gather(*(worker.close() for worker in team))
    part.perform = kept
    return Measured(took, cpu, idle, tasks, idle_kib, peak)


def lower_bound(templates: Sequence[Template], workers: Sequence[str], costs: Costs) -> float:
    """The longest of: each architecture's work among its workers, each template's own row of tasks."""
    shared = graph.shared_of(_makes(one) for one in templates)
    work: dict[str, float] = dict.fromkeys(workers, 0.0)
    longest = 0.0
    bases = set()
    for one in templates:
        alone = 0.0
        for task in _tasks(one, shared, 0.0):
            seconds = costs.task_s + one.takes(task.part)
            alone += seconds
            if task.key not in bases:
                bases.add(task.key)
                work[one.arch] += seconds
        longest = max(longest, alone)
    return max(longest, *(total / workers.count(arch) for arch, total in work.items()))


# -- the parties ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _World:
    """What the simulated machines share: the orders, and what has been made."""

    templates: dict[str, Template]
    costs: Costs
    speed: float = 1.0
    made: set[str] = field(default_factory=set)  # keys of tasks whose results are in the store
    have: set[tuple[str, str]] = field(default_factory=set)  # workers, and the bases that they have
    runs: dict[str, int] = field(default_factory=dict)


_world: _World | None = None


async def perform(tool: str, key: str, order: str, steps: str, *before: dict[str, Any]) -> dict[str, Any]:
    """What a worker does in place of `tmplbuild.fleet.part.perform`: sleep, and tell of its stages."""
    assert _world is not None
    worker, template = distributed.get_worker(), _world.templates[order]
    _world.runs[key] = _world.runs.get(key, 0) + 1
    costs, base = _world.costs, (worker.name, template.base)
    seconds = costs.task_s
    if key in _world.made:  # before its machine was lost it brought this into the store
        seconds += costs.pull_s
    else:
        seconds += template.takes(steps)
        seconds += costs.pull_s if base not in _world.have and not steps.startswith("base") else 0.0
    worker.log_event(TOPIC, {"key": key, "part": steps, "host": worker.name, "events": []})
    await asyncio.sleep(seconds / _world.speed)
    worker.log_event(TOPIC, {"key": key, "part": steps, "host": worker.name, "events": []})
    _world.made.add(key)
    _world.have.add(base)
    return {"worker": worker.name, "part": steps, "order": order, "stages": [], "seconds": seconds}


async def _night(
    loop: _Loop,
    templates: Sequence[Template],
    workers: Sequence[str],
    costs: Costs,
    kills: Sequence[Kill],
    order: Callable[[Template, float], float],
) -> Night:
    global _world
    _world = _World({one.order: one for one in templates}, costs)
    async with distributed.Scheduler(protocol="inproc", dashboard_address=_NOBODY) as scheduler:
        team = {f"w{n}": _worker(scheduler.address, f"w{n}", arch) for n, arch in enumerate(workers)}
        await asyncio.gather(*team.values())
        async with distributed.Client(scheduler.address, asynchronous=True) as client:
            grid = Grid(lambda: client)
            begin, cpu = loop.time(), time.process_time()
            ends = [asyncio.ensure_future(_killed(team, kill)) for kill in kills]
            tasks = await _crew(grid, templates, len(workers), order)
            makespan, cpu = loop.time() - begin, time.process_time() - cpu
            for one in ends:
                one.cancel()
        await asyncio.gather(*(worker.close() for worker in team.values()))
    return Night(makespan, lower_bound(templates, workers, costs), tasks, _world.runs, cpu)


def _worker(scheduler: str, name: str, arch: str) -> distributed.Worker:
    """A worker as `tmplbuild.fleet.grid.work` makes it."""
    offers = {f"version {identity()}": 1.0, f"arch {arch}": 1.0, "memory_mib": float(MEMORY_MIB)}
    return distributed.Worker(
        scheduler, nthreads=1, name=name, resources=offers, memory_limit=0, dashboard_address=_NOBODY
    )


async def _killed(team: dict[str, distributed.Worker], kill: Kill) -> None:
    """A worker's end as the scheduler sees it: the connection breaks. A new one takes its name later."""
    await asyncio.sleep(kill.at)
    worker = team[kill.worker]
    address, arch = worker.scheduler.address, _arch(worker)
    worker.batched_stream.comm.abort()
    await worker.finished()
    await asyncio.sleep(BACK_S)
    team[kill.worker] = await _worker(address, kill.worker, arch)


def _arch(worker: distributed.Worker) -> str:
    return next(name[5:] for name in worker.state.total_resources if name.startswith("arch "))


async def _crew(
    grid: Grid, templates: Sequence[Template], jobs: int, order: Callable[[Template, float], float]
) -> dict[str, int]:
    """What `tmplbuild.fleet.crew` and `.maker` do with threads: so many templates at a time, in their order,
    each of them waited for. Returns the number of different tasks by part."""
    now = asyncio.get_running_loop().time()
    shared = graph.shared_of(_makes(one) for one in templates)
    room = asyncio.Semaphore(graph.at_once(jobs))
    keys: dict[str, str] = {}
    made: set[str] = set()

    async def make(one: Template) -> None:
        async with room:
            tasks = _tasks(one, shared, order(one, now), made)
            keys.update({task.key: task.part for task in tasks})
            futures = graph.submit(grid, one.order, tasks)
            for future in futures:
                await future
            made.update(_makes(one))
            for future in futures:
                grid.forget(future)

    await asyncio.gather(*map(make, sorted(templates, key=lambda one: order(one, now), reverse=True)))
    counts: dict[str, int] = {}
    for name in keys.values():
        counts[name] = counts.get(name, 0) + 1
    return counts


def _makes(one: Template) -> list[str]:
    return [row.step.key for row in one.plan().todo if row.step.makes_layer]


def _tasks(
    one: Template, shared: set[str], first: float, made: Collection[str] = ()
) -> tuple[graph.Task, ...]:
    needs = graph.needs_of(one.arch, MEMORY_MIB, ())
    return graph.tasks_of(one.plan(made), one.order, shared=shared, needs=lambda _: needs, urgency=first)


def _urgency(one: Template, now: float) -> float:
    return urgency(one.plan(), {"made": one.made, "seconds": one.told}, now=now, stale_after_days=30)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# -- the clock ------------------------------------------------------------------------------------


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next thing that is to happen when there is nothing to do."""

    def __init__(self) -> None:
        self._now, self._threads = EPOCH, 0
        super().__init__(_Selector(self))

    def time(self) -> float:
        """The simulated clock, seconds."""
        return self._now

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self._now = max(self._now + seconds, math.nextafter(self._now, math.inf))

    @property
    def waits_for_threads(self) -> bool:
        """Whether a thread works for this loop; the clock stands still meanwhile."""
        return self._threads > 0

    def run_in_executor(self, executor: Executor | None, func: Any, *args: Any) -> Any:
        """As any loop does it; the threads are counted."""
        self._threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, _: Any) -> None:
        self._threads -= 1


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: _Loop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if self._loop.waits_for_threads:
            return super().select(0.01)
        found = super().select(0)
        if not found:
            self._loop.pass_by(timeout)
        return found


@contextmanager
def _clock(loop: _Loop) -> Iterator[None]:
    """Dask and tornado read the loop's clock, and workers do what `perform` says."""
    real = {"time": metrics.time, "monotonic": metrics.monotonic}
    put: list[tuple[Any, str, Any]] = [
        (tornado.ioloop.IOLoop, "time", lambda _: loop.time()),
        (distributed.scheduler, "heartbeat_interval", lambda _: _HEARTBEAT_S),
        (part, "perform", perform),
    ]
    for module in [module for name, module in sys.modules.items() if name.startswith("distributed.")]:
        put += [(module, name, loop.time) for name, old in real.items() if getattr(module, name, 0) is old]
    kept = [(place, name, getattr(place, name)) for place, name, _ in put]
    for place, name, value in put:
        setattr(place, name, value)
    try:
        yield
    finally:
        for place, name, value in kept:
            setattr(place, name, value)
