"""mirror: pin, rollback, prune: changes of what is served, without a new build."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tmplbuild.config import Settings
from tmplbuild.errors import UsageError
from tmplbuild.events import Emit
from tmplbuild.publish import serving
from tmplbuild.publish.building import check_clock
from tmplbuild.publish.health import health_of
from tmplbuild.publish.mirror import Mirror
from tmplbuild.publish.model import Build, State
from tmplbuild.publish.sign import signer_of
from tmplbuild.tomlfile import did_you_mean

Change = Callable[[State], State]


def change(
    place: Path, settings: Settings, make: Change, emit: Emit, now: float | None = None
) -> tuple[State, list[Build]]:
    """Serve the state that `make` turns the mirror's into; the new state and the builds that went.

    Raises UsageError, BusyError, StoreError, HostError.
    """
    moment = int(time.time() if now is None else now)
    signer = signer_of(settings.publish)
    mirror = Mirror(place)
    with mirror.locked() as state:
        serving.warn_of_foreign(mirror, emit)
        check_clock(state, None, moment)
        changed = make(state)
        how: Any = {
            "settings": settings.publish,
            "signer": signer,
            "health": health_of(settings),
            "now": moment,
        }
        if changed == state and serving.up_to_date(mirror, state, **how):
            mirror.drop_generations(moment - settings.publish.grace_hours * 3600)
            return state, []
        return serving.serve(mirror, changed, **how)


def pin(template: str, build: str, *, pinned: bool) -> Change:
    """Keep a build for good, or no longer ("" is the current one)."""

    def make(state: State) -> State:
        one = chosen(state, template, build)
        return state.with_builds([dataclasses.replace(one, pinned=pinned)])

    return make


def rollback(template: str, build: str) -> Change:
    """Serve an earlier build as the current one ("": the one before it); newer ones are withdrawn.

    A build that was withdrawn can be served again in the same way, as long as its files are there.
    """

    def make(state: State) -> State:
        builds = state.of(template)
        target = chosen(state, template, build, before=not build)
        changed = [
            dataclasses.replace(one, withdrawn=one.build > target.build)
            for one in builds
            if one.build >= target.build
        ]
        # a build that is served again is listed again, however old it is
        changed = [
            dataclasses.replace(one, unlisted=0) if one.build == target.build else one for one in changed
        ]
        return state.with_builds(changed)

    return make


def chosen(state: State, template: str, build: str, *, before: bool = False) -> Build:
    """A build by name; "" for the current one, or (`before`) the one before it. Raises UsageError."""
    builds = state.of(template)
    if not builds:
        near = did_you_mean(template, state.templates())
        raise UsageError(
            f'the mirror has no template "{template}"',
            hint=near or f"it has {', '.join(state.templates()) or 'none yet'}",
        )
    if build:
        for one in builds:
            if one.build == build:
                return one
        raise UsageError(
            f'{template} has no build "{build}"', hint=f"it has {', '.join(one.build for one in builds)}"
        )
    listed = state.listed(template)
    if len(listed) <= before:
        raise UsageError(
            f"{template} has no {'earlier' if before else 'current'} build",
            hint="tmplbuild mirror list shows what is there",
        )
    return listed[int(before)]
