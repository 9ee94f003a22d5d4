"""What a recipe asks of packages that cannot be had together, whatever the archive's format."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tmplbuild.errors import ResolveError


def refuse_excluded(base: Iterable[str], exclude: Collection[str]) -> None:
    """Make sure that the base needs nothing that is excluded. Raises ResolveError.

    Parameters:
        base: the names of its packages.
    """
    if both := sorted(set(base) & set(exclude)):
        raise ResolveError(
            f"the package {both[0]!r} is excluded, but the base needs it",
            where="install.exclude",
            hint="take it out of `exclude`, or out of the base (bootstrap.include)",
        )
