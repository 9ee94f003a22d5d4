"""What people add to a recipe: variants and features."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from tmplbuild.recipes.kinds import Section, Word


class Variant(Section, frozen=True, kw_only=True):
    """A template of its own beside the recipe's: DISTRO-RELEASE-VARIANT. Declared in `_base.toml`, it is
    there for all releases.

    Keys:
        features: what is laid on the recipe, in order.
        title: what is added to the image's title.
    """

    features: Annotated[tuple[Word, ...], Meta(min_length=1)]
    title: str = ""


class Feature(Section, frozen=True, kw_only=True):
    """What a file `_features/NAME.toml` says of itself. All else in it is a delta, written as in a recipe;
    but to add what is there, or to drop what is not, is no error: a feature is laid on many recipes.

    Keys:
        title: what it brings, in a few words.
        needs: features that are laid before this one.
        conflicts: features that it does not go with.
    """

    title: str = ""
    needs: tuple[Word, ...] = ()
    conflicts: tuple[Word, ...] = ()
