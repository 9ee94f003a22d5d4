"""install: the template's own packages, on top of the base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tmplbuild.archives.model import Package
from tmplbuild.managers.deborder import configured_first
from tmplbuild.managers.debpackage import DebPackage
from tmplbuild.managers.dpkg import installed
from tmplbuild.recipes.model import Install
from tmplbuild.stages import debtree, rpmtree, standins
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
    if not packages:
        return {}
    if method in rpmtree.METHODS:
        rpmtree.install(ctx, packages, first=False, timeout_s=options.timeout_s, auto=auto)
        return {"packages": len(packages)}
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
        standins.put_up(shell, idle=options.idle, background=options.background)
        debtree.configure(shell, options.timeout_s, first)
        debtree.run_preinst(shell, late, options.timeout_s)
        debtree.configure(shell, options.timeout_s)
        standins.settle(shell, options.timeout_s)
    with ctx.tree() as tree:
        debtree.finish(tree, debs)
    return {"packages": len(debs)}


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
