"""A recipe whose template is made out of an earlier release's instead of from packages."""

from __future__ import annotations

import dataclasses

import msgspec

from tmplbuild.errors import UsageError
from tmplbuild.recipes.load import LoadedRecipe


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
    own = recipe.image.name
    end = f"-{loaded.ve_arch}"
    stem, tail = (own.removesuffix(end), end) if own.endswith(end) else (own, "")
    changed = msgspec.structs.replace(
        recipe,
        image=msgspec.structs.replace(
            recipe.image, name=name or f"{stem}-from-{source.recipe.image.release}{tail}"
        ),
        bootstrap=msgspec.structs.replace(recipe.bootstrap, method="template"),
        upgrade=msgspec.structs.replace(recipe.upgrade, compare=recipe.upgrade.compare or loaded.name),
    )
    return dataclasses.replace(loaded, recipe=changed)
