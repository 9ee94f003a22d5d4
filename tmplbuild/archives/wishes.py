"""What a recipe wishes to have of its archives, whatever their format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tmplbuild.errors import ResolveError
from tmplbuild.recipes.model import Recipe


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a recipe's sections `bootstrap` and `install` say, by the same names.

    `include` (and `priorities`, where an archive knows any) is the base, which comes first and alone,
    so that it is the same whatever is installed on it; `exclude`, `prefer` and `recommends` are of
    no effect on it.
    """

    priorities: Sequence[str] = ("required",)
    include: Sequence[str] = ()
    packages: Sequence[str] = ()
    exclude: Sequence[str] = ()
    prefer: Sequence[str] = ()
    recommends: bool = False

    @classmethod
    def of_base(cls, recipe: Recipe) -> Wishes:
        """What a recipe wishes for its base."""
        return cls(recipe.bootstrap.priorities, recipe.bootstrap.include)

    @classmethod
    def of(cls, recipe: Recipe, also: Iterable[str] = ()) -> Wishes:
        """All that a recipe wishes, and the packages `also`."""
        return cls(
            recipe.bootstrap.priorities,
            recipe.bootstrap.include,
            (*recipe.install.packages, *also),
            recipe.install.exclude,
            recipe.install.prefer,
            recipe.install.recommends,
        )

    def refuse_excluded(self, base: Iterable[str]) -> None:
        """Make sure that the base needs nothing that is excluded. Raises ResolveError.

        Parameters:
            base: the names of its packages.
        """
        if both := sorted(set(base) & set(self.exclude)):
            raise ResolveError(
                f"the package {both[0]!r} is excluded, but the base needs it",
                where="install.exclude",
                hint="take it out of `exclude`, or out of the base (bootstrap.include, bootstrap.priorities)",
            )
