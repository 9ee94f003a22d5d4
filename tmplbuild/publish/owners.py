"""Which package each file is from, as `pack` wants to hear it."""

from __future__ import annotations

from tmplbuild.core.tree import Tree
from tmplbuild.managers.dpkg import owned_files
from tmplbuild.publish.pack import Owners


def dpkg_owners(tree: Tree) -> Owners:
    """The claims of a tree's dpkg database; empty where there is none. Raises StageError for a broken one."""
    return {path: (owned.package, owned.md5 or "") for path, owned in owned_files(tree).items()}
