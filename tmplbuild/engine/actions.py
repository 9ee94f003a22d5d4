"""What each step of a plan does, and the bench that it does it on.

Loaded only when something is to be done: see `tmplbuild.stages.versions`.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from tmplbuild import secrets
from tmplbuild.archives import local
from tmplbuild.archives.gateway import Gateway
from tmplbuild.archives.model import Package
from tmplbuild.archives.packages import download
from tmplbuild.artifact.known import Known
from tmplbuild.artifact.members import MemberCache
from tmplbuild.checks.known import KnownFiles
from tmplbuild.engine.ahead import Ahead
from tmplbuild.engine.allowance import limits_of
from tmplbuild.engine.bench import Bench
from tmplbuild.engine.execute import Action, Shop
from tmplbuild.engine.facts import rootfs_of
from tmplbuild.engine.past import past_of
from tmplbuild.engine.pins import Pins
from tmplbuild.engine.plan import Plan
from tmplbuild.engine.steps import HOOK, added_of, names_of
from tmplbuild.engine.store import Draft
from tmplbuild.engine.world import Resolved, World, gateway_of
from tmplbuild.events import Emit
from tmplbuild.managers import manager
from tmplbuild.recipes.additions import Hook
from tmplbuild.recipes.lending import borrowed, lasting
from tmplbuild.stages import (
    boot,
    bootstrap,
    check,
    clean,
    configure,
    hook,
    install,
    leftovers,
    pack,
    release,
    strip,
    unpack,
    upgrade,
)
from tmplbuild.stages.borrowed import borrowed as lend
from tmplbuild.stages.work import work_of


def shop_of(world: World, resolved: Resolved, plan: Plan, emit: Emit) -> Shop:
    members = MemberCache(world.settings.cache_dir / "members")
    ahead = _ahead(world, resolved, members)
    return Shop(
        store=world.store,
        bench=lambda name, draft, sink: _bench(world, resolved, name, draft, sink),
        actions=_actions(world, resolved, plan, members, ahead),
        log_dir=world.store.log_dir(world.template),
        emit=emit,
        ahead=ahead,
        beside="boot" if world.store.mode == "overlay" else "",
    )


def _ahead(world: World, resolved: Resolved, members: MemberCache) -> Ahead:
    recipe, pins = world.loaded.recipe, resolved.pins
    base, full = pins.base.versions(), pins.full.versions()

    def packages_of(step: str, note: dict[str, Any]) -> Collection[str]:
        if step == "bootstrap":
            return base.keys()
        if step == "install":
            return full.keys() - base.keys()
        return [row.split()[0] for row in (*note.get("upgraded", ()), *note.get("added", ()))]

    return Ahead(
        lambda key: world.core.tree(rootfs_of(world, key), writable=False),
        packages_of,
        manager(recipe.upgrade.manager).listed,
        members,
        level=recipe.pack.level,
        epoch=pins.target.epoch,
        jobs=world.settings.jobs,
    )


def _bench(world: World, resolved: Resolved, name: str, draft: Draft, emit: Emit) -> Bench:
    recipe = world.loaded.recipe
    console = world.store.log_dir(world.template) / f"{name}.console"
    console.unlink(missing_ok=True)  # it is appended to, and the history may have a link to the old one

    def opened() -> Gateway:
        return gateway_of(world, resolved)

    def file_of(package: Package) -> Path:
        download([package], fetcher=world.fetcher, cache=world.cache)
        return world.cache.path(package.sha256)

    return Bench(
        core=world.core,
        rootfs=draft.rootfs,
        template=draft.template,
        arch=world.loaded.arch,
        epoch=epoch_of(name, names_of(recipe), resolved.pins),
        emit=emit,
        read_beside=lambda name: _beside(world, name),
        manager=manager(recipe.upgrade.manager),
        limits=limits_of(recipe),
        gateway=opened,
        file_of=file_of,
        scratch=world.store.dir / "drafts",
        console=console,
        emulator=world.emulator,
    )


def epoch_of(step: str, names: Sequence[str], pins: Pins) -> int:
    """The epoch that a step works with: of the closure that its key knows.

    Parameters:
        names: the build's steps in order.
    """
    at = names.index(step)
    if at >= names.index("upgrade"):
        return pins.target.epoch
    return pins.base.epoch if "install" in names[at + 1 :] else pins.full.epoch


def _beside(world: World, name: str) -> bytes:
    path = world.loaded.find(name)
    assert path is not None, f"{name} was there when the keys were made"
    return path.read_bytes()


def _actions(
    world: World, resolved: Resolved, plan: Plan, members: MemberCache, ahead: Ahead
) -> dict[str, Action]:
    recipe, pins = world.loaded.recipe, resolved.pins
    table = manager(recipe.upgrade.manager)
    # by name as well: where only a file's name says what it is (Slackware), two may have the same bytes
    base = {(package.name, package.sha256) for package in pins.base.packages}
    new = tuple(one for one in pins.full.packages if (one.name, one.sha256) not in base)
    key_of = {row.step.name: row.step.key for row in plan.steps}
    artifact = world.store.artifact(key_of["pack"])
    todo = {row.step.name for row in plan.todo}  # what these need is looked for before any of them runs

    def fetch(packages: tuple[Package, ...]) -> None:
        for path, sha256 in world.loaded.local_packages().items():
            local.bring(path, sha256, world.cache)
        download(packages, fetcher=world.fetcher, cache=world.cache)

    def do_bootstrap(ctx: Bench) -> dict[str, Any]:
        if resolved.source is not None:
            return unpack.run(ctx, resolved.source.bring(), resolved.source.filename)
        fetch((*pins.base.packages, *new))  # all at once: what cannot be had is known before any work
        bootstrap.run(ctx, recipe.bootstrap, pins.base.packages, pins.base.auto)
        return {"packages": pins.base.digest, "epoch": pins.base.epoch}

    def do_install(ctx: Bench) -> dict[str, Any]:
        fetch(new)
        install.run(ctx, recipe.install, new, pins.full.auto, recipe.bootstrap.method)
        base = {"base": pins.base.digest, "base_epoch": pins.base.epoch}
        return {"packages": pins.full.digest, "epoch": pins.full.epoch, **base}

    def do_upgrade(ctx: Bench) -> dict[str, Any]:
        have = {package.sha256 for package in pins.full.packages}
        fetch(tuple(package for package in pins.target.packages if package.sha256 not in have))
        wanted, auto = pins.target.versions(), pins.target.auto
        held = [package.name for package in pins.target.packages if package.archive == local.ROLE]
        with lend(ctx, recipe.configure.sources, borrowed(recipe.archives)):
            if resolved.source is not None:
                return release.run(ctx, recipe.upgrade, recipe.install, table, wanted, auto)
            more, recommends = added_of(recipe, pins), recipe.install.recommends
            return upgrade.run(ctx, recipe.upgrade, table, wanted, more, held=held, recommends=recommends)

    def do_check(ctx: Bench) -> dict[str, Any]:
        addresses = {address for row in world.mirrors.values() for address in row}
        addresses |= {archive.public for archive in borrowed(recipe.archives).values()}
        public = {archive.public for archive in lasting(recipe.archives).values()}
        urls = tuple(sorted(addresses - public))
        facts = world.store.facts(key_of["check"])
        return check.run(
            ctx,
            recipe.check,
            recipe.configure.users,
            build_urls=urls,
            host_name=socket.gethostname(),
            facts=facts,
            known=KnownFiles(world.store.known(world.template, "check")),
        )

    def do_configure(ctx: Bench) -> dict[str, Any]:
        return configure.run(ctx, recipe.configure, lasting(recipe.archives))

    def do_strip(ctx: Bench) -> dict[str, Any]:
        return strip.run(ctx, recipe.strip, table)

    def do_leftovers(ctx: Bench) -> dict[str, Any]:
        work = work_of(recipe.configure, recipe.strip, recipe.clean)
        return leftovers.run(ctx, recipe.leftovers, work, past_of(world, plan))

    def do_pack(ctx: Bench) -> dict[str, Any]:
        ahead.end()
        known = Known(world.store.known(world.template, "pack"))
        return pack.run(ctx, recipe.pack, table, out=artifact, members=members, known=known)

    def do_hook(name: str, options: Hook) -> Action:
        image = recipe.image
        about = {
            "TMPLBUILD_DISTRO": image.distro,
            "TMPLBUILD_RELEASE": image.release,
            "TMPLBUILD_SUITE": image.suite,
            "TMPLBUILD_ARCH": world.loaded.arch,
        }
        given = [secrets.find(secret) for secret in options.secrets] if HOOK + name in todo else []
        return lambda ctx: hook.run(ctx, options, recipe.upgrade, name, about, given)

    return {
        **{HOOK + name: do_hook(name, options) for name, options in recipe.hooks.items()},
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
        "pack": do_pack,
        "boot": lambda ctx: boot.run(ctx, recipe.check, table, str(artifact), recipe.image.name),
    }
