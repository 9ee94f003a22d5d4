"""What the VEs of a build may use, as the recipe says."""

from __future__ import annotations

from tmplbuild.core import Limits
from tmplbuild.recipes.model import Recipe


def limits_of(recipe: Recipe) -> Limits:
    """The recipe's limits in the core's words."""
    given = recipe.limits
    return Limits(
        memory_mib=given.memory_mib,
        pids=given.pids,
        cpus=given.cpus,
        disk_mib=given.disk_mib,
        wall_s=given.wall_s,
        idle_s=given.idle_s,
    )
