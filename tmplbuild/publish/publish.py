"""publish: templates of the cache become builds of a mirror, and one switch serves them all."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmplbuild.checks import check_file
from tmplbuild.config import Settings
from tmplbuild.errors import BusyError, StageError, UsageError, VerifyError
from tmplbuild.events import Emit, Note
from tmplbuild.pubconf import PublishSettings
from tmplbuild.publish import serving, source
from tmplbuild.publish.building import check_clock, make_build, name_of, wanted_deltas
from tmplbuild.publish.deltas import deltas_json
from tmplbuild.publish.formats import possible
from tmplbuild.publish.health import health_of
from tmplbuild.publish.mirror import Mirror
from tmplbuild.publish.model import Build, State
from tmplbuild.publish.sign import Signer, signer_of
from tmplbuild.publish.source import Source
from tmplbuild.recipes import recipe_roots

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one template: "published", "unchanged", "withdrawn" (a rollback took it back),
    "refused", "busy" (a build was replacing it), or with a dry run "would publish".

    `build` is the new or the current build's name, `why` a refusal's reason, `size` bytes of new files.
    """

    template: str
    state: str
    build: str = ""
    size: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """A run's result. `removed`: builds whose files went; `serial`: the generation that is served."""

    mirror: Path
    serial: int
    outcomes: tuple[Outcome, ...]
    removed: tuple[str, ...] = ()


def mirror_of(settings: Settings, to: Path | None) -> Path:
    """The mirror's directory: what the command line says, or the settings. Raises UsageError."""
    place = to or settings.publish.to
    if place is None:
        raise UsageError(
            "no mirror is named",
            hint='say --to DIR, or in /etc/tmplbuild/tmplbuild.toml: [publish] to = "/srv/templates"',
        )
    return Path(place)


def publish(
    names: Sequence[str],
    *,
    settings: Settings,
    to: Path | None,
    force: bool = False,
    dry_run: bool = False,
    emit: Emit,
    now: float | None = None,
) -> Published:
    """Publish templates of the cache, by template or recipe name (all, if none is named).

    Parameters:
        to: the mirror's directory, instead of the settings' one.
        force: publish what `check` refuses, too; it is recorded.
        now: seconds since the epoch, instead of the clock's.

    Raises UsageError, StoreError, BusyError, HostError (no key, a wrong clock), VerifyError; after all others
    were published, StageError where `check` refused a template, BusyError where a build was replacing one.
    """
    formats, lacking = possible(settings.publish.formats)
    conf = dataclasses.replace(settings.publish, formats=formats)
    for text in lacking:
        emit(Note(text, "warning"))
    moment = int(time.time() if now is None else now)
    roots = recipe_roots(settings.recipes)
    sources = source.find(settings.template_cache, names, roots, settings.state_dir)
    signer = signer_of(conf)
    if signer is None:
        emit(Note("nothing is signed: publish.key in the settings names no key", "warning"))
    mirror = Mirror(mirror_of(settings, to))
    with mirror.locked() as state:
        serving.warn_of_foreign(mirror, emit)
        for one in sources:
            check_clock(state, one, moment)
        mirror.look_out(serving.names_at_root(state, conf, [one.template for one in sources]))
        outcomes, wanted = _sort(sources, state, conf, force)
        refused = [one for one in outcomes if one.state == "refused"]
        if dry_run:
            rows = [Outcome(one.template, "would publish", why=why) for one, why in wanted]
            return Published(mirror.root, state.serial, tuple(outcomes + rows))
        builds, busy = _make(mirror, state, wanted, conf, settings, signer, moment, emit)
        outcomes += [Outcome(one.template, "busy", why="a build was replacing it") for one in busy]
        outcomes += [Outcome(one.template, "published", one.build, one.size, one.forced) for one in builds]
        try:
            state = state.with_builds(builds)
            gone: list[Build] = []
            how: Any = {"settings": conf, "signer": signer, "health": health_of(settings), "now": moment}
            if builds or (
                len(refused) + len(busy) < len(sources) and not serving.up_to_date(mirror, state, **how)
            ):
                state, gone = serving.serve(mirror, state, **how)
        except BaseException:
            if mirror.state().serial == state.serial:
                mirror.remove(builds)
            raise
    result = Published(mirror.root, state.serial, tuple(outcomes), tuple(_name(one) for one in gone))
    _tell_left(result)
    return result


