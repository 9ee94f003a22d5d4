"""Dask distributed: the one module that imports it. Scheduler, workers, and the client that gives orders.

Nothing listens on anything but loopback unless TLS is given; then every party shows a certificate of one
authority (Dask's own means: distributed.security.Security).
"""

from __future__ import annotations

import asyncio
import math
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tmplbuild import secrets
from tmplbuild.config import Settings, as_environment
from tmplbuild.core.forks import Keeper
from tmplbuild.engine.budget import BUILD_MIB, available_mib
from tmplbuild.errors import HostError
from tmplbuild.fleet import not_installed, part
from tmplbuild.fleet.identity import identity, refuse_other
from tmplbuild.fleet.lacks import lacking
from tmplbuild.fleet.parties import LostError, Member, Tls, refuse_open

try:
    import dask
    import distributed
    from distributed.security import Security
except ImportError as missing:
    raise not_installed(missing) from missing

TOPIC = "tmplbuild"
PORT = 8786
SILENT_S = 60
"""A worker that the scheduler has not heard of for so long (seconds) is taken for lost, unless Dask's own
variable (DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL) says otherwise."""

_TTL = "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL"
_LOOK_S = 5.0
_SELDOM_S = 30.0
_PATIENCE_S = 30  # for a scheduler that does not answer
_FRESH_S = 1.0  # the same answer serves all templates that ask within it
_IDENTITY = "tmplbuild-identity"
_ARCHES = {"x86_64": ("x86_64", "x86"), "aarch64": ("aarch64", "armhf"), "armv7l": ("armhf",)}


def _security(tls: Tls | None) -> Security:
    """The same in Dask's words."""
    if tls is None:
        return Security()
    pair = {
        f"tls_{role}_{what}": str(path)
        for role in ("client", "scheduler", "worker")
        for what, path in (("cert", tls.cert), ("key", tls.key))
    }
    return Security(tls_ca_file=str(tls.ca), require_encryption=True, **pair)


def resources(settings: Settings, jobs: int) -> dict[str, float]:
    """What this machine offers, in Dask's words: tasks name what they need of it."""
    arches = _ARCHES.get(platform.machine(), (platform.machine(),))
    return {
        f"version {identity()}": float(jobs),
        "memory_mib": float(settings.nightly.memory_mib or max(available_mib(), BUILD_MIB)),
        **{f"arch {arch}": float(jobs) for arch in arches},
        **{f"secret {name}": float(jobs) for name in secrets.names()},
    }


# -- scheduler and worker -------------------------------------------------------------------------


def serve(listen: str, tls: Tls | None, dashboard: str, scratch: Path, ready: Callable[[str], None]) -> None:
    """Run a scheduler until a signal ends it.

    Parameters:
        scratch: a directory for what Dask notes beside it.
        ready: called with its address.

    Raises UsageError, HostError.
    """
    refuse_open(listen, tls)
    refuse_open(dashboard, tls)
    _quiet()
    dask.config.set({"temporary-directory": str(scratch)})  # else /tmp, for anybody
    if _TTL not in os.environ:
        dask.config.set({"distributed.scheduler.worker-ttl": f"{SILENT_S}s"})
    parts = urlsplit(listen if "://" in listen else f"tcp://{listen}")

    async def main() -> None:
        scheduler = distributed.Scheduler(
            protocol=parts.scheme,
            host=parts.hostname,
            port=PORT if parts.port is None else parts.port,
            security=_security(tls),
            dashboard_address=dashboard,
        )
        async with scheduler:
            scheduler.task_metadata[_IDENTITY] = identity()
            ready(scheduler.address)
            await _until_signal(scheduler.finished())

    _run(main(), listen)


def work(
    scheduler: str,
    tls: Tls | None,
    *,
    settings: Settings,
    store: str,
    stacks: bool,
    name: str,
    jobs: int,
    listen: str,
    ready: Callable[[str], None],
) -> None:
    """Be a worker until a signal, or the scheduler, ends it.

    Parameters:
        store: the shared store's address.
        stacks: whether VEs run here on layers that are stacked.
        jobs: parts of builds at once.
        listen: the address of this machine that the others reach; "" for the one that leads to the
            scheduler.

    Raises UsageError, HostError.
    """
    refuse_open(scheduler, tls)
    _quiet()
    keeper = Keeper(lambda fd: ["task", "--store", store, "--socket", str(fd)], as_environment(settings))

    async def main() -> None:
        def wanted(key: str) -> bool:
            task = worker.state.tasks.get(key)
            return task is not None and task.state != "cancelled"

        worker = distributed.Worker(
            scheduler,
            nthreads=jobs,
            name=name,
            host=listen or None,
            security=_security(tls),
            resources=resources(settings, jobs),
            memory_limit=0,  # builds are processes of their own, within cgroups
            dashboard_address="127.0.0.1:0",
            local_directory=str(settings.run_dir / "dask"),
            death_timeout=SILENT_S,
            metrics={TOPIC: lambda worker: sorted(part.doing.values())},
        )
        part.here = part.Place(
            name=name,
            words=("--store", store, *(["--stacks"] if stacks else [])),
            start=keeper.start,
            tell=lambda found: worker.log_event(TOPIC, found),
            wanted=wanted,
            hand_back=distributed.Reschedule,
        )
        async with worker:
            theirs = await worker.scheduler.get_metadata(keys=[_IDENTITY], default="")
            if theirs:
                refuse_other(str(theirs), f"the scheduler at {scheduler}")
            ready(worker.address)
            await _until_signal(worker.finished())
            if worker.status == distributed.Status.running:
                worker.status = distributed.Status.paused  # else it would be given what it hands back
            await asyncio.to_thread(part.leave)

    try:
        _run(main(), scheduler)
    finally:
        keeper.close()


