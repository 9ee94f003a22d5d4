"""strip: take out what a container must not have. Every rule is a line of the recipe."""

from __future__ import annotations

import re
from typing import Any

from tmplbuild.core.tree import Tree
from tmplbuild.managers import Manager
from tmplbuild.recipes.model import Strip
from tmplbuild.stages import files
from tmplbuild.stages.context import Ctx

_RC_FOLDERS = ("/etc", "/etc/rc.d")
UNITS = "/etc/systemd/system"


def run(ctx: Ctx, options: Strip, manager: Manager) -> dict[str, Any]:
    """Purge packages, mask and disable services, remove paths, edit lines.

    Returns what was done, by kind. Raises StageError when a package cannot be purged (something
    that stays needs it).
    """
    purged = purge(ctx, options, manager)
    with ctx.tree() as tree:
        done = {
            "purged": purged,
            "masked": mask(tree, options.mask),
            "disabled": disable(tree, options.disable) + rc_disable(tree, options.rc_disable),
            "removed": remove(tree, options.remove),
            "edited": files.edit(tree, options.edits),
        }
    return {kind: names for kind, names in done.items() if names}


def purge(ctx: Ctx, options: Strip, manager: Manager) -> list[str]:
    """Remove those of the packages that are there, with their configuration."""
    if not options.purge:
        return []
    present = {package.name for package in manager.installed(ctx)}
    names = [name for name in options.purge if name in present]
    if names:
        with ctx.entered() as ve:
            argv = [*manager.purge, *names]
            ve.run(argv, what="purge packages", env=manager.env, timeout_s=options.timeout_s)
    return names


def mask(tree: Tree, units: tuple[str, ...]) -> list[str]:
    """Mask systemd units, also ones that are not there: a package that comes later stays quiet."""
    if not (tree.exists("/usr/lib/systemd/systemd") or tree.exists("/lib/systemd/systemd")):
        return []
    for unit in units:
        tree.symlink("/dev/null", f"{UNITS}/{unit}")
    return list(units)


def disable(tree: Tree, units: tuple[str, ...]) -> list[str]:
    """Remove the links that start a unit (*.wants, *.requires) and the aliases that name it."""
    gone = []
    for unit in units:
        links = tree.glob(f"{UNITS}/*.wants/{unit}") + tree.glob(f"{UNITS}/*.requires/{unit}")
        aliases = [
            path
            for path in tree.glob(f"{UNITS}/*")
            if tree.is_link(path) and tree.readlink(path).rpartition("/")[2] == unit
        ]
        for path in links + aliases:
            tree.remove(path)
        if links or aliases:
            gone.append(unit)
    return gone


def rc_disable(tree: Tree, services: tuple[str, ...]) -> list[str]:
    """Turn the start links of sysvinit services into stop links, as update-rc.d(8) disable does."""
    gone = []
    for service in services:
        links = [
            path
            for folder in _RC_FOLDERS
            for path in tree.glob(f"{folder}/rc[0-9S].d/S[0-9][0-9]{service}")
            if not path.startswith((f"{folder}/rc0.d", f"{folder}/rc6.d"))
        ]
        for path in filter(tree.is_link, links):  # one directory may have two names
            tree.rename(path, re.sub(r"/S\d\d(?=[^/]+$)", "/K01", path))
        if links:
            gone.append(service)
    return gone


def remove(tree: Tree, globs: tuple[str, ...]) -> list[str]:
    """Remove what the patterns match; returns the paths that went."""
    return [path for pattern in globs for path in tree.glob(pattern) if tree.remove(path)]
