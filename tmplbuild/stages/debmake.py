"""Trees of .debs: the base unpacked and configured by the tree's own dpkg, then all other packages on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tmplbuild.archives.model import Package
from tmplbuild.core.tree import Tree
from tmplbuild.managers.deborder import configured_first, with_needs
from tmplbuild.managers.debpackage import DebPackage
from tmplbuild.managers.dpkg import installed
from tmplbuild.recipes.model import Bootstrap, Install
from tmplbuild.stages import debtree, standins
from tmplbuild.stages.context import Ctx, Shell

_ALWAYS_MERGED = ("bin", "lib", "sbin")
_MERGED_IF_USED = ("lib32", "lib64", "libo32", "libx32")


def base(ctx: Ctx, options: Bootstrap, packages: Sequence[Package], auto: frozenset[str]) -> dict[str, Any]:
    """See `tmplbuild.stages.makers.Maker.base`."""
    debs = debtree.understood(ctx, packages)
    scripts = [package for package in debs if package.script("preinst")]
    with ctx.tree() as tree:
        if options.merged_usr:
            merge_usr(tree, debs)
        debtree.fill(ctx, tree, debs, auto, debtree.aliases_of(tree))
        debtree.wait_with_scripts(tree, scripts)
        debtree.begin(tree)
    with ctx.entered() as shell:
        _put_up(shell, options)
        # There is no shell before the first package is unpacked, so here they run after it.
        debtree.run_preinst(shell, scripts, options.timeout_s)
        debtree.configure(shell, options.timeout_s)
        standins.settle(shell, options.timeout_s)
    with ctx.tree() as tree:
        debtree.finish(tree, debs)
    return {"packages": len(debs)}


def more(ctx: Ctx, options: Install, packages: Sequence[Package], auto: frozenset[str]) -> dict[str, Any]:
    """See `tmplbuild.stages.makers.Maker.more`."""
    debs = debtree.understood(ctx, packages)
    with ctx.tree() as tree:
        present = {one.name for one in installed(tree)}
        early, late = _by_need(debs, present)
        debtree.wait_with_scripts(tree, [*early, *late])
        debtree.begin(tree)
    if early:
        with ctx.entered() as shell:
            standins.put_up(shell, idle=options.idle)
            debtree.run_preinst(shell, early, options.timeout_s)
    first = configured_first(debs)
    with ctx.tree() as tree:
        in_order = [*first, *(package for package in debs if package not in first)]
        debtree.fill(ctx, tree, in_order, auto, debtree.aliases_of(tree))
    with ctx.entered() as shell:
        _put_up(shell, options, options.idle)
        debtree.configure(shell, options.timeout_s, first, triggers=False)
        debtree.run_preinst(shell, late, options.timeout_s)
        wanted = [one for one in with_needs([[name] for name in options.first], debs) if one not in first]
        debtree.configure(shell, options.timeout_s, wanted)
        debtree.configure(shell, options.timeout_s)
        standins.settle(shell, options.timeout_s)
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


def _put_up(shell: Shell, options: Bootstrap | Install, idle: Sequence[str] = ()) -> None:
    standins.put_up(
        shell,
        idle=idle,
        background=options.background,
        turns=debtree.TAKE_TURNS,
        ready=options.ready,
        env=debtree.ENV,
    )


def _by_need(packages: Sequence[DebPackage], present: set[str]) -> tuple[list[DebPackage], list[DebPackage]]:
    """The packages with a preinst: those whose script can run now, as it should before the package is
    unpacked; and those that Pre-Depend on a package that is not there yet (Policy 7.2)."""
    early: list[DebPackage] = []
    late: list[DebPackage] = []
    for package in packages:
        if package.script("preinst"):
            met = all(present & set(names) for names in package.needs("pre-depends"))
            (early if met else late).append(package)
    return early, late
