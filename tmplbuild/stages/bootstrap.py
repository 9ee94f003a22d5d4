"""bootstrap: the smallest system that can configure itself, out of package files alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tmplbuild.archives.model import Package
from tmplbuild.recipes.model import Bootstrap
from tmplbuild.stages import makers
from tmplbuild.stages.context import Ctx


def run(ctx: Ctx, options: Bootstrap, packages: Sequence[Package], auto: frozenset[str]) -> dict[str, Any]:
    """Unpack `packages` into the empty tree and configure them.

    Parameters:
        packages: the closure of the base.
        auto: names of those that were only pulled in.

    Returns what was done. Raises StageError if a package cannot be unpacked or configured, and what
    fetching and verifying raise.
    """
    return makers.of(options.method).base(ctx, options, packages, auto)
