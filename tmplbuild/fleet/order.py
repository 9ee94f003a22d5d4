"""An order: all that another machine needs to know to do a part of a template's build.

It is one JSON object in the shared store, named by its hash; the scheduler carries that name, and no more.
Resolving is done once, by who gives the order: the order names the verified indexes, so that all machines
work with one state of each archive; who takes it verifies them again, by the keys pinned in the recipe.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tmplbuild import secrets
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.model import ArchiveState, IndexFile
from tmplbuild.archives.suites import Suite
from tmplbuild.config import Settings
from tmplbuild.engine import families, keys
from tmplbuild.engine.pins import Pins
from tmplbuild.engine.plan import Plan, Planned
from tmplbuild.engine.source import Source
from tmplbuild.engine.steps import LOOKS_ONLY, Step
from tmplbuild.engine.world import Resolved, World, keys_dirs, world_of
from tmplbuild.errors import VerifyError
from tmplbuild.events import Emit
from tmplbuild.fleet.identity import identity, refuse_other
from tmplbuild.fleet.shared import SharedStore
from tmplbuild.recipes import travel

PARTS = ("base", "tree", "pack")
"""What a build is divided into: the bootstrap, which several templates may share; the tree; and what looks at
it: check, pack and boot test, which share what they find. Neighbours that one machine does in one go are
named together, as "tree+pack"."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An order that was taken, as this machine sees it."""

    world: World
    resolved: Resolved
    plan: Plan


def part_of(steps: tuple[Step, ...], part: str) -> tuple[Step, ...]:
    """The steps of a part, or of several."""
    last = next(at for at, step in enumerate(steps) if step.name in LOOKS_ONLY)
    found = {"base": steps[:1], "tree": steps[1:last], "pack": steps[last:]}
    return tuple(step for name in part.split("+") for step in found[name])


def secrets_of(world: World, part: str) -> tuple[str, ...]:
    """The names of the secrets that a part needs where it is done."""
    names = part.split("+")
    if names == ["pack"]:
        return ()
    recipe = world.loaded.recipe
    logins = [archive.credentials for archive in recipe.archives.values()]
    told = [text for one in logins for text in (one.user, one.password, one.certificate, one.key)]
    found = {secrets.name_of(text) for text in told}
    if "tree" in names:
        found |= {secrets.name_of(user.password) for user in recipe.configure.users.values()}
        found |= {name for hook in recipe.hooks.values() for name in hook.secrets}
    return tuple(sorted(name for name in found if name))


def give(world: World, resolved: Resolved, plan: Plan, shared: SharedStore, sent: dict[Path, str]) -> str:
    """Put an order into the store. Returns its name.

    Parameters:
        sent: the digests of files that have been uploaded already; added to.

    Raises StoreError.
    """

    def send(path: Path) -> str:
        if path not in sent:
            sent[path] = shared.put(path)
        return sent[path]

    suites, indexes = _archives(world, resolved.states)
    found = {
        "tool": identity(),
        "template": world.template,
        "recipe": travel.to_plain(world.loaded),
        "beside": {name: send(path) for name, path in travel.beside(world.loaded).items()},
        "mirror": world.settings.mirror,
        "pins": resolved.pins.to_json(),
        "begins": _packed(resolved.source, shared),
        "suites": suites,
        "indexes": {index.sha256: send(index.local) for index in indexes},
        "steps": [
            {
                "name": row.step.name,
                "key": row.step.key,
                "parent": row.step.parent,
                "handed": row.step.handed,
                "makes_layer": row.step.makes_layer,
                "runs": row.runs,
                "reason": row.reason,
                "again": row.again,
            }
            for row in plan.steps
        ],
    }
    return shared.put_bytes(keys.canonical(found))


def _packed(source: Source | None, shared: SharedStore) -> dict[str, Any] | None:
    """The packed tree that a template begins with, uploaded. Raises VerifyError when it has changed since it
    was looked at."""
    if source is None:
        return None
    if shared.put(source.bring()) != source.sha256:
        raise VerifyError(
            "the template that this one begins with has changed in the meantime",
            where=source.filename,
            hint="run the same again",
        )
    names = ("name", "filename", "sha256", "size", "epoch", "signers")
    return {name: getattr(source, name) for name in names}


def _archives(
    world: World, states: tuple[ArchiveState, ...]
) -> tuple[dict[str, dict[str, str]], list[IndexFile]]:
    """What is to be remembered of each suite as it was read, and the files that it was verified by."""
    archives = world.loaded.recipe.archives
    remembered: dict[str, dict[str, str]] = {}
    files: list[IndexFile] = []
    for state in states:
        for one in state.suites:
            archive = archives[state.role]
            suite = Suite(state.role, one.suite, archive, world.loaded.arch, Path(), 0.0, True, world.cache)
            # another run may have accepted something later since
            seen = {"sha256": one.release.sha256, "signature": one.signature.sha256 if one.signature else ""}
            remembered[suite.memory] = {**world.cache.recall(suite.memory), **seen}
            files += [one.release, *one.indexes, *([one.signature] if one.signature else [])]
    return remembered, files


def take(name: str, shared: SharedStore, settings: Settings, emit: Emit, place: Path) -> Opened:
    """Read an order and open what it speaks of.

    Parameters:
        place: a directory for what is the order's alone, as long as it is open.

    Raises HostError for an order of another version of the program, StoreError, VerifyError.
    """
    order: dict[str, Any] = json.loads(shared.get_bytes(name))
    refuse_other(order["tool"], "the order")
    settings = replace(settings, mirror=order["mirror"] or settings.mirror)
    own = PackageCache(place, indexes=PackageCache(settings.cache_dir).indexes)
    for path, sha256 in order["beside"].items():
        shared.get(sha256, place / "recipe" / path, own)
    loaded = travel.from_plain(order["recipe"], place / "recipe")
    world = world_of(loaded, settings, emit)
    states = _states(world, order, own, shared)
    pins = Pins.from_json(order["pins"])
    plan = Plan(order["template"], tuple(_planned(order["steps"])), "")
    source = None
    if (begins := order["begins"]) is not None:
        bring = partial(_kept, begins["sha256"], world.cache.tarball(begins["sha256"]), world.cache, shared)
        source = Source(**{**begins, "signers": tuple(begins["signers"])}, bring=bring)
    return Opened(world, Resolved(states, pins, "", source), plan)


def _kept(sha256: str, dest: Path, cache: PackageCache, shared: SharedStore) -> Path:
    """A blob in this machine's cache, where the next order that names it finds it."""
    shared.get(sha256, dest, cache)
    cache.used(dest)
    return dest


def _states(
    world: World, order: Mapping[str, Any], own: PackageCache, shared: SharedStore
) -> tuple[ArchiveState, ...]:
    """The archives as who gave the order saw them, verified here as well."""
    for digest, sha256 in order["indexes"].items():
        _kept(sha256, own.index_path(digest), world.cache, shared)
    for name, facts in order["suites"].items():
        own.remember(name, facts)
    return families.of(world.loaded.recipe).read_archives(
        world.loaded.recipe.archives,
        world.loaded.arch,
        fetcher=world.fetcher,
        cache=own,
        keys_dir=keys_dirs(world.loaded),
        offline=True,
    )


def _planned(rows: list[dict[str, Any]]) -> Iterator[Planned]:
    for row in rows:
        step = Step(row["name"], row["key"], row["parent"], row["handed"], row["makes_layer"])
        yield Planned(step, row["runs"], row["reason"], row["again"])
