"""shell: look into the tree of a build, as a stage left it or where it failed."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tmplbuild.config import Settings
from tmplbuild.engine.allowance import limits_of
from tmplbuild.engine.steps import HOOK, NAMES, RELEASE_NAMES
from tmplbuild.engine.store import Store
from tmplbuild.engine.world import Wish, World, gateway_of, no_stage, open_world, prepare_host, resolve
from tmplbuild.errors import FetchError, UsageError
from tmplbuild.events import silent


def shell(
    name: str,
    *,
    settings: Settings,
    arch: str | None,
    at: str | None,
    live: bool,
    out_of: str | None = None,
) -> int:
    """Open a shell on the caller's terminal in a tree of the last build.

    Parameters:
        at: the stage after which the tree is looked at; None is the failed one, else the last.
        out_of: the earlier release's recipe, for a template that an upgrade made.
        live: boot the tree's init first; the recipe's archives are then within reach.

    Returns the shell's exit status. What is changed in the tree is thrown away. Raises UsageError
    when there is no such tree.
    """
    world = open_world(name, Wish(arch=arch, offline=True, out_of=out_of), settings, silent)
    emulator = world.emulator
    if live and emulator is not None:
        raise UsageError(
            "an emulated init cannot be booted",
            where=world.template,
            hint="without --live the shell has the tree, and no services",
        )
    prepare_host(world)
    lower = layers(world.store, world.template, at)
    # Whoever looks around in it takes the time that it takes.
    limits = replace(limits_of(world.loaded.recipe), wall_s=None, idle_s=None)
    with ExitStack() as stack:
        rootfs = stack.enter_context(world.store.scratch(f"{world.template}-shell", lower))
        ve = world.core.start(
            f"shell-{world.template}",
            rootfs,
            init=live,
            net="proxy" if live else "none",
            limits=limits,
            hostname=world.template.replace("_", "-").replace(".", "-")[:63],
            mask_units=world.loaded.recipe.upgrade.mask,
            emulator=emulator,
        )
        stack.enter_context(ve)
        if ve.proxy_socket is not None:
            _serve(stack, world, ve.proxy_socket)
        return ve.shell()


def _serve(stack: ExitStack, world: World, proxy: object) -> None:
    try:
        resolved = resolve(world, Wish(offline=True))
    except FetchError:
        return  # the archives were never read here: the shell has no network
    gateway = stack.enter_context(gateway_of(world, resolved))
    gateway.start(proxy)  # type: ignore[arg-type]


def layers(store: Store, template: str, at: str | None) -> tuple[Path, ...]:
    """The layers, topmost first, of the tree after stage `at`. Raises UsageError."""
    if at is not None and at not in {*NAMES, *RELEASE_NAMES} and not at.startswith(HOOK):
        raise no_stage(at, "--at")
    failed = store.failed(template)
    if failed is not None and at in (None, failed[0]):
        return failed[1]
    record = store.read_record(template, "failed") or store.read_record(template) or {"steps": []}
    names = [row["name"] for row in record["steps"]]
    count = names.index(at) + 1 if at in names else 0
    if at is None or (at == "boot" and at not in names):  # it looks at the last tree
        count = len(names)
    keys = [row["key"] for row in record["steps"][:count]]
    for key in reversed(keys):
        layer = store.get(key)
        if layer is not None and layer.fs.is_dir():
            return tuple(below.fs for below in store.chain(key))
    raise UsageError(
        f"there is no tree of {template}{f' after stage {at}' if at else ''}",
        hint=f"tmplbuild build {template.rpartition('-')[0]} makes one",
    )
