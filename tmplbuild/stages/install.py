"""install: the template's own packages, on top of the base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tmplbuild.archives.model import Package
from tmplbuild.recipes.model import Install
from tmplbuild.stages import makers
from tmplbuild.stages.context import Ctx


def run(
    ctx: Ctx, options: Install, packages: Sequence[Package], auto: frozenset[str], method: str = "deb"
) -> dict[str, Any]:
    """Unpack `packages` onto the base and configure them.

    Parameters:
        method: as in the section `bootstrap`.
        packages: those that the base does not have.
        auto: names of packages (of the whole closure) that were only pulled in.

    Returns what was done. Raises StageError if a package cannot be unpacked or configured, and what
    fetching and verifying raise.
    """
    return makers.of(method).more(ctx, options, packages, auto) if packages else {}
