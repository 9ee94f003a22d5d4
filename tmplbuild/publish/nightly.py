"""The end of a nightly run: what it has built is published, and what an earlier night could not publish.

What is still to be published stands in a file, so that a mirror or a target that was out of order one night
gets it the next, although nothing changes by then.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tmplbuild.artifact.atomic import write_atomic
from tmplbuild.config import Settings
from tmplbuild.errors import StageError, TmplbuildError
from tmplbuild.events import Emit, Progress
from tmplbuild.publish.delivery import push
from tmplbuild.publish.mirror import Mirror
from tmplbuild.publish.publish import Outcome, mirror_of, publish

_NEWS = ("built", "updated")


def publish_night(report: Mapping[str, Any], settings: Settings, *, emit: Emit) -> dict[str, Any]:
    """The report with what was published; one that cannot be published does not hold up the others.

    Published are templates that this run built, or that an earlier one left unpublished, whose recipe or
    template matches the settings' nightly.publish; then the mirror goes to its targets. "published" in
    the report has what became of each; "status" is 1 if anything could not be done.
    """
    night = settings.nightly
    if not night.publish:
        return dict(report)
    waiting = _Waiting(settings.state_dir / "unpublished.json")
    news = [
        row["template"]
        for row in report["templates"]
        if row["outcome"] in _NEWS and _wanted(row, night.publish)
    ]
    there = {
        row["template"] for row in report["templates"] if row.get("file") and _wanted(row, night.publish)
    }
    names = sorted({*news, *(waiting.templates & there)})
    if not names and not waiting.push:
        return dict(report)
    waiting.save(names, push=True)
    emit(Progress("publish"))
    outcomes = _each(names, settings, emit) if names else []
    reached = any(one.state in ("published", "unchanged") for one in outcomes) or not names
    targets = _push(settings, emit) if reached and settings.publish.targets else []
    left = [one.template for one in outcomes if one.state == "failed"]
    bad_targets = [one for one in targets if one["state"] == "failed"]
    waiting.save(left, push=bool(bad_targets) or (bool(left) and not reached))
    troubled = bool(bad_targets) or any(one.state in ("failed", "refused") for one in outcomes)
    published = {"templates": [asdict(one) for one in outcomes], "targets": targets}
    return {**report, "published": published, "status": 1 if troubled else report["status"]}


def _wanted(row: Mapping[str, Any], patterns: Sequence[str]) -> bool:
    names = (str(row["recipe"]), str(row["template"]))
    return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _each(names: Sequence[str], settings: Settings, emit: Emit) -> list[Outcome]:
    """All by one switch; if that does not go, one by one."""
    try:
        return list(publish(names, settings=settings, to=None, emit=emit).outcomes)
    except TmplbuildError as error:
        if len(names) == 1:
            return [_failed(names[0], error)]
    return [outcome for name in names for outcome in _each([name], settings, emit)]


def _failed(name: str, error: TmplbuildError) -> Outcome:
    state = "refused" if isinstance(error, StageError) else "failed"  # a refusal will be one tomorrow
    return Outcome(name, state, why=f"{error.what}{f': {error.why}' if error.why else ''}")


def _push(settings: Settings, emit: Emit) -> list[dict[str, Any]]:
    try:
        done = push(Mirror(mirror_of(settings, None)), settings.publish, (), emit=emit)
        return [{"name": one.name, "state": one.state, "why": one.why} for one in done]
    except TmplbuildError as error:
        return [{"name": name, "state": "failed", "why": str(error)} for name in settings.publish.targets]


class _Waiting:
    """What is still to be published: names of templates, and whether targets are to be brought up to date."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            found = json.loads(path.read_bytes())
            self.templates = {str(name) for name in found["templates"]}
            self.push = bool(found["push"])
        except (OSError, ValueError, KeyError, TypeError):
            self.templates, self.push = set(), False

    def save(self, templates: Sequence[str], *, push: bool) -> None:
        """Raises StoreError."""
        if templates or push:
            write_atomic(self._path, json.dumps({"templates": list(templates), "push": push}).encode())
        else:
            self._path.unlink(missing_ok=True)
