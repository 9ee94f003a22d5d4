"""Who makes a tree out of packages: one module for each kind of them, by the recipe's bootstrap.method."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol, cast

from tmplbuild.archives.model import Package
from tmplbuild.recipes.model import Bootstrap, Install
from tmplbuild.stages.context import Ctx


class Maker(Protocol):
    """What such a module can do. See the stages bootstrap and install for parameters, results and errors."""

    def base(
        self, ctx: Ctx, options: Bootstrap, packages: Sequence[Package], auto: frozenset[str]
    ) -> dict[str, Any]:
        """Make the smallest system in the empty tree."""
        ...

    def more(
        self, ctx: Ctx, options: Install, packages: Sequence[Package], auto: frozenset[str]
    ) -> dict[str, Any]:
        """Install packages on top of it."""
        ...


_MAKERS = {
    "deb": "debmake",
    "apt-rpm": "rpmtree",
    "rpm-md": "rpmtree",
    "apk": "apktree",
    "alpm": "pacmantree",
    "slackware": "slacktree",
}


def of(method: str) -> Maker:
    """The maker for a method of bootstrap. Raises KeyError for one that does not begin with packages."""
    return cast(Maker, import_module(f"tmplbuild.stages.{_MAKERS[method]}"))
