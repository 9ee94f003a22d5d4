"""bootstrap: the smallest system that can configure itself, out of package files alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tmplbuild.archives.model import Package
from tmplbuild.core.tree import Tree
from tmplbuild.managers.debpackage import DebPackage
from tmplbuild.recipes.model import Bootstrap
from tmplbuild.stages import debtree, rpmtree, standins
from tmplbuild.stages.context import Ctx

_ALWAYS_MERGED = ("bin", "lib", "sbin")
_MERGED_IF_USED = ("lib32", "lib64", "libo32", "libx32")


def run(ctx: Ctx, options: Bootstrap, packages: Sequence[Package], auto: frozenset[str]) -> dict[str, Any]:
    """Unpack `packages` into the empty tree and configure them.

    Parameters:
        packages: the closure of the base.
        auto: names of those that were only pulled in.

    Returns what was done. Raises StageError if a package cannot be unpacked or configured, and what
    fetching and verifying raise.
    """
    if options.method in rpmtree.METHODS:
        rpmtree.begin(ctx, packages)
        rpmtree.install(ctx, packages, first=True, timeout_s=options.timeout_s)
        return {"packages": len(packages)}
    debs = debtree.understood(ctx, packages)
    scripts = [package for package in debs if package.script("preinst")]
    with ctx.tree() as tree:
        if options.merged_usr:
            merge_usr(tree, debs)
        debtree.fill(ctx, tree, debs, auto, debtree.aliases_of(tree))
        debtree.wait_with_scripts(tree, scripts)
        debtree.begin(tree)
    with ctx.entered() as shell:
        standins.put_up(shell)
        # There is no shell before the first package is unpacked, so here they run after it.
        debtree.run_preinst(shell, scripts, options.timeout_s)
        debtree.configure(shell, options.timeout_s)
    with ctx.tree() as tree:
        debtree.finish(tree, debs)
    return {"packages": len(debs)}


def merge_usr(tree: Tree, packages: Sequence[DebPackage]) -> None:
    """Make /bin, /sbin and /lib links into /usr, and those of the other libraries' directories that
    a package uses (file-hierarchy(7), "COMPATIBILITY SYMLINKS")."""
    tops = {entry.path.partition("/")[0] for package in packages for entry in package.entries}
    for name in (*_ALWAYS_MERGED, *(name for name in _MERGED_IF_USED if name in tops)):
        tree.mkdir(f"/usr/{name}")
        tree.symlink(f"usr/{name}", f"/{name}")
