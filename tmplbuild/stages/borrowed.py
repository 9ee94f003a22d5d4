"""Archives that only the build has: in the tree's sources while it is upgraded, and gone afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

from tmplbuild.core.tree import Tree
from tmplbuild.recipes.model import Archive
from tmplbuild.stages import apksources, aptrpm, aptsources, pacmansources, repofiles
from tmplbuild.stages.context import Ctx

Lender: TypeAlias = Callable[
    [Tree, Mapping[str, Archive], Callable[[str], bytes]], Mapping[str, str] | Mapping[str, str | bytes]
]
"""What files hold, by path, while the tree has such archives beside its own. All that comes from them was
verified before the tree sees it: where its package manager can do without, no key comes into the tree."""


def _nothing(
    tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes]
) -> Mapping[str, str | bytes]:
    return {}


LENDERS: dict[str, Lender] = {
    "deb822": aptsources.lent,
    "list": aptsources.lent,
    "apt-rpm": aptrpm.lent,
    "dnf": repofiles.lent_dnf,
    "zypper": repofiles.lent_zypper,
    "apk": apksources.lent,
    "pacman": pacmansources.lent,
    "slackpkg": _nothing,  # it knows one tree
}
"""By `configure.sources`, as `tmplbuild.stages.configure.WRITERS`."""


@contextmanager
def borrowed(ctx: Ctx, sources: str, archives: Mapping[str, Archive]) -> Iterator[None]:
    """While the block runs, the tree's sources have these archives beside their own.

    Parameters:
        sources: as in the section `configure`.
    """
    before: dict[str, bytes | None] = {}
    made: list[str] = []
    if archives:
        with ctx.tree() as tree:
            for path, content in LENDERS[sources](tree, archives, ctx.beside).items():
                before[path] = tree.read_bytes(path) if tree.is_file(path) else None
                made += _missing(tree, path)
                tree.write(path, content)
    yield
    if archives:
        with ctx.tree() as tree:
            for path, old in before.items():
                if old is None:
                    tree.remove(path)
                else:
                    tree.write(path, old)
            for folder in made:
                if tree.is_dir(folder) and not tree.listdir(folder):
                    tree.remove(folder)


def _missing(tree: Tree, path: str) -> list[str]:
    """The directories of a path that are not there, the innermost first."""
    found = []
    folder = path.rpartition("/")[0]
    while folder and not tree.exists(folder):
        found.append(folder)
        folder = folder.rpartition("/")[0]
    return found
