"""upgrade: bring the booted VE to the pinned state of its archives with its own package manager."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tmplbuild.errors import StageError
from tmplbuild.events import Note
from tmplbuild.managers import Argv, Manager
from tmplbuild.recipes.model import Upgrade
from tmplbuild.stages import standins
from tmplbuild.stages.context import Ctx, Shell


def run(
    ctx: Ctx,
    options: Upgrade,
    manager: Manager,
    target: Mapping[str, str],
    added: Sequence[str] = (),
    *,
    held: Sequence[str] = (),
    recommends: bool = False,
) -> dict[str, Any]:
    """Boot the tree, dist-upgrade it, make sure its package database is whole, stop it cleanly.

    Parameters:
        target: version by package name that the pinned archives hold for this template.
        added: packages that the recipe asks for since the tree was made: they are installed as such.
        held: packages that no archive has: they stay as they are.
        recommends: whether these bring what they recommend.

    Returns the packages that changed. Raises StageError when the VE does not become ready, a
    command fails, the database is not whole, or the VE does not stop by itself.
    """
    before = versions(ctx, manager)
    idle = may_idle(ctx, options, manager, before, target)
    with ctx.live(options) as ve:
        prepare(ve, manager)
        if idle:
            standins.silence(ve, idle)
        moving = manager.hold(manager.upgrade, held) if held else manager.upgrade
        steps: list[tuple[str, Argv]] = [
            ("read the package lists", manager.update),
            ("dist-upgrade", moving),  # what it fetches was fetched and verified before
        ]
        if added:
            with_more = manager.recommends if recommends else ()
            steps.append(("install the added packages", (*manager.install, *with_more, *added)))
        if options.autoremove:
            steps.append(("remove packages that nothing needs", manager.autoremove))
        steps.append(("remove downloaded packages", manager.clean))
        for what, argv in (step for step in steps if step[1]):
            work(ve, manager, what, argv, options.timeout_s)
        audit(ve, manager, options.timeout_s)
    after = versions(ctx, manager)
    refuse_losses(before, after, target)
    refuse_missing(after, added)
    report_held_back(ctx, after, target)
    return changes(before, after)


def may_idle(
    ctx: Ctx, options: Upgrade, manager: Manager, before: Mapping[str, str], target: Mapping[str, str]
) -> list[str]:
    """The programs that are to do nothing and can: a package that moves could not replace what a mount
    lies on (rename(2), EBUSY)."""
    if not options.idle:
        return []
    owners = manager.owners(ctx)
    found = {path: owners.get(path, "") for path in options.idle}
    return [path for path, owner in found.items() if owner in before and before[owner] == target.get(owner)]


def prepare(ve: Shell, manager: Manager) -> None:
    """Make a booted VE ready for its package manager."""
    if manager.prepare:
        ve.run(manager.prepare, what="prepare for the package manager")


def work(ve: Shell, manager: Manager, what: str, argv: Argv, timeout_s: float) -> None:
    """Run a command of the package manager, and wait for what it left to the background.

    Raises StageError for one that fails, or that tells of a failure which its status hides.
    """
    said = ve.run(argv, what=what, env=manager.env, timeout_s=timeout_s, ok=manager.well, both=True)
    if manager.settle:
        ve.run(manager.settle, what=f"{what}: wait for its end", env=manager.env, timeout_s=timeout_s)
    if why := manager.failure(said):
        raise StageError(f"{what}: the package manager tells of a failure", where=" ".join(argv), why=why)


def audit(ve: Shell, manager: Manager, timeout_s: float) -> None:
    """Fail when the package database is not whole: some auditors say so only on their output."""
    for argv in manager.audits:
        said = ve.run(argv, what="check the package database", env=manager.env, timeout_s=timeout_s)
        if argv in manager.silent and said.strip():
            raise StageError(
                "the package database is not whole after the upgrade",
                where=" ".join(argv),
                why=said.decode("utf-8", "replace").strip(),
            )


def versions(ctx: Ctx, manager: Manager) -> dict[str, str]:
    """Version by name of all installed packages."""
    return {package.name: package.version for package in manager.installed(ctx)}


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Any]:
    """What an upgrade did, by kind; kinds with nothing are left out."""
    done = {
        "upgraded": [
            f"{name} {before[name]} -> {after[name]}"
            for name in sorted(before.keys() & after.keys())
            if before[name] != after[name]
        ],
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
    }
    return {kind: names for kind, names in done.items() if names}


def refuse_losses(before: Mapping[str, str], after: Mapping[str, str], target: Mapping[str, str]) -> None:
    """Make sure that no wanted package went: an upgrade may replace packages, but not those that the
    archives still have for this template; and a damaged database would lose some without a word.

    Raises StageError.
    """
    lost = sorted((before.keys() & target.keys()) - after.keys())
    if lost:
        raise StageError(
            f"the upgrade lost {len(lost)} package{'s' * (len(lost) > 1)} that the recipe comes to",
            why=", ".join(lost[:20]),
            hint="the log tells whether they were removed; if not, the package database is damaged",
        )


def refuse_missing(after: Mapping[str, str], added: Sequence[str]) -> None:
    """Make sure that the added packages are there. Raises StageError."""
    missing = [name for name in added if name not in after]
    if missing:
        raise StageError(
            "packages that the recipe asks for were not installed",
            why=", ".join(missing),
            hint="tmplbuild build NAME --rebuild makes the tree anew with them",
        )


def report_held_back(ctx: Ctx, after: Mapping[str, str], target: Mapping[str, str]) -> None:
    """Warn of packages that the upgrade left at another version than the archives hold."""
    held = [name for name, version in sorted(target.items()) if after.get(name, version) != version]
    if held:
        ctx.emit(Note(f"the upgrade left {len(held)} packages behind: {', '.join(held[:8])}", "warning"))