def _run(main: Any, where: str) -> None:
    try:
        asyncio.run(main)
    except (OSError, TimeoutError) as error:
        raise HostError(
            "the fleet's scheduler cannot be reached, or its address not be used",
            where=where,
            why=str(error) or type(error).__name__,
        ) from error
    except RuntimeError as error:
        if "name taken" not in str(error.__cause__):
            raise
        raise HostError(
            "the scheduler has a worker of that name already",
            where=where,
            hint="give this one another (--name); if it is the name of one that has just gone, wait until "
            "the scheduler has noticed",
        ) from error


async def _until_signal(end: Any) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    waits = [asyncio.ensure_future(end), asyncio.ensure_future(stop.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for one in waits:
        one.cancel()


def _quiet() -> None:
    import logging

    for name in ("distributed", "distributed.client", "bokeh", "tornado"):
        logging.getLogger(name).setLevel(logging.ERROR)


# -- client ---------------------------------------------------------------------------------------


_LOST = (
    distributed.scheduler.KilledWorker,
    distributed.CancelledError,
    asyncio.CancelledError,
    OSError,
    TimeoutError,
    UnboundLocalError,  # of distributed.utils.sync, when what it waits for is called off
)


class Grid:
    """The client's side: parts of builds are submitted, their ends waited for.

    Parameters:
        connect: makes a client of the scheduler.

    Raises what `connect` raises.
    """

    def __init__(self, connect: Callable[[], distributed.Client]) -> None:
        self._connect = connect
        self._client = connect()
        self._hear: Callable[[dict[str, Any]], None] = lambda bundle: None
        self._lock = threading.Lock()
        self._lures: dict[str, Any] = {}
        self._look = threading.Lock()
        self._seen: list[Member] = []
        self._seen_at = -math.inf

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Raise LostError for whatever Dask raises when the scheduler is gone, or goes at that moment."""
        try:
            yield
        except RuntimeError as error:
            if self._client.status == "running":
                raise
            raise LostError(str(error)) from error
        except _LOST as error:
            raise LostError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Let go of the scheduler; what was not waited for is called off."""
        with suppress(Exception):
            self._client.close(timeout=10)

    def is_back(self) -> bool:
        """Whether the scheduler, after it was lost, answers and has workers again."""
        try:
            with self._lock:
                if self._client.status in ("closing", "closed"):  # Dask's own patience is at its end
                    self._client = self._connect()
                self.listen(self._hear)  # a scheduler that was restarted knows of no listeners
            return any(member.version == identity() for member in self.members())
        except Exception:  # noqa: BLE001  # whatever it is: it does not answer yet
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
        """Submit a part of a build; equal keys are one task, whoever submits them. Returns a future. Raises
        LostError.

        Parameters:
            words: of `tmplbuild.fleet.part.perform`; futures among them are waited for first.
            only: addresses of the workers that it may be given to; all, if there are none.
        """
        with self._reached():
            return self._client.submit(
                part.perform,
                identity(),
                key,
                *words,
                key=key,
                pure=False,
                resources=needs,
                priority=priority,
                workers=list(only) or None,
            )

    def lure(self, address: str) -> list[Any]:
        """What draws a task to this worker when it is among its words, or nothing, if that worker is gone: a
        result that lies there. (Dask's own word for it, allow_other_workers, forgets a task's needs: it lets
        any worker have it when the one that is named is gone or busy.)"""
        with self._lock:
            found = self._lures.get(address)
            if found is None or found.status != "finished":
                try:
                    (found,) = self._client.scatter(
                        [{"at": address}], workers=[address], hash=False, timeout=5
                    )
                except Exception:  # noqa: BLE001  # it is better there, and as good elsewhere
                    return []
                self._lures[address] = found
            return [found]

    def result(self, future: Any, needs: Mapping[str, float], only: Sequence[str] = ()) -> dict[str, Any]:
        """What came of a task. Raises LostError.

        Parameters:
            needs: as it was submitted; when no worker has them any more, for half a minute, it is lost.
            only: the workers that it was submitted to; when none of them is left it is lost.
        """
        done = threading.Event()
        with self._reached():
            future.add_done_callback(lambda _: done.set())
            # not by a timeout of Dask's: it calls off what other threads are fetching at that moment, too
            lacked: list[str] = []
            while not done.wait(_LOOK_S if only else _SELDOM_S):
                try:
                    there = {member.address for member in self.members(_FRESH_S)}
                    before, lacked = lacked, [] if only else self.lacking(needs)
                except LostError:
                    continue  # if it is, the task's own connection ends as well
                if only and there.isdisjoint(only):
                    raise LostError("the machines that it might go to are gone")
                if before and lacked:
                    raise LostError("the machines that could do it are gone")
            found: dict[str, Any] = future.result()
        return found

    def worker_of(self, future: Any) -> str:
        """The address of the worker that holds a task's result; "" if none does. Raises LostError."""
        with self._reached():
            found = self._client.who_has([future])
        return str(next(iter(next(iter(found.values()), ())), ""))

    def forget(self, future: Any) -> None:
        """Let go of a task's result."""
        future.release()

    def call_off(self, futures: Sequence[Any]) -> None:
        """Have nobody wait for these any more: `result` raises LostError, and the workers stop."""
        with suppress(Exception):  # a scheduler that is gone gives out nothing either
            self._client.cancel(list(futures))

    def listen(self, hear: Callable[[dict[str, Any]], None]) -> None:
        """Call `hear` with each bundle of events."""
        self._hear = hear
        self._client.subscribe_topic(TOPIC, lambda event: hear(event[1]))

    def members(self, max_age_s: float = 0.0) -> list[Member]:
        """The workers that the scheduler knows now, or knew so long ago (seconds). Raises LostError."""
        with self._look:
            if time.monotonic() - self._seen_at > max_age_s:
                info = self._about()
                found = [_member(address, row) for address, row in info["workers"].items()]
                self._seen = sorted(found, key=lambda member: member.name)
                self._seen_at = time.monotonic()
            return list(self._seen)

    def _about(self) -> dict[str, Any]:
        """What the scheduler says of itself. (`Client.scheduler_info` tells of one that is gone, too.)"""
        client = self._client
        if client.scheduler is None:
            raise LostError("the client of the scheduler is closed")
        with self._reached():
            found: dict[str, Any] = client.sync(client.scheduler.identity, n_workers=-1)
        return found

    def lacking(self, needs: Mapping[str, float]) -> list[str]:
        """See `tmplbuild.fleet.lacks.lacking`; of the workers of this version that are there now."""
        return lacking(needs, [one.offers for one in self.members(_FRESH_S) if one.version == identity()])

    def wait_for_workers(self, timeout_s: float) -> None:
        """Wait until there is a worker of this version. Raises HostError, LostError."""
        try:
            with self._reached():
                self._client.wait_for_workers(1, timeout=timeout_s)
        except LostError as error:
            if not isinstance(error.__cause__, TimeoutError):
                raise
            raise HostError(
                "the fleet has no worker",
                why=f"none came within {timeout_s:g} s",
                hint="start some with `tmplbuild worker`; docs/fleet.md",
            ) from error
        found = self.members()
        if not any(member.version == identity() for member in found):
            theirs = ", ".join(f"{member.name}: {member.version}" for member in found)
            raise HostError(
                "no worker of the fleet has this version of tmplbuild",
                why=f"this machine has {identity()}; {theirs}",
                hint="install the same version on all machines of the fleet",
            )

    @property
    def dashboard(self) -> str:
        """The address of Dask's own page."""
        return str(self._client.dashboard_link)


def _member(address: str, row: dict[str, Any]) -> Member:
    offers: dict[str, float] = row["resources"]
    words = [name.partition(" ") for name in offers]
    return Member(
        name=str(row["name"]),
        address=address,
        version=next((value for kind, _, value in words if kind == "version"), "?"),
        arches=tuple(value for kind, _, value in words if kind == "arch"),
        jobs=int(row["nthreads"]),
        memory_mib=int(offers.get("memory_mib", 0)),
        secrets=tuple(value for kind, _, value in words if kind == "secret"),
        running=tuple(row["metrics"].get(TOPIC, ())),
        offers=offers,
    )


def reach(scheduler: str, tls: Tls | None) -> Grid:
    """The fleet of the scheduler at this address. Raises HostError."""
    _quiet()

    def connect() -> distributed.Client:
        try:
            client = distributed.Client(
                scheduler, security=_security(tls), timeout=_PATIENCE_S, set_as_default=False
            )
        except (OSError, TimeoutError) as error:
            raise HostError(
                "the fleet's scheduler cannot be reached",
                where=scheduler,
                why=str(error),
                hint="start it with `tmplbuild scheduler`; docs/fleet.md",
            ) from error
        theirs = client.get_metadata([_IDENTITY], default="")
        if theirs and theirs != identity():
            client.close(timeout=10)
            refuse_other(str(theirs), f"the scheduler at {scheduler}")
        return client

    return Grid(connect)
