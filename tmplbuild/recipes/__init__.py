"""Recipes: what a template is made of, as data. Pure: no root, no network."""

from tmplbuild.recipes.catalogue import VE_ARCHES, Entry, entries, recipe_roots
from tmplbuild.recipes.difference import Difference, difference
from tmplbuild.recipes.lint import Finding, lint
from tmplbuild.recipes.load import LoadedRecipe, load, without_boot_test
from tmplbuild.recipes.release import as_upgrade, begins_packed, without_release_steps
from tmplbuild.recipes.schema import schema
from tmplbuild.recipes.show import show
from tmplbuild.recipes.skeleton import Skeleton, skeleton

__all__ = [
    "VE_ARCHES",
    "Difference",
    "Entry",
    "Finding",
    "LoadedRecipe",
    "Skeleton",
    "as_upgrade",
    "begins_packed",
    "difference",
    "entries",
    "lint",
    "load",
    "recipe_roots",
    "schema",
    "show",
    "skeleton",
    "without_boot_test",
    "without_release_steps",
]
