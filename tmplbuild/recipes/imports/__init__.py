"""Recipes of other builders, read as recipes of ours: what has a counterpart is converted, and what has
not is listed with the reason, never dropped in silence.

Each reader gives a `Draft` on top of the recipe of ours for the same release.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tmplbuild.errors import RecipeError, UsageError
from tmplbuild.recipes.imports import dab, distrobuilder
from tmplbuild.recipes.imports.draft import Draft, Left

__all__ = ["Draft", "Left", "read_foreign"]

_MOST = 1 << 20  # bytes: such files are written by hand


def read_foreign(path: Path, roots: Sequence[Path], *, release: str = "", variant: str = "") -> Draft:
    """A dab.conf or a distrobuilder YAML as a recipe of ours.

    Parameters:
        path: the file; which of the two it is, its text tells.
        roots: the directories of recipes; one must have the release.
        release, variant: with distrobuilder, instead of those that the file names: its filters are
            applied for them.

    Raises UsageError where the file cannot be read or no recipe of ours has its release, RecipeError
    where it is neither.
    """
    try:
        text = path.read_bytes()[: _MOST + 1].decode()
    except OSError as error:
        raise UsageError("the file cannot be read", where=str(path), why=str(error)) from error
    except UnicodeDecodeError as error:
        raise _neither(path, "it is not UTF-8 text") from error
    if len(text) > _MOST:
        raise _neither(path, "it is longer than 1 MiB")
    if dab.is_one(text):
        if release or variant:
            raise UsageError("a dab.conf has one release and no variants", where=str(path))
        return dab.read(path, text, roots)
    if distrobuilder.is_one(text):
        return distrobuilder.read(path, text, roots, release=release, variant=variant)
    raise _neither(path, "it has neither dab's Suite: nor distrobuilder's image:")


def _neither(path: Path, why: str) -> RecipeError:
    hint = "what can be read is Proxmox's dab.conf and distrobuilder's YAML"
    return RecipeError(
        "the file is no recipe of a builder that is known", where=str(path), why=why, hint=hint
    )
