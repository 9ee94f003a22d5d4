"""What this machine's own builds tell of a template that is served: that the last one failed, and since when.

A mirror shows it, so that who uses it knows why nothing newer is there. A machine that only publishes has
no such records; then age alone tells.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tmplbuild.config import Settings
from tmplbuild.engine.failure import INTERRUPTED, KIND
from tmplbuild.publish.model import Build

_DAY_S = 86400


@dataclass(frozen=True, slots=True)
class Failure:
    """The last build failed: in `stage`, first at `since` (seconds), so many `times` in a row."""

    stage: str
    since: int
    times: int


@dataclass(frozen=True, slots=True)
class Health:
    """Failures by template, and after how many days without a new build a template is stale (0: never)."""

    failures: Mapping[str, Failure] = field(default_factory=dict)
    stale_after_days: int = 0

    def word(self, build: Build, now: int) -> str:
        """The state of a template whose current build this is: "failing", "stale" or "fresh"."""
        if build.template in self.failures:
            return "failing"
        age = now - build.published
        return "stale" if self.stale_after_days and age > self.stale_after_days * _DAY_S else "fresh"


def health_of(settings: Settings) -> Health:
    """What the records of this machine tell."""
    found: dict[str, Failure] = {}
    suffix = f".{KIND}.json"
    for path in sorted((settings.state_dir / "records").glob(f"*{suffix}")):
        if failure := _failure(path):
            found[path.name.removesuffix(suffix)] = failure
    return Health(found, settings.nightly.stale_after_days)


def _failure(path: Path) -> Failure | None:
    try:
        record = json.loads(path.read_bytes())
        if record["error"] == INTERRUPTED:
            return None  # the next run goes on from there
        return Failure(str(record["stage"]), int(record["since"]), int(record["times"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
