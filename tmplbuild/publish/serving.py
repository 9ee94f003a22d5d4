"""Making a state the one that is served: indexes, signatures, one switch, and what may go afterwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tmplbuild.events import Emit, Note
from tmplbuild.pubconf import PublishSettings
from tmplbuild.publish import page
from tmplbuild.publish.health import Health
from tmplbuild.publish.indexes import SIGNATURES, Catalog, index_files, index_links
from tmplbuild.publish.indexes.vztmpl import FIXED
from tmplbuild.publish.mirror import Mirror
from tmplbuild.publish.model import Build, State
from tmplbuild.publish.page import assets
from tmplbuild.publish.retention import expired, relisted
from tmplbuild.publish.sign import Signer


def serve(
    mirror: Mirror,
    state: State,
    *,
    settings: PublishSettings,
    signer: Signer | None,
    health: Health,
    now: int,
) -> tuple[State, list[Build]]:
    """Serve `state`; the caller holds the mirror's lock.

    Parameters:
        health: what this machine's builds tell of the templates, for the page.

    Retention is applied: the builds that were deleted are returned with the new state. Their files go after
    the switch. Raises StoreError, HostError; then what was served before still is.
    """
    state = relisted(state, settings, now)
    gone = expired(state, settings, now)
    state = state.without(gone)
    state = dataclasses.replace(state, serial=state.serial + 1, made=now)
    files = generated(mirror, state, settings, signer, health, now)
    for name, suffixes in SIGNATURES.items():
        if signer is not None and name in files:
            for suffix in suffixes:
                binary = suffix == ".gpg" and name == "SHA256SUMS"
                files[f"{name}{suffix}"] = signer.detached(files[name], armor=not binary)
    if settings.page:
        files = {**assets.earlier(mirror.generations()), **files}
    mirror.switch(state, files, index_links(Catalog(state, settings)))
    mirror.remove(gone)
    mirror.drop_generations(now - settings.grace_hours * 3600)
    return state, gone


def generated(
    mirror: Mirror, state: State, settings: PublishSettings, signer: Signer | None, health: Health, now: int
) -> dict[str, bytes]:
    """The indexes of a state, unsigned, and the pages."""
    catalog = Catalog(state, settings, signer.certificate if signer else b"")
    files = index_files(catalog)
    return {**files, **page.files(catalog, health, mirror.read, now)} if settings.page else files


def names_at_root(state: State, settings: PublishSettings, templates: Sequence[str]) -> list[str]:
    """The names that a mirror of this state, with builds of further templates, has at its root."""
    names = {path.partition("/")[0] for path in index_files(Catalog(state, settings))}
    names |= set(page.ROOT_NAMES) if settings.page else set()
    return sorted(names | {f"{template}.{suffix}" for template in templates for suffix in FIXED.values()})


def up_to_date(
    mirror: Mirror,
    state: State,
    *,
    settings: PublishSettings,
    signer: Signer | None,
    health: Health,
    now: int,
) -> bool:
    """Whether serving `state` would change nothing: retention, settings, health want no other generation."""
    if not state.serial or relisted(state, settings, now) != state or expired(state, settings, now):
        return False
    signed = signer is None or all((mirror.root / f"{name}.asc").exists() for name in ("SHA256SUMS",))
    try:
        served = {
            name: (mirror.root / name).read_bytes() == data
            for name, data in generated(mirror, state, settings, signer, health, now).items()
        }
    except OSError:
        return False
    return signed and all(served.values())


def warn_of_foreign(mirror: Mirror, emit: Emit) -> None:
    """Name what lies in the mirror and is not its own."""
    found = mirror.foreign()
    if found:
        shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        emit(Note(f"left alone, not of this mirror: {shown} (in {mirror.root})", "warning"))
