"""The record of a build, and what is told of it: the summary, the manifest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tmplbuild import __version__
from tmplbuild.engine import keys, pinning
from tmplbuild.engine.deliver import deliver, is_delivered
from tmplbuild.engine.pins import Pins
from tmplbuild.engine.plan import Plan
from tmplbuild.engine.world import Resolved, World
from tmplbuild.recipes.model import plain

if TYPE_CHECKING:
    from tmplbuild.artifact import manifest
    from tmplbuild.changes.comparison import Comparison
    from tmplbuild.changes.history import Build
    from tmplbuild.engine.execute import Done

Record = dict[str, Any]


def make_record(world: World, resolved: Resolved, plan: Plan, done: list[Done]) -> Record:
    notes = {row.name: row.note for row in done}
    packed = notes["pack"]
    strips = [notes.get(name, {}) for name in ("strip", "strip-again")]
    stripped = list(
        dict.fromkeys(f"{kind}: {name}" for note in strips for kind, names in note.items() for name in names)
    )
    left = [f"{row['path']} ({row['decision']})" for row in notes["leftovers"].get("leftovers", ())]
    return {
        "template": world.template,
        "recipe": world.loaded.name,
        "made": time.time(),
        "request": pinning.request(world.loaded.recipe, world.loaded.arch),
        "asked": pinning.asked(world.loaded.recipe, world.loaded.arch),
        "pins": resolved.pins.to_json(),
        "steps": [
            {"name": row.step.name, "key": row.step.key, "handed": row.step.handed} for row in plan.steps
        ],
        "seconds": _seconds(world, done),
        "host": _host(world, done),
        "notes": notes,
        "boot_test": _boot_test(world, plan),
        "emulator": world.emulator.name if world.emulator is not None else None,
        "summary": {
            "template": world.template,
            **_places(world),
            "size": packed["size"],
            "sha256": packed["sha256"],
            "packages": len(packed["packages"]),
            "stripped": stripped,
            "leftovers": left,
            **_upgraded(resolved),
            "logs": str(world.store.log_dir(world.template)),
        },
    }


def _host(world: World, done: list[Done]) -> str:
    """Which machine of a fleet made it last, and so has its layers; "" where this one did."""
    ran = [row.host for row in done if not row.cached]
    return ran[-1] if ran else str((world.record() or {}).get("host", ""))


def _seconds(world: World, done: list[Done]) -> dict[str, float]:
    """How long each step took when it last ran: what the next night goes by."""
    before = (world.record() or {}).get("seconds", {})
    return {**before, **{row.name: round(row.seconds, 3) for row in done if not row.cached}}


def _boot_test(world: World, plan: Plan) -> str:
    if any(row.step.name == "boot" for row in plan.steps):
        return "passed"
    return "skipped: an emulated init does not come up" if world.is_foreign else "not asked for"


def _upgraded(resolved: Resolved) -> dict[str, Any]:
    """What is told of a template that was made out of an earlier release's."""
    if resolved.source is None:
        return {}
    source = resolved.source
    signed = {"signed_by": list(source.signers)} if source.signers else {}
    return {"made_of": {"template": source.name, "sha256": source.sha256, **signed}}


def with_changes(
    record: Record, build: Build, changes: Comparison | None, differences: tuple[str, ...] | None
) -> Record:
    """The record with its place in the history, and with how the result differs from the build before it
    and from a clean one."""
    from tmplbuild.artifact import typed
    from tmplbuild.engine.chronicle import told

    summary = {**record["summary"], "build": build.id}
    if differences is not None:
        summary["differences"] = list(differences)
    record = {**record, "build": build.id, "summary": summary}
    if changes is not None:
        record["changes"] = typed.plain(told(changes))
        summary["changed"] = build.headline
        summary["breaking"] = list(changes.breaking)
    return record


def _places(world: World) -> dict[str, str]:
    place = world.settings.template_cache / world.template
    return {"file": f"{place}.tar.gz", "manifest": f"{place}.manifest.json"}


def delivered(world: World, record: Record) -> bool:
    return is_delivered(world.settings.template_cache, world.template, record.get("delivered"))


def put(world: World, record: Record) -> Record:
    """Put the packed file into the template cache; the record of the last good build follows it."""
    from tmplbuild.artifact import manifest

    key = next(row["key"] for row in record["steps"] if row["name"] == "pack")
    mark = deliver(
        world.store.artifact(key),
        world.settings.template_cache,
        world.template,
        manifest.manifest_bytes(_manifest(world, record)),
        record["summary"]["size"],
        world.emit,
    )
    file = world.settings.template_cache / f"{world.template}.tar.gz"
    summary = {
        **record["summary"],
        "file": str(file),
        "manifest": str(file.with_name(f"{world.template}.manifest.json")),
    }
    record = {**record, "delivered": mark, "summary": summary}
    world.store.write_record(world.template, record)
    return record


def _manifest(world: World, record: Record) -> manifest.Manifest:
    from tmplbuild.artifact import manifest

    pins, packed = record["pins"], record["notes"]["pack"]
    pinned = Pins.from_json(pins)
    return manifest.Manifest(
        template=world.template,
        recipe=manifest.RecipeRef(
            record["recipe"], keys.digest(plain(world.loaded.recipe)), world.loaded.features
        ),
        tool=f"tmplbuild {__version__}",
        arch=pins["arch"],
        epoch=pinned.target.epoch,
        pins=manifest.Pins(
            archives=tuple(
                manifest.Pin(
                    row["archive"], row["suite"], row["date"], row["release_sha256"], tuple(row["signed_by"])
                )
                for row in pins["archives"]
            ),
            base_closure=pinned.base.digest,
            closure=pinned.target.digest,
        ),
        packages=tuple(manifest.PackageRef(**row) for row in packed["packages"]),
        stages=tuple(manifest.StageRef(row["name"], row["key"]) for row in record["steps"]),
        artifact=manifest.Artifact(
            file=f"{world.template}.tar.gz",
            **{key: packed[key] for key in ("size", "sha256", "tar_size", "entries")},
        ),
        stripped=tuple(record["summary"]["stripped"]),
        leftovers=tuple(_leftover(row) for row in record["notes"]["leftovers"].get("leftovers", ())),
        made_of=record["summary"].get("made_of", {}).get("template"),
        made_of_sha256=record["summary"].get("made_of", {}).get("sha256"),
        differences=tuple(record["summary"].get("differences", ())),
        changes=_changes(record.get("changes")),
        boot_test=record.get("boot_test", ""),
        emulator=record.get("emulator"),
    )


def _changes(told: object) -> manifest.Changes | None:
    from tmplbuild.artifact import manifest, typed

    if told is None:
        return None
    faults: list[str] = []
    found: manifest.Changes = typed.decode(told, manifest.Changes, "", faults)
    return None if faults else found  # a record of another version of this program


def stage_row(row: Done) -> Record:
    found = {"name": row.name, "seconds": round(row.seconds, 3), "cached": row.cached, "reason": row.reason}
    return {**found, "host": row.host} if row.host else found


def _leftover(row: Record) -> manifest.Leftover:
    from tmplbuild.artifact import manifest

    hashes = row.get("sha256", {})
    return manifest.Leftover(
        path=row["path"],
        decision=row["decision"],
        kind=row["kind"],
        cause=row["cause"],
        package=row.get("package"),
        from_version=row.get("from_version"),
        to_version=row.get("to_version"),
        **{f"{name}_sha256": hashes.get(name) for name in ("old", "disk", "new", "result")},
        diff=bool(row.get("diff")),
    )
