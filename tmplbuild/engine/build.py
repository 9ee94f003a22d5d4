"""build: one template from its recipe to the template cache."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmplbuild.archives import deb
from tmplbuild.archives.gateway import Gateway
from tmplbuild.archives.model import Package
from tmplbuild.artifact.members import MemberCache
from tmplbuild.config import Settings
from tmplbuild.core import Limits
from tmplbuild.engine.bench import Bench
from tmplbuild.engine.chronicle import Chronicle
from tmplbuild.engine.comparing import compare
from tmplbuild.engine.deliver import prepare_directory
from tmplbuild.engine.execute import Action, Shop, execute
from tmplbuild.engine.facts import facts_of, keys_of
from tmplbuild.engine.locks import template_lock
from tmplbuild.engine.past import past_of
from tmplbuild.engine.pins import Pins
from tmplbuild.engine.plan import Plan
from tmplbuild.engine.record import delivered, make_record, put, stage_row, with_changes
from tmplbuild.engine.store import Draft
from tmplbuild.engine.world import (
    Resolved,
    Wish,
    World,
    gateway_of,
    open_world,
    plan_of,
    prepare_host,
    resolve,
)
from tmplbuild.events import Emit, RunDone, RunStarted
from tmplbuild.managers import manager
from tmplbuild.stages import (
    boot,
    bootstrap,
    check,
    clean,
    configure,
    install,
    leftovers,
    pack,
    release,
    strip,
    unpack,
    upgrade,
)

KEEP_S = 6 * 3600
"""Layers that no build needs are kept this long (seconds), for recipes that are being worked on."""
MEMBERS_S = 14 * 86400
"""Compressed members that no pack has used for so long (seconds) go."""
PACKAGES_S = 90 * 86400
"""Packages and indexes that no build has used for so long (seconds) go."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a build came to: the template's file, whether anything was done, and the summary."""

    file: Path
    unchanged: bool
    summary: dict[str, object]


def build(name: str, *, settings: Settings, emit: Emit, **wish: Any) -> Result:
    """Build a template or bring it up to date.

    Parameters:
        name: the recipe's name, or the path of its file.
        wish: see `tmplbuild.engine.world.Wish`.

    Raises the error of whatever failed; the template in the cache is then as it was before.
    """
    start = time.monotonic()
    asked = Wish(**wish)
    world = open_world(name, asked, settings, emit)
    with template_lock(settings.state_dir, world.template):
        world.core.gc()  # needs root, and says so before anything is made in a user's directories
        prepare_directory(settings.template_cache)
        chronicle = Chronicle(world, start)
        try:
            return _build(world, asked, chronicle, start)
        except BaseException as error:
            chronicle.failed(error)
            raise


def _build(world: World, asked: Wish, chronicle: Chronicle, start: float) -> Result:
    """What `build` does under the template's lock."""
    resolved = resolve(world, asked)
    plan = plan_of(world, resolved, asked)
    last = world.record()
    chronicle.why = resolved.reason
    if plan.unchanged and last is not None:
        again = last if delivered(world, last) else put(world, last)
        summary = {
            **again["summary"],
            "seconds": time.monotonic() - start,
            "why": _why(resolved, last, again),
        }
        world.emit(RunDone(world.template, True, summary))
        return Result(Path(str(summary["file"])), True, summary)
    prepare_host(world)
    world.emit(RunStarted(world.template, tuple(row.step.name for row in plan.steps)))
    done = execute(plan, _shop(world, resolved, plan, chronicle))
    record = make_record(world, resolved, plan, done)
    facts = facts_of(world, keys_of(record), record["notes"]["pack"]["packages"], resolved.pins)
    build, changes = chronicle.stage(record, facts)
    record = put(world, with_changes(record, build, changes, compare(world, facts)))
    chronicle.reveal(build)
    world.store.make_durable()
    world.store.forget_failed(world.template)
    tidy(world)
    summary = {
        **record["summary"],
        "seconds": time.monotonic() - start,
        "stages": [stage_row(row) for row in done],
        "warnings": chronicle.warnings,
    }
    world.emit(RunDone(world.template, False, summary))
    return Result(Path(str(summary["file"])), False, summary)


def tidy(world: World) -> None:
    """Let go of what no build has used for a time: what is kept to be fast must not grow for ever."""
    world.store.prune(KEEP_S)
    MemberCache(world.settings.cache_dir / "members").prune(MEMBERS_S)
    world.cache.prune(max_age_s=PACKAGES_S)


def make_plan(name: str, *, settings: Settings, emit: Emit, **wish: Any) -> Plan:
    """What `build` with the same arguments would do. Nothing is built.

    Raises as `build` does for the recipe and the archives.
    """
    asked = Wish(**wish)
    world = open_world(name, asked, settings, emit)
    return plan_of(world, resolve(world, asked), asked)


def _why(resolved: Resolved, last: dict[str, Any], now: dict[str, Any]) -> str:
    if last is not now:
        return "nothing moved; the file was missing from the template cache and was put there again"
    return f"{resolved.reason}, and the recipe is the same"


# -- what the steps do --------------------------------------------------------------------------


