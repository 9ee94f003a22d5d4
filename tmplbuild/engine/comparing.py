"""The template that came of a release upgrade beside the one that is built anew."""

from __future__ import annotations

from typing import Any

import tmplbuild.recipes as recipes
from tmplbuild.changes.compare import compare as compare_facts
from tmplbuild.changes.comparison import Side
from tmplbuild.changes.facts import Facts
from tmplbuild.changes.text import difference_rows
from tmplbuild.engine.facts import facts_of, keys_of
from tmplbuild.engine.pins import Pins
from tmplbuild.engine.world import World
from tmplbuild.errors import StoreError
from tmplbuild.events import Note


def compare(world: World, facts: Facts) -> tuple[str, ...] | None:
    """How a template, of which these are the facts, differs from the last good build of the recipe that
    `upgrade.compare` names: a line for each package and file; None where there is nothing to compare,
    which a note tells.

    Raises UsageError when that recipe does not exist.
    """
    name = world.loaded.recipe.upgrade.compare
    if not recipes.begins_packed(world.loaded.recipe) or not name:
        return None
    try:
        record = _built(world, name)
        packages = record["notes"]["pack"]["packages"]
        clean = facts_of(world, keys_of(record), packages, Pins.from_json(record["pins"]))
    except (StoreError, LookupError):
        world.emit(Note(f"there is no build of {name} here to compare the result with"))
        return None
    return difference_rows(compare_facts(clean, facts, sides=(Side(name), Side(world.template))))


def _built(world: World, name: str) -> dict[str, Any]:
    """The record of the recipe's last good build. Raises LookupError when there is none."""
    roots = recipes.recipe_roots(world.settings.recipes)
    path = world.loaded.path.resolve()
    loaded = recipes.load(name, arch=world.loaded.arch, roots=[*roots, path.parent.parent])
    record = world.store.read_record(loaded.recipe.image.name)
    if record is None:
        raise LookupError(name)
    return record
