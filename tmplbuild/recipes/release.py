"""A recipe whose template begins with a packed tree instead of packages: an earlier release's, or its own."""

from __future__ import annotations

import dataclasses

import msgspec

from tmplbuild.errors import UsageError
from tmplbuild.recipes.load import LoadedRecipe, with_words
from tmplbuild.recipes.model import Bootstrap, Recipe


def as_upgrade(loaded: LoadedRecipe, source: LoadedRecipe, name: str | None = None) -> LoadedRecipe:
    """The recipe, but its tree begins with the template of `source`; the result is compared with what
    the recipe itself makes.

    Parameters:
        name: the new template's; if None, its own with "-from-RELEASE" before the architecture, so
            that both stand side by side.

    Raises UsageError when the recipe does not say that it can be made so.
    """
    recipe = loaded.recipe
    if recipe.upgrade.from_ != source.name:
        can = f"it can from {recipe.upgrade.from_}" if recipe.upgrade.from_ else "its recipe names no release"
        raise UsageError(
            f"{loaded.name} cannot be made out of {source.name}",
            where=f"upgrade.from of {loaded.path}",
            why=can,
            hint="releases are upgraded one by one; upgrade.from in the recipe says from which",
        )
    changed = msgspec.structs.replace(
        recipe,
        image=msgspec.structs.replace(
            recipe.image,
            name=name
            or with_words(recipe.image.name, ("from", source.recipe.image.release), f"-{loaded.ve_arch}"),
        ),
        bootstrap=_of_template(recipe.bootstrap),
        upgrade=msgspec.structs.replace(recipe.upgrade, compare=recipe.upgrade.compare or loaded.name),
    )
    return dataclasses.replace(loaded, recipe=changed)


def _of_template(bootstrap: Bootstrap) -> Bootstrap:
    if bootstrap.method == "tarball":  # of this release: it says nothing of the earlier one's template
        bootstrap = msgspec.structs.replace(bootstrap, urls=(), sha256="", keys=())
    return msgspec.structs.replace(bootstrap, method="template")


def begins_packed(recipe: Recipe) -> bool:
    """Whether the tree begins with one that somebody has packed."""
    return recipe.bootstrap.method in ("template", "tarball")


def without_release_steps(loaded: LoadedRecipe) -> LoadedRecipe:
    """The recipe as it counts: a tree of this very release needs no steps from an earlier one to it."""
    recipe = loaded.recipe
    if recipe.bootstrap.method != "tarball":
        return loaded
    upgrade = msgspec.structs.replace(recipe.upgrade, from_="", before=(), first=(), minimal=False, after=())
    return dataclasses.replace(loaded, recipe=msgspec.structs.replace(recipe, upgrade=upgrade))
