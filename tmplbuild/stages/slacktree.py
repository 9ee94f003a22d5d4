"""Slackware's packages into a tree: unpacked here, installed by the tree's own installpkg.

A package holds no symbolic links: its script install/doinst.sh makes them, in lines of one form that
makepkg(8) writes. Without them no program would find its libraries, so these lines are done here while the
base is unpacked; the rest of the scripts is for installpkg, which runs over the same files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tmplbuild.archives import zstd
from tmplbuild.archives.model import Package
from tmplbuild.core.placing import safe_name
from tmplbuild.core.tarread import TarReader
from tmplbuild.core.tree import Tree
from tmplbuild.core.untar import extract, open_tarball
from tmplbuild.errors import VerifyError
from tmplbuild.events import Progress
from tmplbuild.managers import slackpkg
from tmplbuild.recipes.model import Bootstrap, Install
from tmplbuild.stages import handed
from tmplbuild.stages.context import Ctx

_FIRST = ("aaa_base", "aaa_glibc-solibs", "aaa_libraries")
_SCRIPT = "install/doinst.sh"
_SCRIPT_LIMIT = 4 << 20
_LINK = re.compile(r"\( cd (\S+) ; ln -sf (\S+) (\S+) \)")
# Libraries in use are replaced by a script that first puts the new ones there.
_INCOMING = ("/lib/incoming/*", "/lib64/incoming/*")
_TRACES = ("/var/cache/packages/*", "/var/log/setup/tmp/*", "/var/lib/pkgtools/setup/tmp/*", "/install")


def base(ctx: Ctx, options: Bootstrap, packages: Sequence[Package], auto: frozenset[str]) -> dict[str, Any]:
    """See `tmplbuild.stages.makers.Maker.base`."""
    ctx.emit(Progress(f"unpack {len(packages)} packages"))
    with ctx.tree() as tree:
        for package in sorted(packages, key=_place):
            _unpack(tree, ctx.package_file(package))
    return _install(ctx, packages, options.timeout_s)


def more(ctx: Ctx, options: Install, packages: Sequence[Package], auto: frozenset[str]) -> dict[str, Any]:
    """See `tmplbuild.stages.makers.Maker.more`."""
    return _install(ctx, packages, options.timeout_s)


def _place(package: Package) -> tuple[int, str]:
    return _FIRST.index(package.name) if package.name in _FIRST else len(_FIRST), package.name


def _unpack(tree: Tree, path: Path) -> None:
    with open_tarball(path, zstd=zstd.open_reader) as stream:
        extract(stream, tree.fd, wanted=lambda name: not safe_name(name).startswith("install"))
    for incoming in [one for pattern in _INCOMING for one in tree.glob(pattern)]:
        tree.rename(incoming, incoming.replace("/incoming/", "/"))
    for link, target in links(_script(path)):
        tree.symlink(target, link)


def _script(path: Path) -> str:
    """The text of a package's doinst.sh, "" if it has none."""
    with open_tarball(path, zstd=zstd.open_reader) as stream:
        reader = TarReader(stream)
        for member in reader:
            if safe_name(member.name) == _SCRIPT and member.kind == "file":
                if member.size > _SCRIPT_LIMIT:
                    raise VerifyError("a package's script is too large", where=str(path))
                return b"".join(reader.chunks()).decode("utf-8", "replace")
    return ""


def links(script: str) -> list[tuple[str, str]]:
    """The symbolic links that a doinst.sh makes: path and target."""
    found = []
    for folder, target, name in _LINK.findall(script):
        place = "" if folder in (".", "/") else "/" + folder.strip("/")
        found.append((f"{place}/{name}", target))
    return found


def _install(ctx: Ctx, packages: Sequence[Package], timeout_s: float) -> dict[str, Any]:
    ordered = sorted(packages, key=_place)
    names = handed.lay_in(ctx, ordered)
    handed.run(ctx, ("installpkg", "--terse"), names, timeout_s=timeout_s, failure=slackpkg.failure)
    with ctx.tree() as tree:
        handed.take_away(tree, _TRACES)
    handed.refuse_missing(ctx, packages, slackpkg.TABLE)
    return {"packages": len(packages)}
