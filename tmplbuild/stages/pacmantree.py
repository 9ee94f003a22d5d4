"""Arch's packages into a tree: unpacked here, installed by the tree's own pacman.

The base is unpacked so that the tree's pacman can run. It then installs the same packages over their files
and writes its database, without a look at signatures: each has been verified before it was handed in. The
rest follows in one transaction. pacman's keyring is not made: it would have a secret key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tmplbuild.archives.model import Package
from tmplbuild.managers import pacman
from tmplbuild.recipes.model import Bootstrap, Install
from tmplbuild.stages import handed
from tmplbuild.stages.context import Ctx

_FIRST = ("filesystem",)
_CONF = f"{handed.INBOX}/pacman.conf"
_CONF_TEXT = "[options]\nArchitecture = auto\nSigLevel = Never\nLocalFileSigLevel = Never\n"
_PACMAN = ("pacman", "--noconfirm", "--noprogressbar", "--config", _CONF, "-U")
_TRACES = (
    "/var/lib/pacman/db.lck",
    "/var/log/pacman.log",
    "/var/cache/pacman/pkg/*",
    "/var/cache/ldconfig/aux-cache",
    "/var/lib/dbus/machine-id",
)


def base(ctx: Ctx, options: Bootstrap, packages: Sequence[Package], auto: frozenset[str]) -> dict[str, Any]:
    """See `tmplbuild.stages.makers.Maker.base`."""
    handed.unpack(ctx, packages, first=_FIRST, metadata=lambda name: name.startswith("."))
    with ctx.tree() as tree:
        tree.mkdir("/var/lib/pacman")
    _install(ctx, packages, auto, options.timeout_s, "--overwrite", "*")
    return {"packages": len(packages)}


def more(ctx: Ctx, options: Install, packages: Sequence[Package], auto: frozenset[str]) -> dict[str, Any]:
    """See `tmplbuild.stages.makers.Maker.more`."""
    _install(ctx, packages, auto, options.timeout_s)
    return {"packages": len(packages)}


def _install(
    ctx: Ctx, packages: Sequence[Package], auto: frozenset[str], timeout_s: float, *options: str
) -> None:
    names = handed.lay_in(ctx, packages)
    with ctx.tree() as tree:
        tree.write(_CONF, _CONF_TEXT, mode=0o600)
    handed.run(ctx, (*_PACMAN, *options), names, timeout_s=timeout_s, failure=pacman.failure)
    marked = sorted({one.name for one in packages} & auto)
    if marked:
        with ctx.entered() as ve:
            ve.run([*pacman.TABLE.mark_auto, *marked], what="mark what was only pulled in")
    with ctx.tree() as tree:
        handed.take_away(tree, _TRACES)
    handed.refuse_missing(ctx, packages, pacman.TABLE)
