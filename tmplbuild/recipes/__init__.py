"""Recipes: what a template is made of, as data. Pure: no root, no network."""

from tmplbuild.recipes.catalogue import VE_ARCHES, Entry, entries, find, is_path, recipe_roots, with_features
from tmplbuild.recipes.chain import Offer, offered
from tmplbuild.recipes.difference import Difference, difference
from tmplbuild.recipes.lint import Finding, lint
from tmplbuild.recipes.load import LoadedRecipe, load, with_local_digests, with_packages, without_boot_test
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
    "Offer",
    "Skeleton",
    "as_upgrade",
    "begins_packed",
    "difference",
    "entries",
    "find",
    "is_path",
    "lint",
    "load",
    "offered",
    "recipe_roots",
    "schema",
    "show",
    "skeleton",
    "with_features",
    "with_local_digests",
    "with_packages",
    "without_boot_test",
    "without_release_steps",
]
