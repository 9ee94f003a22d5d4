"""release: bring a booted VE of an earlier release to the recipe's own, with its own package manager.

The order is that of Debian's release notes ("Upgrades from ..."): the package lists, what can be
upgraded without new packages, then everything. What a release needs beyond that is in its recipe.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from tmplbuild.managers import Argv, Manager
from tmplbuild.recipes.model import Install, Upgrade
from tmplbuild.stages.context import Ctx, Shell
from tmplbuild.stages.upgrade import audit, changes, prepare, refuse_losses, report_held_back, versions, work

_Commands = Iterator[tuple[str, Argv]]


def run(
    ctx: Ctx,
    options: Upgrade,
    wanted: Install,
    manager: Manager,
    target: Mapping[str, str],
    auto: Collection[str],
) -> dict[str, Any]:
    """Boot the tree, upgrade it to the release that its sources list names, stop it cleanly.

    Parameters:
        wanted: the recipe's packages: those that are missing after the dist-upgrade are installed.
        target: version by package name that the pinned archives hold for this template.
        auto: names of those of them that are only pulled in.

    Returns the packages that changed. Raises StageError when the VE does not become ready, a
    command fails, the database is not whole, or the VE does not stop by itself.
    """
    before = versions(ctx, manager)
    with ctx.live(options) as ve:

        def do(commands: _Commands) -> None:
            for what, argv in commands:
                work(ve, manager, what, argv, options.timeout_s)

        prepare(ve, manager)
        do(upgrading(options, wanted, manager))
        forget_wishes(ve, options, manager, target.keys() - set(auto))
        do(tidying(options, wanted, manager))
        audit(ve, manager, options.timeout_s)
    after = versions(ctx, manager)
    refuse_losses(before, after, target)
    report_held_back(ctx, after, target)
    return changes(before, after)


def upgrading(options: Upgrade, wanted: Install, manager: Manager) -> _Commands:
    """What brings the VE to the new release, in order, each with the words that an error begins with."""
    sparing = () if wanted.recommends else manager.no_recommends
    yield "read the package lists", manager.update
    for argv in options.before:
        yield f"before the upgrade: {argv[0]}", argv
    if options.first:
        yield "upgrade what comes first", (*manager.install, *options.first)
    if options.minimal and manager.minimal:
        yield "upgrade what needs no new packages", (*manager.minimal, *sparing)
    yield "download the upgrades", (*manager.download, *sparing)
    yield "dist-upgrade", (*manager.upgrade, *manager.purging, *sparing)
    if wanted.packages:
        # the package manager passes over those that are there, and notes that they are wanted
        yield "install the recipe's packages", (*manager.install, *manager.purging, *wanted.packages)


def forget_wishes(ve: Shell, options: Upgrade, manager: Manager, asked: Collection[str]) -> None:
    """What the earlier release's recipe asked for, or its base consisted of, and the new one's does not
    name, counts as pulled in from now on: autoremove may take it."""
    if not options.autoremove or not manager.manual:
        return
    said = ve.run(manager.manual, what="list the packages that were asked for", env=manager.env)
    names = [name for name in said.decode("utf-8", "replace").split() if name not in asked]
    if names:
        argv = (*manager.mark_auto, *names)
        ve.run(argv, what="forget what is not asked for any more", env=manager.env)


def tidying(options: Upgrade, wanted: Install, manager: Manager) -> _Commands:
    """What is run when the packages are those of the new release."""
    if options.autoremove:
        strict = () if wanted.recommends else manager.strict_autoremove
        yield "remove packages that nothing needs", (*manager.autoremove, *strict)
    for argv in options.after:
        yield f"after the upgrade: {argv[0]}", argv
    yield "remove downloaded packages", manager.clean
