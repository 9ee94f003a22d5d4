"""The template that came of a release upgrade beside the one that is built anew."""

from __future__ import annotations

from typing import Any

import tmplbuild.recipes as recipes
from tmplbuild.artifact.compare import Comparison, compare_trees
from tmplbuild.core import Rootfs
from tmplbuild.engine.execute import Done
from tmplbuild.engine.plan import Plan
from tmplbuild.engine.world import World
from tmplbuild.errors import StoreError
from tmplbuild.events import Note

_LAST = "clean-again"  # the step whose tree is packed


def compare(world: World, plan: Plan, done: list[Done]) -> Comparison | None:
    """How the plan's tree, which must be built, differs from the last good build of the recipe that
    `upgrade.compare` names; None where there is nothing to compare, which a note tells.

    Raises UsageError when that recipe does not exist.
    """
    name = world.loaded.recipe.upgrade.compare
    if not recipes.begins_packed(world.loaded.recipe) or not name:
        return None
    made = next(row.step.key for row in plan.steps if row.step.name == _LAST)
    packages = next(row.note["packages"] for row in done if row.name == "pack")
    try:
        record = _built(world, name)
        rootfs = _rootfs(world, next(row["key"] for row in record["steps"] if row["name"] == _LAST))
        others = record["notes"]["pack"]["packages"]
    except (StoreError, LookupError, StopIteration):
        world.emit(Note(f"there is no build of {name} here to compare the result with"))
        return None
    with (
        world.core.tree(_rootfs(world, made), writable=False) as tree,
        world.core.tree(rootfs, writable=False) as clean,
    ):
        return compare_trees(tree, clean, _versions(packages), _versions(others))


def _built(world: World, name: str) -> dict[str, Any]:
    """The record of the recipe's last good build. Raises LookupError when there is none."""
    roots = recipes.recipe_roots(world.settings.recipes)
    path = world.loaded.path.resolve()
    loaded = recipes.load(name, arch=world.loaded.arch, roots=[*roots, path.parent.parent])
    record = world.store.read_record(loaded.recipe.image.name)
    if record is None:
        raise LookupError(name)
    return record


def _versions(packages: list[dict[str, Any]]) -> dict[str, str]:
    return {row["name"]: row["version"] for row in packages}


def _rootfs(world: World, key: str) -> Rootfs:
    lower = tuple(layer.fs for layer in world.store.chain(key))
    return Rootfs.plain(lower[0]) if len(lower) == 1 else Rootfs.overlay(lower, None)
