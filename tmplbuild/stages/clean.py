"""clean: remove what use left behind: logs, spools, caches, identity.

It runs twice: before the live upgrade, so that what is booted is neutral, and after it, since a
boot and an upgrade leave their own traces.
"""

from __future__ import annotations

import stat
from typing import Any

from tmplbuild.core.tree import Tree
from tmplbuild.recipes.model import Clean
from tmplbuild.stages import files
from tmplbuild.stages.context import Ctx


def run(ctx: Ctx, options: Clean) -> dict[str, Any]:
    """Truncate, empty, remove, then put the neutral files in place."""
    with ctx.tree() as tree:
        emptied = sum(tree.empty(path) for pattern in options.empty for path in _directories(tree, pattern))
        removed = sum(tree.remove(path) for pattern in options.remove for path in tree.glob(pattern))
        truncated = sum(truncate(tree, path) for pattern in options.truncate for path in tree.glob(pattern))
        files.put(tree, options.files, ctx.beside)
    return {"emptied": emptied, "removed": removed, "truncated": truncated}


def truncate(tree: Tree, path: str) -> bool:
    """Empty a regular file that holds something. Others are left as they are."""
    state = tree.lstat(path)
    if state is None or not stat.S_ISREG(state.st_mode) or state.st_size == 0:
        return False
    tree.truncate(path)
    return True


def _directories(tree: Tree, pattern: str) -> list[str]:
    return [path for path in tree.glob(pattern) if tree.is_dir(path) and not tree.is_link(path)]
