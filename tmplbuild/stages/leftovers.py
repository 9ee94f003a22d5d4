"""leftovers: configuration that an upgrade put beside the one in use.

The file in use was chosen when the package manager ran (the recipe's answer is "keep what the
recipe configured"); what lies beside it is recorded with its hash and then removed. Names that
belong to an unfinished transaction fail the build: dpkg(1) writes FILE.dpkg-new and renames it,
so one that is still there means that it died in between.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from typing import Any

from tmplbuild.core.tree import Tree
from tmplbuild.errors import StageError
from tmplbuild.recipes.model import Leftovers
from tmplbuild.stages.context import Ctx

VERSION = 1


def run(ctx: Ctx, options: Leftovers) -> dict[str, Any]:
    """Find, record and remove. Raises StageError for an unfinished transaction."""
    with ctx.tree() as tree:
        broken = list(find(tree, options.roots, options.unfinished))
        if broken:
            raise StageError(
                "the package manager left an unfinished transaction",
                where=", ".join(broken[:10]),
                hint="open the tree with `tmplbuild shell NAME` and look at its package database",
            )
        rows = [decide(tree, path, options.suffixes) for path in find(tree, options.roots, options.suffixes)]
        for row in rows:
            tree.remove(row["path"])
    return {"leftovers": rows} if rows else {}


def find(tree: Tree, roots: tuple[str, ...], suffixes: tuple[str, ...]) -> Iterator[str]:
    """Files below `roots` whose name ends in one of the suffixes."""
    if not suffixes:
        return
    for root in roots:
        for path, state in tree.walk(root):
            if not stat.S_ISDIR(state.st_mode) and path.endswith(suffixes):
                yield path


def decide(tree: Tree, path: str, suffixes: tuple[str, ...]) -> dict[str, str]:
    """What is done with one leftover, and what it was: a row of the report."""
    base = next(path.removesuffix(suffix) for suffix in suffixes if path.endswith(suffix))
    same = tree.is_file(base) and _hash(tree, base) == _hash(tree, path)
    decision = "removed: same as the file in use" if same else "removed: the file in use stays"
    if not tree.exists(base):
        decision = "removed: its package's file is gone"
    return {"path": path, "decision": decision, "sha256": _hash(tree, path)}


def _hash(tree: Tree, path: str) -> str:
    if tree.is_link(path) or not tree.is_file(path):
        return ""
    return hashlib.sha256(tree.read_bytes(path)).hexdigest()