def _sort(
    sources: Sequence[Source], state: State, conf: PublishSettings, force: bool
) -> tuple[list[Outcome], list[tuple[Source, str]]]:
    """What needs no work, and what is to be published with the reason why `check` refused it."""
    outcomes: list[Outcome] = []
    wanted: list[tuple[Source, str]] = []
    for one in sources:
        listed = state.listed(one.template)
        if listed and _same(listed[0], one, conf):
            outcomes.append(Outcome(one.template, "unchanged", listed[0].build))
            continue
        newest = next(iter(state.of(one.template)), None)
        if newest and newest.withdrawn and newest.artifact == one.manifest.artifact.sha256 and not force:
            why = "a rollback took this build back; --force publishes it again"
            outcomes.append(Outcome(one.template, "withdrawn", listed[0].build if listed else "", why=why))
            continue
        why = _refusal(one)
        if why and not force:
            outcomes.append(Outcome(one.template, "refused", listed[0].build if listed else "", why=why))
        else:
            wanted.append((one, why))
    return outcomes, wanted


def _same(build: Build, one: Source, conf: PublishSettings) -> bool:
    found = (build.artifact, build.manifest, build.key, build.formats)
    deltas = wanted_deltas(one, conf)
    told = build.file("deltas")
    same = (told.sha256 if told else "") == (
        hashlib.sha256(deltas_json(deltas)).hexdigest() if deltas else ""
    )
    return same and found == (one.manifest.artifact.sha256, one.manifest_sha256, conf.key, conf.formats)


def _refusal(one: Source) -> str:
    """What the lint has against a template; "" if nothing."""
    waive = dict(one.recipe.recipe.check.waive) if one.recipe else {}
    report = check_file(one.file, waive=waive)
    errors = [str(finding) for finding in report.findings if finding.severity == "error"]
    more = [f"and {len(errors) - _SHOWN} more"] if len(errors) > _SHOWN else []
    return "\n".join(errors[:_SHOWN] + more)


def _make(
    mirror: Mirror,
    state: State,
    wanted: Sequence[tuple[Source, str]],
    conf: PublishSettings,
    settings: Settings,
    signer: Signer | None,
    now: int,
    emit: Emit,
) -> tuple[list[Build], list[Source]]:
    """The builds, their files in place, and what a build was replacing; if one fails, none is left."""
    builds: list[Build] = []
    busy: list[Source] = []
    try:
        for one, why in wanted:
            if why:
                emit(Note(f"{one.template} is published although the check refuses it", "warning"))
            how: Any = {
                "settings": conf,
                "signer": signer,
                "forced": why,
                "before": next(iter(state.listed(one.template)), None),
                "now": now,
                "jobs": settings.jobs,
                "emit": emit,
            }
            try:
                builds.append(make_build(mirror, one, name_of(state, one.template, now), **how))
            except VerifyError:
                if not source.is_replaced(one, settings.state_dir):
                    raise
                busy.append(one)
    except BaseException:
        mirror.remove(builds)
        raise
    return builds, busy


def _tell_left(result: Published) -> None:
    """Raise what keeps templates from being published."""
    refused, busy, published = (
        [one for one in result.outcomes if one.state == state] for state in ("refused", "busy", "published")
    )
    done = [f"published: {_names(published)}"] if published else []
    if refused:
        served = [f"{one.template} {one.build}" for one in refused if one.build]
        notes = [f"still served: {', '.join(served)}"] if served else []
        raise StageError(
            f"the check refuses {_names(refused)}",
            why="\n".join([*(one.why for one in refused), *notes, *done]),
            hint="mend the recipe or waive the rule there; --force publishes it, and records why",
        )
    if busy:
        raise BusyError(
            f"a build was replacing {_names(busy)}",
            why="\n".join(done),
            hint="publish again when it is done",
        )


def _names(outcomes: Sequence[Outcome]) -> str:
    return ", ".join(one.template for one in outcomes)


def _name(build: Build) -> str:
    return f"{build.template} {build.build}"
