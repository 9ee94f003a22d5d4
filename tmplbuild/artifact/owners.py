"""Which package each file is from, as `pack` wants to hear it."""

from __future__ import annotations

from tmplbuild.artifact.pack import Owners
from tmplbuild.core.tree import Tree
from tmplbuild.managers.dpkg import listed_paths


def dpkg_owners(tree: Tree) -> Owners:
    """What a tree's dpkg database says; empty where there is none. Raises StageError for a broken one."""
    return listed_paths(tree)
