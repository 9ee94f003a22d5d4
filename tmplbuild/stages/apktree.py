"""Alpine's packages into a tree: unpacked here, installed by the tree's own apk.

The base is unpacked so that the tree's apk can run. It then installs the same packages over their files:
checks their signatures with the keys that they brought, gives each file its owner, runs the scripts and
writes its database; after it, all others in one transaction. /etc/apk/world, where apk keeps what was
asked for, would name files by their checksums; it is written anew with the names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tmplbuild.archives import local
from tmplbuild.archives.model import Package
from tmplbuild.managers import apk, apkdb
from tmplbuild.recipes.model import Bootstrap, Install
from tmplbuild.stages import handed
from tmplbuild.stages.context import Ctx

_FIRST = ("alpine-baselayout", "alpine-baselayout-data")
# No repository is asked: all that is needed lies there.
_ADD = ("apk", "--no-progress", "--no-network", "--repositories-file", "/dev/null", "add")
_TRACES = ("/lib/apk/db/lock", "/var/cache/apk/*", "/var/log/apk.log", "/var/cache/misc/*")


def base(ctx: Ctx, options: Bootstrap, packages: Sequence[Package], auto: frozenset[str]) -> dict[str, Any]:
    """See `tmplbuild.stages.makers.Maker.base`."""
    handed.unpack(ctx, packages, first=_FIRST, metadata=_is_metadata)
    _install(ctx, packages, auto, options.timeout_s, "--initdb")
    return {"packages": len(packages)}


def more(ctx: Ctx, options: Install, packages: Sequence[Package], auto: frozenset[str]) -> dict[str, Any]:
    """See `tmplbuild.stages.makers.Maker.more`."""
    _install(ctx, packages, auto, options.timeout_s)
    return {"packages": len(packages)}


def _is_metadata(name: str) -> bool:
    return name.startswith(".")


def _install(
    ctx: Ctx, packages: Sequence[Package], auto: frozenset[str], timeout_s: float, *options: str
) -> None:
    with ctx.tree() as tree:
        asked = apkdb.asked_for(tree)
    names = handed.lay_in(ctx, packages)
    if any(one.archive == local.ROLE for one in packages):
        options = (*options, "--allow-untrusted")  # apk does not ask who signed which
    handed.run(ctx, (*_ADD, *options), names, timeout_s=timeout_s, failure=apk.failure)
    with ctx.tree() as tree:
        wanted = sorted(asked | {one.name for one in packages} - auto)
        tree.write(apkdb.WORLD, "".join(f"{name}\n" for name in wanted), mode=0o644)
        handed.take_away(tree, _TRACES)
    handed.refuse_missing(ctx, packages, apk.TABLE)
