"""A part of a build, done on this machine for the fleet: what it rests on is fetched from the shared store,
what it makes goes there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.model import Package
from tmplbuild.archives.packages import download
from tmplbuild.config import Settings
from tmplbuild.engine.actions import shop_of
from tmplbuild.engine.execute import Done, execute
from tmplbuild.engine.locks import layer_lock, part_lock
from tmplbuild.engine.plan import Plan, Planned
from tmplbuild.engine.record import stage_row
from tmplbuild.engine.room import wanted
from tmplbuild.engine.steps import Step
from tmplbuild.engine.store import Store
from tmplbuild.engine.world import prepare_host
from tmplbuild.errors import StageError, StoreError, TmplbuildError, VerifyError
from tmplbuild.events import Away, Emit, Event, Note, RunStarted, StageDone
from tmplbuild.fleet import layers
from tmplbuild.fleet.arrival import bring, packed_name
from tmplbuild.fleet.order import Opened, part_of, take
from tmplbuild.fleet.shared import SharedStore
from tmplbuild.fleet.upkeep import see_room, tidy
from tmplbuild.fleet.uploads import Uploads
from tmplbuild.ui.errors import error_object

Found = dict[str, Any]


def run(
    order: str,
    part: str,
    store: str,
    settings: Settings,
    emit: Emit,
    tell: Callable[[Found], None],
    *,
    stacks: bool = False,
) -> None:
    """Do a part of an order.

    Parameters:
        stacks: it is known that VEs run here, on layers that are stacked.
        tell: called with what came of it: stages, and digests of logs and of the packed file; or the error,
            with the logs, under "error". What this machine then does for itself alone, nobody waits for.
    """

    def warn(text: str) -> None:
        emit(Note(text, "warning"))

    uploads = Uploads(store, settings, warn)
    mine = Store(settings.state_dir)
    try:
        shared = SharedStore(store, patience_s=settings.store_patience_s, tell=warn)
        with mine.room(f"order-{order[:16]}") as place:
            _do(take(order, shared, settings, emit, place), part, shared, tell, uploads, stacks=stacks)
    finally:
        uploads.close()
    mine.make_durable()
    tidy(settings)


def _do(
    opened: Opened,
    part: str,
    shared: SharedStore,
    tell: Callable[[Found], None],
    uploads: Uploads,
    *,
    stacks: bool,
) -> None:
    world = opened.world
    world.emit(RunStarted(world.template, (part,)))
    with ExitStack() as held, part_lock(world.settings.state_dir, world.template):
        world.core.gc()
        prepare_host(world, stacks=stacks)
        task = _Task(
            opened, part_of(tuple(row.step for row in opened.plan.steps), part), shared, uploads, held
        )
        found: Found = {}
        try:
            done = task.run()
            if part.endswith("pack"):
                found |= task.packed()
        except TmplbuildError as error:
            with suppress(TmplbuildError):  # what was made before is not to be made again elsewhere
                uploads.finish()
            logs = {} if isinstance(error, StoreError) else task.logs()  # it may be the store that is away
            tell(found | {"error": error_object(error), "logs": logs})
            return
        tell(found | {"stages": [stage_row(row) for row in done], "logs": task.logs()})


@dataclass
class _Task:
    opened: Opened
    steps: tuple[Step, ...]
    shared: SharedStore
    uploads: Uploads
    held: ExitStack  # of the layers that are used
    before: dict[str, tuple[int, int]] = field(init=False)  # the logs of earlier runs
    away: dict[str, Future[str]] = field(default_factory=dict)  # by stage: the digest of the file it makes

    def __post_init__(self) -> None:
        self.before = {path.name: _state(path) for path in self._logs()}

    def run(self) -> list[Done]:
        """Run the steps; those that somebody has made meanwhile are only fetched."""
        opened, world = self.opened, self.opened.world
        rows = opened.plan.steps
        first = next(at for at, row in enumerate(rows) if row.step is self.steps[0])
        for row in rows[:first]:
            self._have(row.step)
        here = tuple(self._seen(rows, first))
        before = tuple(replace(row, runs=False, again=False) for row in rows[:first])
        after = tuple(replace(row, runs=False) for row in rows[first + len(here) :])
        plan = Plan(opened.plan.template, (*before, *here, *after), "")
        see_room(world.settings, wanted(world.settings, world.cache, opened.resolved.pins, plan, None))
        self._fetch_packages(plan)
        self.uploads.packages([world.cache.path(one.sha256) for one in self._packages(plan) if _plain(one)])
        known = {row.step.name: row for row in (*before, *here)}

        def heard(event: Event) -> None:
            if isinstance(event, StageDone):
                self._hold(known[event.stage].step)
                self._share(known[event.stage])
                if event.stage in ("check", "pack"):
                    self._put_away(event.stage, cached=event.cached)
            world.emit(event)

        shop = shop_of(world, opened.resolved, plan, heard)
        done = execute(Plan(plan.template, (*before, *here), ""), shop)
        self.uploads.finish()
        return done[first:]

    def _seen(self, rows: Sequence[Planned], first: int) -> Iterator[Planned]:
        """The part's steps as they stand now: another machine may have made them since they were planned.
        What lies on a step that runs here runs here, too; on one that is made anew, anew."""
        again, runs = any(row.again for row in rows[:first]), False
        for row in rows[first : first + len(self.steps)]:
            again = again or row.again
            runs = runs or again or not self._have(row.step, must=False)
            yield replace(row, runs=runs, again=again)

    def _have(self, step: Step, *, must: bool = True) -> bool:
        """Whether a step's result is in this machine's store, fetched if need be. Raises StageError when it
        must be and is nowhere."""
        world = self.opened.world
        with layer_lock(world.store.dir, step.key, lambda: None):
            layer = world.store.get(step.key)
            there = layer is not None and layers.is_sound(layer, world.store) and self._hold(step)
            cache = PackageCache(world.settings.state_dir / "fleet")
            there = there or (layers.pull(step.key, world.store, self.shared, cache) and self._hold(step))
        if there and self._have_file(step):
            return True
        if must:
            self.shared.remove(layers.name_of(step.key))  # else who plans takes it for made, run after run
            raise StageError(
                f"what {step.name} made is not in the fleet's store",
                where=layers.name_of(step.key),
                hint="it was removed in the meantime: run the same again",
            )
        return False

    def _hold(self, step: Step) -> bool:
        """See that nobody lets a layer go, nor one below it, as long as this part is done."""
        store = self.opened.world.store
        for layer in (store.get(step.key), *store.chain(step.key)):
            if layer is None or (fd := store.hold(layer)) is None:
                return False
            self.held.callback(os.close, fd)
        return True

    def _have_file(self, step: Step) -> bool:
        """Whether the file is there that a step makes beside its layer: the packed template, the facts."""
        store = self.opened.world.store
        places = {"pack": store.artifact(step.key), "check": store.facts(step.key)}
        if step.name not in places or places[step.name].exists():
            return True
        entry = self.shared.read_json(packed_name(self._key("pack")))
        if entry is None:
            return False
        bring(entry[step.name], places[step.name], self.opened.world, self.shared)
        return True

    def _key(self, name: str) -> str:
        return next(step.key for step in self.steps if step.name == name)

    def _share(self, row: Planned) -> None:
        self.uploads.layer(row.step.key, self._booted(row.step), made=row.runs, anew=row.again)

    def _booted(self, step: Step) -> list[str]:
        """The keys of the layers from the one that a boot left to the one below this."""
        found: list[str] = []
        for row in self.opened.plan.steps:
            if row.step is step:
                return found if step.makes_layer else []
            if row.step.makes_layer and (found or row.step.name == "upgrade"):
                found.append(row.step.key)
        return []

    def _put_away(self, stage: str, *, cached: bool) -> None:
        """Upload the packed template, or the facts of its tree, and tell where they are: who gave the order
        fetches them, and looks what has changed, while the template is being made and tried.

        Parameters:
            cached: it was not made just now, when its digest was.
        """
        store, key = self.opened.world.store, self._key(stage)
        layer = store.get(key)
        assert layer is not None
        path = {"check": store.facts, "pack": store.artifact}[stage](key)
        known = str(layer.note["sha256"]) if stage == "pack" and not cached else ""
        self.away[stage] = self.uploads.file(path, known)
        self.away[stage].add_done_callback(partial(self._tell_away, stage))

    def _tell_away(self, stage: str, done: Future[str]) -> None:
        if done.exception() is None:
            self.opened.world.emit(Away(stage, done.result()))

    def packed(self) -> Found:
        """Tell the store of the packed template. Raises VerifyError when one of another digest is there."""
        world, key = self.opened.world, self._key("pack")
        found = {stage: sha256.result() for stage, sha256 in self.away.items()}
        sha256 = found["pack"]
        self.shared.write_json(f"artifacts/{key}/{sha256}.json", found)
        names = [name.removesuffix(".json") for name in self.shared.names(f"artifacts/{key}")]
        if names != [sha256]:
            raise VerifyError(
                f"{world.template} was built twice of the same, and the files differ",
                where=f"{self.shared.address}/artifacts/{key}",
                why=f"sha256 {' and '.join(names)}",
                hint="both are kept among the blobs: compare them, then remove the wrong one's entry",
            )
        self.shared.write_json(packed_name(key), found)
        return {"packed": found}

    def logs(self) -> dict[str, str]:
        """The logs of the steps, by name; uploaded as far as that can be."""
        names = {step.name for step in self.steps}
        found = {}
        for path in self._logs():
            ours = path.stem in names or path.stem.partition("-")[2] in names
            if ours and self.before.get(path.name) != _state(path):
                with suppress(TmplbuildError):
                    found[path.name] = self.shared.put(path)
        return found

    def _logs(self) -> list[Path]:
        return sorted(self.opened.world.store.log_dir(self.opened.world.template).glob("*.*"))

    def _fetch_packages(self, plan: Plan) -> None:
        """Packages that the fleet has are not fetched from outside."""
        world = self.opened.world
        missing = [one for one in self._packages(plan) if not world.cache.has(one.sha256) and _plain(one)]
        work: list[Callable[[], object]] = [partial(self._fetch, one) for one in missing]
        with ThreadPoolExecutor(4, "fetch") as pool:
            for future in [pool.submit(act) for act in work]:
                future.result()
        download(self._packages(plan), fetcher=world.fetcher, cache=world.cache)

    def _fetch(self, package: Package) -> None:
        cache = self.opened.world.cache
        if self.shared.has(package.sha256):
            self.shared.get(package.sha256, cache.path(package.sha256), cache)

    def _packages(self, plan: Plan) -> Iterable[Package]:
        pins, todo = self.opened.resolved.pins, {row.step.name for row in plan.todo}
        base = {one.sha256 for one in pins.base.packages}
        full = {one.sha256 for one in pins.full.packages}
        packed = self.opened.resolved.source is not None  # then it is the base's one "package"
        found = list(pins.base.packages) if "bootstrap" in todo and not packed else []
        if "install" in todo:
            found += [one for one in pins.full.packages if one.sha256 not in base]
        if "upgrade" in todo:
            found += [one for one in pins.target.packages if one.sha256 not in full]
        return found


def _state(path: Path) -> tuple[int, int]:
    """What a file that was written anew has another one of, whatever the clock did."""
    state = path.stat()
    return state.st_ino, state.st_mtime_ns


def _plain(package: Package) -> bool:
    return ":" not in package.sha256  # blobs are named by SHA-256
