"""What a fleet has made comes to the machine that gave the order: the packed file, the facts of its tree, and
packages whose changelogs tell what was mended."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tmplbuild.engine.execute import Done
from tmplbuild.engine.keys import digest
from tmplbuild.engine.plan import Plan
from tmplbuild.engine.store import disk_error
from tmplbuild.engine.world import Resolved, World
from tmplbuild.errors import StoreError
from tmplbuild.events import Away
from tmplbuild.fleet import layers
from tmplbuild.fleet.shared import SharedStore

Found = dict[str, Any]


class Arrival:
    """One template's. Each thing comes as soon as it is there, beside what is still done.

    Parameters:
        look_ahead: called when the facts are here, and the packages.
    """

    def __init__(
        self,
        shared: SharedStore,
        world: World,
        resolved: Resolved,
        plan: Plan,
        look_ahead: Callable[[], None],
    ) -> None:
        self._shared, self._world, self._resolved, self._plan = shared, world, resolved, plan
        self._look_ahead = look_ahead
        self._keys = {row.step.name: row.step.key for row in plan.steps}
        self._brought: dict[str, str] = {}
        self._have_packages = False
        self._ahead: dict[str, threading.Thread] = {}

    def begin(self, away: Away) -> None:
        """Fetch what is said to be there, beside whatever else goes on."""
        if away.stage not in self._ahead:  # else it is another attempt's: `complete` will see to it
            thread = threading.Thread(target=self._fetch_ahead, args=(away,), name="arrival", daemon=True)
            self._ahead[away.stage] = thread
            thread.start()

    def _fetch_ahead(self, away: Away) -> None:
        with suppress(Exception):  # `complete` does what was not done, and tells
            self._fetch(away.stage, away.sha256)
            if away.stage == "check":
                self._fetch_packages()
                self._look_ahead()

    def complete(self, parts: Sequence[Found]) -> list[Done]:
        """See that all is there. Returns how the steps went.

        Parameters:
            parts: what the parts of the build told.

        Raises StoreError, VerifyError.
        """
        for thread in self._ahead.values():
            thread.join()
        name = packed_name(self._keys["pack"])
        packed = self._shared.read_json(name)
        if packed is None:
            raise StoreError(
                "the packed template is not in the fleet's store",
                where=f"{self._shared.address}/{name}",
                hint="it was removed in the meantime: run the same again",
            )
        for stage in ("check", "pack"):
            self._fetch(stage, packed[stage])
        self._fetch_packages()
        return self._done(parts)

    def _fetch(self, stage: str, sha256: str) -> None:
        if self._brought.get(stage) != sha256:
            store = self._world.store
            place = {"check": store.facts, "pack": store.artifact}[stage]
            bring(sha256, place(self._keys[stage]), self._world, self._shared, lasting=True)
            self._brought[stage] = sha256

    def _fetch_packages(self) -> None:
        if self._have_packages:
            return
        cache, last = self._world.cache, self._world.record() or {}
        old = {row[6] for row in last.get("pins", {}).get("target", {}).get("packages", ())}
        for package in self._resolved.pins.target.packages if old else ():
            known = package.sha256 in old or ":" in package.sha256 or cache.has(package.sha256)
            if not known and self._shared.has(package.sha256):
                self._shared.get(package.sha256, cache.path(package.sha256), cache)
        self._have_packages = True

    def _done(self, parts: Sequence[Found]) -> list[Done]:
        ran = {row["name"]: (row, one["worker"]) for one in parts for row in one["stages"]}
        result = []
        for planned in self._plan.steps:
            step = planned.step
            entry = self._shared.read_json(layers.name_of(step.key)) or {}
            row, host = ran.get(step.name, ({"seconds": 0.0, "cached": True, "reason": planned.reason}, ""))
            done = Done(
                step.name, step.key, row["cached"], row["seconds"], row["reason"], entry.get("note", {})
            )
            done.host = host if not row["cached"] else ""
            result.append(done)
        return result


def packed_name(key: str) -> str:
    """Under what name the store tells of a packed template."""
    return f"packed/{key}.json"


def bring(sha256: str, target: Path, world: World, shared: SharedStore, *, lasting: bool = False) -> None:
    """A blob as a file of this machine's store, which replaces what is there.

    Parameters:
        lasting: it is on disk before it has its name.

    Raises StoreError, VerifyError.
    """
    # by a name of its own: others want the same bytes at times, logs that are alike for one
    file = world.cache.root / "fleet" / f"{sha256}-{digest(str(target))[:16]}"
    shared.get(sha256, file, world.cache)
    part = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        shutil.move(file, part)
        if lasting:
            with part.open("rb") as written:
                os.fsync(written.fileno())
        os.rename(part, target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise disk_error(error, target) from error