def _shop(world: World, resolved: Resolved, plan: Plan, emit: Emit) -> Shop:
    return Shop(
        store=world.store,
        bench=lambda name, draft, sink: _bench(world, resolved, name, draft, sink),
        actions=_actions(world, resolved, plan),
        log_dir=world.store.log_dir(world.template),
        emit=emit,
    )


def _bench(world: World, resolved: Resolved, name: str, draft: Draft, emit: Emit) -> Bench:
    recipe = world.loaded.recipe
    limits = recipe.limits

    console = world.store.log_dir(world.template) / f"{name}.console"
    console.unlink(missing_ok=True)  # it is appended to, and the history may have a link to the old one

    def opened() -> Gateway:
        return gateway_of(world, resolved)

    def file_of(package: Package) -> Path:
        deb.download([package], fetcher=world.fetcher, cache=world.cache)
        return world.cache.path(package.sha256)

    return Bench(
        core=world.core,
        rootfs=draft.rootfs,
        template=draft.template,
        arch=world.loaded.arch,
        epoch=epoch_of(name, resolved.pins),
        emit=emit,
        read_beside=lambda name: _beside(world, name),
        manager=manager(recipe.upgrade.manager),
        limits=Limits(memory_mib=limits.memory_mib, pids=limits.pids, cpus=limits.cpus),
        gateway=opened,
        file_of=file_of,
        scratch=world.store.dir / "drafts",
        console=console,
    )


def epoch_of(step: str, pins: Pins) -> int:
    """The epoch that a step works with: of the closure that its key knows."""
    if step == "bootstrap":
        return pins.base.epoch
    before_upgrade = ("install", "configure", "strip", "clean")
    return pins.full.epoch if step in before_upgrade else pins.target.epoch


def _beside(world: World, name: str) -> bytes:
    path = world.loaded.find(name)
    assert path is not None, f"{name} was there when the keys were made"
    return path.read_bytes()


def _actions(world: World, resolved: Resolved, plan: Plan) -> dict[str, Action]:
    recipe, pins = world.loaded.recipe, resolved.pins
    table = manager(recipe.upgrade.manager)
    base = {package.sha256 for package in pins.base.packages}
    new = tuple(package for package in pins.full.packages if package.sha256 not in base)
    key_of = {row.step.name: row.step.key for row in plan.steps}
    artifact = world.store.artifact(key_of["pack"])
    members = MemberCache(world.settings.cache_dir / "members")

    def fetch(packages: tuple[Package, ...]) -> None:
        deb.download(packages, fetcher=world.fetcher, cache=world.cache)

    def do_bootstrap(ctx: Bench) -> dict[str, Any]:
        if resolved.source is not None:
            return unpack.run(ctx, resolved.source.bring(), resolved.source.filename)
        fetch((*pins.base.packages, *new))  # all at once: what cannot be had is known before any work
        bootstrap.run(ctx, recipe.bootstrap, pins.base.packages, pins.base.auto)
        return {"packages": pins.base.digest, "epoch": pins.base.epoch}

    def do_install(ctx: Bench) -> dict[str, Any]:
        fetch(new)
        install.run(ctx, recipe.install, new, pins.full.auto, recipe.bootstrap.method)
        return {}

    def do_upgrade(ctx: Bench) -> dict[str, Any]:
        have = {package.sha256 for package in pins.full.packages}
        fetch(tuple(package for package in pins.target.packages if package.sha256 not in have))
        if resolved.source is not None:
            target = pins.target.versions()
            return release.run(ctx, recipe.upgrade, recipe.install, table, target, pins.target.auto)
        return upgrade.run(ctx, recipe.upgrade, table, pins.target.versions())

    def do_check(ctx: Bench) -> dict[str, Any]:
        addresses = {address for row in world.mirrors.values() for address in row}
        public = {archive.public for archive in recipe.archives.values()}
        urls = tuple(sorted(addresses - public))
        facts = world.store.facts(key_of["check"])
        return check.run(ctx, recipe.check, build_urls=urls, host_name=socket.gethostname(), facts=facts)

    def do_configure(ctx: Bench) -> dict[str, Any]:
        return configure.run(ctx, recipe.configure, recipe.archives)

    def do_strip(ctx: Bench) -> dict[str, Any]:
        return strip.run(ctx, recipe.strip, table)

    def do_leftovers(ctx: Bench) -> dict[str, Any]:
        work = leftovers.work_of(recipe.configure, recipe.strip, recipe.clean)
        return leftovers.run(ctx, recipe.leftovers, work, past_of(world, plan))

    return {
        "bootstrap": do_bootstrap,
        "install": do_install,
        "configure": do_configure,
        "strip": do_strip,
        "clean": lambda ctx: clean.run(ctx, recipe.clean),
        "upgrade": do_upgrade,
        "leftovers": do_leftovers,
        "configure-again": do_configure,
        "strip-again": do_strip,
        "clean-again": lambda ctx: clean.run(ctx, recipe.clean),
        "check": do_check,
        "pack": lambda ctx: pack.run(ctx, recipe.pack, table, out=artifact, members=members),
        "boot": lambda ctx: boot.run(ctx, recipe.check, table, str(artifact)),
    }
