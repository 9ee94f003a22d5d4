"""A recipe as it travels to another machine: itself as plain values, and the names of the files it needs.

What it was made of (parents, features, a variant) has been laid already, so that the other machine needs no
directory of recipes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from tmplbuild.recipes.load import LoadedRecipe
from tmplbuild.recipes.model import Recipe, plain


def beside(loaded: LoadedRecipe) -> dict[str, Path]:
    """The files beside the recipe that a build reads, by the names it knows them by."""
    recipe = loaded.recipe
    names = {file.source for part in (recipe.configure, recipe.clean) for file in part.files.values()}
    names |= {hook.run for hook in recipe.hooks.values()} | set(recipe.install.files)
    names |= {archive.credentials.authority or None for archive in recipe.archives.values()}
    found = {name: loaded.find(name) for name in names if name is not None}
    keys = {f"keys/{path.name}": path for path in loaded.key_files()}
    return keys | {name: path for name, path in found.items() if path is not None}


def to_plain(loaded: LoadedRecipe) -> dict[str, Any]:
    """The recipe as JSON values."""
    return {
        "name": loaded.name,
        "arch": loaded.arch,
        "ve_arch": loaded.ve_arch,
        "recipe": plain(loaded.recipe),
        "variant": loaded.variant,
        "features": list(loaded.features),
    }


def from_plain(found: Mapping[str, Any], folder: Path) -> LoadedRecipe:
    """The inverse of `to_plain`.

    Parameters:
        folder: where the files beside it are.

    Raises msgspec's error (a ValueError) for what is no recipe.
    """
    path = folder / "recipe.toml"
    return LoadedRecipe(
        name=found["name"],
        arch=found["arch"],
        ve_arch=found["ve_arch"],
        recipe=msgspec.convert(found["recipe"], Recipe),
        path=path,
        chain=(path,),
        origin={},
        variant=found["variant"],
        features=tuple(found["features"]),
    )
