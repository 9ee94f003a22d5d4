"""The history of builds: what each run of a template came to, good or not, kept after its layers are gone.

    state_dir/builds/TEMPLATE/BUILD/
        record.json       result, why, when, duration, digest (`Build`)
        facts.json.zst    of a good build: `tmplbuild.changes.facts`
        changes.json      of a good build that had one before it: `tmplbuild.changes.comparison`
        logs/NN-STAGE.log what the stages that ran wrote

A build's id is its time and a few digits of its digest (20261125T143354Z-30db4f2a): ids sort as the
builds came, even where the clock was set back. A directory appears by one rename; whose name begins
with a dot is being written, or what a crash left.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tmplbuild.artifact.atomic import write_atomic
from tmplbuild.artifact.typed import decode, plain
from tmplbuild.changes.comparison import Comparison, read_comparison, write_comparison
from tmplbuild.changes.facts import Facts, read_facts, write_facts
from tmplbuild.errors import StoreError

GOOD, FAILED, INTERRUPTED = "good", "failed", "interrupted"
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
_FORM = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Build:
    """One run that did something.

    `made` is when it ended, seconds since the epoch; `why` the reason of its pins, in words; `seconds` how
    long it took. Of a good build: the file's `size` in bytes and `sha256`, how many `packages` are in it,
    `headline` of what changed since the build before (`against`, an id), and `changed`, how many packages
    that is. Of any other: the `stage` that failed and the `error`.
    """

    id: str
    template: str
    recipe: str
    result: str
    made: float
    seconds: float
    why: str = ""
    sha256: str = ""
    size: int = 0
    packages: int = 0
    changed: int = 0
    against: str = ""
    headline: str = ""
    stage: str = ""
    error: str = ""

    @property
    def good(self) -> bool:
        """Whether a template came of it."""
        return self.result == GOOD


class History:
    """The builds of all templates below a state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.dir = state_dir / "builds"

    def templates(self) -> list[str]:
        """The templates that have a history, sorted."""
        with contextlib.suppress(OSError):
            return sorted(path.name for path in self.dir.iterdir() if path.is_dir())
        return []

    def ids(self, template: str) -> list[str]:
        """The ids of a template's builds, the oldest first."""
        try:
            return sorted(name for name in os.listdir(self.dir / template) if _ID.fullmatch(name))
        except OSError:
            return []

    def builds(self, template: str) -> list[Build]:
        """A template's builds, the oldest first; what cannot be read is left out."""
        return [found for one in self.ids(template) if (found := self.build(template, one)) is not None]

    def build(self, template: str, build_id: str) -> Build | None:
        """One build, or None where there is none that can be read."""
        try:
            data = json.loads((self.path(template, build_id) / "record.json").read_bytes())
        except (OSError, ValueError):
            return None
        faults: list[str] = []
        found: Build = decode(data, Build, "", faults)
        return None if faults else found

    def last_good(self, template: str, *, but: str = "") -> Build | None:
        """The newest good build, or the newest whose file has another sha256 than `but`."""
        for build_id in reversed(self.ids(template)):
            found = self.build(template, build_id)
            if found is not None and found.good and (not but or found.sha256 != but):
                return found
        return None

    def path(self, template: str, build_id: str) -> Path:
        """The directory of a build."""
        return self.dir / template / build_id

    def facts(self, build: Build) -> Facts:
        """The facts of a good build. Raises StoreError where they are gone or damaged."""
        return read_facts(self.path(build.template, build.id) / "facts.json.zst")

    def changes(self, build: Build) -> Comparison | None:
        """What a build changed since `build.against`; None for the first one, and for one that failed.

        Raises StoreError where it cannot be read."""
        path = self.path(build.template, build.id) / "changes.json"
        return read_comparison(path) if path.exists() else None

    def logs(self, build: Build) -> dict[str, Path]:
        """The logs of the stages that the run went through, by stage, in their order."""
        folder = self.path(build.template, build.id) / "logs"
        return {path.stem.partition("-")[2]: path for path in sorted(folder.glob("*.log"))}

    # -- writing -------------------------------------------------------------------------------------

    def new_id(self, template: str, made: float, digest: str) -> str:
        """An id for a build, that sorts after all that are there."""
        known = self.ids(template)
        second = int(made)
        if known:
            newest = datetime.strptime(known[-1][:16], _FORM).replace(tzinfo=UTC)
            second = max(second, int(newest.timestamp()) + 1)
        return f"{datetime.fromtimestamp(second, UTC).strftime(_FORM)}-{digest[:8]:0>8}"

    def stage(
        self,
        build: Build,
        *,
        facts: Facts | None = None,
        changes: Comparison | None = None,
        logs: Iterator[Path] | tuple[Path, ...] = (),
    ) -> None:
        """Write a build where nobody looks yet; `reveal` makes it part of the history.

        Parameters:
            logs: files that are linked in: who writes such a log anew must not write into the old one.

        Raises StoreError.
        """
        draft = self._draft(build.template, build.id)
        try:
            shutil.rmtree(draft, ignore_errors=True)
            (draft / "logs").mkdir(parents=True)
            for log in logs:
                with contextlib.suppress(FileNotFoundError):
                    _link(log, draft / "logs" / log.name)
        except OSError as error:
            raise StoreError("the history cannot be written", where=str(draft), why=str(error)) from error
        write_atomic(
            draft / "record.json", json.dumps(plain(build), sort_keys=True, indent=1).encode() + b"\n"
        )
        if facts is not None:
            write_facts(draft / "facts.json.zst", facts)
        if changes is not None:
            write_comparison(draft / "changes.json", changes)

    def reveal(self, template: str, build_id: str) -> None:
        """Make a staged build part of the history, by one rename. Raises StoreError."""
        draft = self._draft(template, build_id)
        try:
            os.rename(draft, self.path(template, build_id))
        except OSError as error:
            raise StoreError("the history cannot be written", where=str(draft), why=str(error)) from error

    def mend(self, template: str, build_id: str) -> None:
        """After a crash: reveal the build that the template's record names, forget all others that were
        being written. To be called by who holds the template's lock."""
        for draft in (self.dir / template).glob(".*"):
            if build_id and draft == self._draft(template, build_id) and (draft / "record.json").exists():
                self.reveal(template, build_id)
            else:
                shutil.rmtree(draft, ignore_errors=True)

    def prune(self, template: str, *, keep: int, max_age_s: float | None = None) -> list[str]:
        """Forget old builds; the ids of those that went.

        Parameters:
            keep: how many good builds stay, the newest ones; as many that are not good stay, too.
            max_age_s: also forget what is older, in seconds, but for the last good build.
        """
        good = bad = 0
        gone = []
        for build_id in reversed(self.ids(template)):
            found = self.build(template, build_id)
            is_good = found is not None and found.good
            good, bad = good + is_good, bad + (not is_good)
            age = time.time() - found.made if found is not None else 0.0
            old = max_age_s is not None and age > max_age_s
            first = is_good and good == 1
            if not first and (old or (good if is_good else bad) > max(keep, 1)):
                self._forget(template, build_id)
                gone.append(build_id)
        return gone[::-1]

    def _draft(self, template: str, build_id: str) -> Path:
        return self.dir / template / f".{build_id}"

    def _forget(self, template: str, build_id: str) -> None:
        draft = self._draft(template, build_id)  # out of sight first: a reader sees a whole one, or none
        with contextlib.suppress(OSError):
            os.rename(self.path(template, build_id), draft)
        shutil.rmtree(draft, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
