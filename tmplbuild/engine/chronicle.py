"""What a run adds to the history: the build that came of it and what it changed, or how it failed.

heard = Chronicle(world, start)         # stands in for the run's emit
build = heard.stage(resolved, record, facts)   # written, and not to be seen yet
...the template takes its name...
heard.reveal(build)                     # one rename
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tmplbuild.artifact import manifest
from tmplbuild.changes.compare import compare
from tmplbuild.changes.comparison import Comparison, Side
from tmplbuild.changes.facts import Facts, Package
from tmplbuild.changes.history import FAILED, GOOD, INTERRUPTED, Build, History
from tmplbuild.changes.sources import first_of, of_debs, of_tree
from tmplbuild.changes.text import headline
from tmplbuild.engine.facts import keys_of, packed_tree, rootfs_of
from tmplbuild.engine.pins import Pins
from tmplbuild.engine.world import World
from tmplbuild.errors import StoreError, TmplbuildError
from tmplbuild.events import Event, Note, StageStarted

NOTHING = "nothing: the same file as before"


class Chronicle:
    """One run of a template, as its history will tell it. Called with the run's events, which it passes on.

    Parameters:
        start: of the run, as time.monotonic() gave it.
    """

    def __init__(self, world: World, start: float) -> None:
        self.history = History(world.settings.state_dir)
        self.why = ""
        self.warnings: list[str] = []
        self._world = world
        self._start = start
        self._stages: list[str] = []
        self._ahead: tuple[str, Facts, Comparison] | None = None  # against which build, of what, what
        last = world.record()
        self.history.mend(world.template, "" if last is None else str(last.get("build", "")))

    def __call__(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self._stages.append(f"{event.index:02}-{event.stage}")
        elif isinstance(event, Note) and event.level == "warning":
            self.warnings.append(event.text)
        self._world.emit(event)

    def look_ahead(self, pins: Pins, keys: Mapping[str, str], facts: Facts) -> None:
        """Work out what a build changes while it is still being packed or tried, for `stage`.

        Parameters:
            keys: the key of each step by name, in order.

        Raises StoreError.
        """
        last = self.history.last_good(self._world.template)
        if last is not None:
            self._ahead = last.id, facts, self._difference(last, pins, keys, facts)

    def stage(self, record: Mapping[str, Any], facts: Facts) -> tuple[Build, Comparison | None]:
        """Write a good build, which nobody sees until `reveal`. Returns it with what its file changed since
        the last one that had another digest.

        Raises StoreError.
        """
        world, summary = self._world, record["summary"]
        last = self.history.last_good(world.template)
        again = last is not None and last.sha256 == summary["sha256"]
        build_id = self.history.new_id(world.template, record["made"], summary["sha256"])
        changes = self._changes(record, facts, last.id if last is not None and again else build_id)
        build = Build(
            id=build_id,
            template=world.template,
            recipe=world.loaded.name,
            result=GOOD,
            made=record["made"],
            seconds=self._seconds(),
            why=self.why,
            sha256=summary["sha256"],
            size=summary["size"],
            packages=summary["packages"],
            changed=0 if again or changes is None else len(changes.packages),
            against=last.id if last is not None and again else changes.before.build if changes else "",
            headline=NOTHING if again else headline(changes) if changes else "",
        )
        self.history.stage(build, facts=facts, changes=None if again else changes, logs=self._logs())
        return build, changes

    def reveal(self, build: Build) -> None:
        """Make the build part of the history, and let go of the oldest ones. Raises StoreError."""
        self.history.reveal(build.template, build.id)
        self.history.prune(build.template, keep=self._world.settings.history)

    def failed(self, error: BaseException) -> None:
        """Write down a run that came to nothing. A history that cannot be written hides no error."""
        made = time.time()
        stage = self._stages[-1].partition("-")[2] if self._stages else "resolve"
        build = Build(
            id=self.history.new_id(self._world.template, made, "0"),
            template=self._world.template,
            recipe=self._world.loaded.name,
            result=INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAILED,
            made=made,
            seconds=self._seconds(),
            why=self.why,
            stage=stage,
            error=_in_short(error, stage),
        )
        try:
            self.history.stage(build, logs=self._logs())
            self.reveal(build)
        except StoreError as trouble:
            self._world.emit(Note(f"{trouble}", "warning"))

    def _changes(self, record: Mapping[str, Any], facts: Facts, build_id: str) -> Comparison | None:
        """What a file changed since the last one that differs from it."""
        summary = record["summary"]
        last = self.history.last_good(self._world.template, but=summary["sha256"])
        if last is None:
            return None
        if self._ahead is not None and self._ahead[:2] == (last.id, facts):
            found = self._ahead[2]
        else:
            try:
                found = self._difference(last, Pins.from_json(record["pins"]), keys_of(record), facts)
            except StoreError as error:
                told = f"what changed since the last build is not known: {error}"
                self._world.emit(Note(told, "warning"))
                return None
        return replace(found, after=replace(found.after, build=build_id, sha256=summary["sha256"]))

    def _difference(self, last: Build, pins: Pins, keys: Mapping[str, str], facts: Facts) -> Comparison:
        """What a tree changed since a build; the digest of its file need not be known yet."""
        old = self.history.facts(last)
        sides = (
            Side(last.template, last.id, last.sha256, last.size),
            Side(self._world.template, "", "", facts.size),
        )
        debs = of_debs(self._debs(pins))
        if not any(self._world.store.get(key) for key in keys.values()):
            return compare(old, facts, sides=sides, changelogs=debs)  # the tree was made on another machine
        rootfs = rootfs_of(self._world, packed_tree(keys))
        with self._world.core.tree(rootfs, writable=False) as tree:
            changelogs = first_of(of_tree(tree), debs)
            return compare(old, facts, sides=sides, changelogs=changelogs)

    def _debs(self, pins: Pins) -> Any:
        pinned = pins.target.packages
        digests = {(one.name, one.version): one.sha256 for one in pinned if one.filename.endswith(".deb")}

        def file_of(package: Package) -> Path | None:
            digest = digests.get((package.name, package.version))
            return None if digest is None else self._world.cache.path(digest)

        return file_of

    def _logs(self) -> Iterator[Path]:
        folder = self._world.store.log_dir(self._world.template)
        for name in dict.fromkeys(self._stages):  # one may have begun twice, when the archives moved
            yield folder / f"{name}.log"
            yield folder / f"{name.partition('-')[2]}.console"

    def _seconds(self) -> float:
        return round(time.monotonic() - self._start, 3)


def _in_short(error: BaseException, stage: str) -> str:
    """The error on one line, which names the stage."""
    if isinstance(error, KeyboardInterrupt):
        return f"stage {stage}: interrupted"
    if not isinstance(error, TmplbuildError):
        return f"stage {stage}: {error!r}"
    why = error.why.strip().partition("\n")[0]
    what = (
        error.what
        if error.what.startswith(f"stage {stage}") or stage == "resolve"
        else f"stage {stage}: {error.what}"
    )
    return f"{what}: {why}" if why else what


def told(changes: Comparison) -> manifest.Changes:
    """What the manifest says of the changes."""
    return manifest.Changes(
        against=changes.before.build,
        against_sha256=changes.before.sha256,
        headline=headline(changes),
        breaking=changes.breaking,
        packages=tuple(
            manifest.ChangedPackage(
                one.name, one.change, one.before or None, one.after or None, one.security, one.cves
            )
            for one in changes.packages
        ),
        files=tuple(f"{one.change}: {one.path}" for one in changes.files),
        others=tuple(
            f"{one.kind} {one.name}: {one.before or 'none'} -> {one.after or 'none'}"
            for one in changes.others
        ),
    )
