"""From a template to a published build: all its files, in a draft of the mirror."""

from __future__ import annotations

import calendar
import dataclasses
import time

from tmplbuild.errors import HostError
from tmplbuild.events import Emit
from tmplbuild.pubconf import PublishSettings
from tmplbuild.publish import patch, provenance, sbom
from tmplbuild.publish.deltas import DELTAS, Delta, deltas_json, for_kinds
from tmplbuild.publish.draft import Draft
from tmplbuild.publish.fork import Fork
from tmplbuild.publish.formats import AFTERWARDS, CHANGED, STREAMED, incus, tarxz, wsl
from tmplbuild.publish.indexes.sums import NAME as SUMS
from tmplbuild.publish.indexes.sums import sums
from tmplbuild.publish.mirror import Mirror
from tmplbuild.publish.model import Build, State
from tmplbuild.publish.sign import Signer
from tmplbuild.publish.source import Source
from tmplbuild.publish.walk import Sink, walk

_SKEW_S = 300
_NAME = "%Y%m%d_%H%M%S"  # as tmplbuild.publish.model.BUILD has it


def name_of(state: State, template: str, now: int) -> str:
    """A new build's name: the time, or the second after the newest one's where that is not earlier."""
    builds = state.of(template)
    if builds:
        newest = calendar.timegm(time.strptime(builds[0].build, _NAME))
        now = max(now, newest + 1)
    return time.strftime(_NAME, time.gmtime(now))


def check_clock(state: State, source: Source | None, now: int) -> None:
    """Raises HostError where the clock is behind what the mirror or a template has seen already."""
    seen = [("the mirror was last changed", state.made)]
    if source is not None:
        seen.append((f"the archives of {source.template} were signed", source.manifest.epoch))
    for what, moment in seen:
        if now + _SKEW_S < moment:
            raise HostError(
                "the clock of this machine is behind",
                why=f"it is {_utc(now)} here; {what} {_utc(moment)}",
                hint="set the clock (timedatectl); dates decide which build clients take for the newest",
            )


def make_build(
    mirror: Mirror,
    source: Source,
    name: str,
    *,
    settings: PublishSettings,
    signer: Signer | None,
    forced: str,
    before: Build | None = None,
    now: int,
    jobs: int,
    emit: Emit,
) -> Build:
    """Write all files of a new build into the mirror; no index names it yet.

    Parameters:
        name: the build's (`name_of`).
        forced: why the check refused the template, if it did.
        before: the current build, which a patch is made from, if the settings want one.
        now: seconds since the epoch.

    Raises VerifyError for a template that is not its manifest's, StoreError, StageError, HostError; then
    nothing is left.
    """
    manifest = source.manifest
    build = Build(
        template=source.template,
        build=name,
        distro=source.distro,
        release=source.release,
        suite=source.suite,
        arch=source.arch,
        variant=source.variant,
        title=source.title,
        eol=source.eol,
        epoch=manifest.epoch,
        published=now,
        artifact=manifest.artifact.sha256,
        manifest=source.manifest_sha256,
        files=(),
        key=signer.key if signer else "",
        forced=forced,
        formats=settings.formats,
    )
    with mirror.draft(build.folder) as place:
        draft = Draft(source, name, place, build.folder, settings, jobs, emit)
        _fill(draft)
        _patch(mirror, draft, before)
        _sign(draft, signer)
        return _with(build, draft)


def _fill(draft: Draft) -> None:
    formats = draft.settings.formats
    deltas = wanted_deltas(draft.source, draft.settings)
    sinks: list[Sink] = [
        make(draft) for name, make in STREAMED.items() if name in formats and name not in deltas
    ]
    if tarxz.KIND in deltas:
        sinks.append(tarxz.plain(draft))
    if deltas:
        changed = [(CHANGED[name](draft), delta) for name, delta in deltas.items()]
        sinks.append(Fork(changed, draft.source.manifest.epoch, tarxz.PIECE))
        draft.put(DELTAS, "deltas", deltas_json(deltas))
    walk(draft, sinks)
    for name, write in AFTERWARDS.items():
        if name in formats:
            write(draft)
    source = draft.source
    draft.put("manifest.json", "manifest", source.raw)
    draft.put("sbom.spdx.json", "spdx", sbom.spdx(source))
    draft.put("sbom.cdx.json", "cyclonedx", sbom.cyclonedx(source))
    draft.put("provenance.json", "provenance", provenance.statement(draft))
    for kind, data in source.records.items():
        draft.put(f"{kind}.json", kind, data)


def _patch(mirror: Mirror, draft: Draft, before: Build | None) -> None:
    """The way here from the build before, if that is wanted and spares something."""
    old = before.file("tar.gz") if before else None
    if old is None or before is None or not draft.settings.patches:
        return
    recipe = draft.source.recipe
    levels = (recipe.recipe.pack.level,) if recipe else ()
    if data := patch.make(mirror.root / old.path, draft.place / draft.dated("tar.gz"), levels):
        draft.put(draft.dated(f"from_{before.build}.patch"), "patch", data)


def wanted_deltas(source: Source, settings: PublishSettings) -> dict[str, Delta]:
    """What differs from the template, by format, of those that are made."""
    formats = [name for name in settings.formats if name != wsl.VARIANT or source.variant == wsl.VARIANT]
    return for_kinds(source.deltas, formats)


def _sign(draft: Draft, signer: Signer | None) -> None:
    """SHA256SUMS of everything, its signatures, and one beside the .tar.gz for vztmpl-dl."""
    data = sums((name, draft.sha256(name)) for name in draft.kinds)
    draft.put(SUMS, "sums", data)
    if signer is None:
        return
    draft.put(f"{SUMS}.gpg", "signature", signer.detached(data, armor=False))
    draft.put(f"{SUMS}.asc", "signature", signer.detached(data))
    archive = draft.dated("tar.gz")
    draft.put(f"{archive}.asc", "tar.gz.asc", signer.detached_file(draft.place / archive))


def _with(build: Build, draft: Draft) -> Build:
    differs = tuple(sorted(wanted_deltas(draft.source, draft.settings)))
    return dataclasses.replace(build, combined=incus.combined(draft), files=draft.seal(), differs=differs)


def _utc(moment: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))
