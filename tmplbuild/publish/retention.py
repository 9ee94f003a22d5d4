"""How long builds stay: what indexes name, and when files may go. Pure: times come in as numbers.

A build is listed while it is among the newest `keep` of its template, or younger than `keep_days`, or
pinned. One that is not listed keeps its files for `grace_hours`: a client that read an index before, and a
mirror that copies slowly, still find them. The current build of a template always stays.
"""

from __future__ import annotations

import dataclasses

from tmplbuild.pubconf import PublishSettings
from tmplbuild.publish.model import Build, State

_DAY_S = 86400
_HOUR_S = 3600


def relisted(state: State, settings: PublishSettings, now: int) -> State:
    """The state with `unlisted` set where a build leaves the indexes, and cleared where one comes back."""
    changed = []
    for name in state.templates():
        good = 0
        for build in state.of(name):
            listed = not build.withdrawn and (
                good < settings.keep or build.pinned or now - build.published < settings.keep_days * _DAY_S
            )
            good += not build.withdrawn
            unlisted = 0 if listed else build.unlisted or now
            if unlisted != build.unlisted:
                changed.append(dataclasses.replace(build, unlisted=unlisted))
    return state.with_builds(changed)


def expired(state: State, settings: PublishSettings, now: int) -> list[Build]:
    """The builds whose files may go: unlisted for the whole grace time, not pinned, not the last one."""
    gone = []
    for name in state.templates():
        keeps_one = bool(state.listed(name))
        for build in state.of(name):
            waited = now - build.unlisted >= settings.grace_hours * _HOUR_S
            if build.unlisted and waited and not build.pinned and keeps_one:
                gone.append(build)
    return gone
