"""RPM packages into a tree: unpacked here, installed by the tree's own rpm.

The first closure is unpacked without rpm, `setup` and `filesystem` first as those make the accounts
and the top directories, so that the tree's rpm can run. It then installs the same packages over
their files, which gives each its owner, mode and capabilities, runs the scripts and fills the
database; after it all others in one transaction, dependencies checked by rpm. The host's rpm takes
no part. While files are ours alone they are root's, without set-id bits: whoever shall own them, the
payload does not say.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Sequence
from typing import Any

from tmplbuild.archives.aptrpm.rpmfile import Content, RpmFile, open_rpm
from tmplbuild.archives.model import Package
from tmplbuild.core.placing import Placer
from tmplbuild.core.tree import Tree
from tmplbuild.errors import StageError, StoreError
from tmplbuild.events import Progress
from tmplbuild.managers import apt_rpm, rpm
from tmplbuild.recipes.model import Bootstrap, Install
from tmplbuild.stages import handed
from tmplbuild.stages.context import Ctx, Shell

_FIRST = ("setup", "filesystem")
# They are mounted in a VE, and what is mounted is not rpm's to change. Packages were verified before rpm sees
# them: who may sign them it does not know yet, and nobody signed those beside a recipe.
DEFINES = ("--define", "_netsharedpath /proc:/sys:/dev", "--define", "_pkgverify_level digest")
# ALT's scripts ask it: no service is started, and nothing is put off into the background.
_ENV = {"DURING_INSTALL": "1", "TERM": "dumb"}
# What a run leaves that says when it was, or whose memory of the database it was.
_TRACES = (
    "/var/cache/ldconfig/aux-cache",
    *(f"{place}/{name}" for place in rpm.PLACES for name in (".dbenv.lock", ".rpm.lock")),
    "/var/lib/dbus/machine-id",
)


def base(ctx: Ctx, options: Bootstrap, packages: Sequence[Package], auto: frozenset[str]) -> dict[str, Any]:
    """See `tmplbuild.stages.makers.Maker.base`."""
    begin(ctx, packages)
    install(ctx, packages, first=True, timeout_s=options.timeout_s)
    return {"packages": len(packages)}


def more(ctx: Ctx, options: Install, packages: Sequence[Package], auto: frozenset[str]) -> dict[str, Any]:
    """See `tmplbuild.stages.makers.Maker.more`."""
    install(ctx, packages, first=False, timeout_s=options.timeout_s, auto=auto)
    return {"packages": len(packages)}


def begin(ctx: Ctx, packages: Sequence[Package]) -> None:
    """Unpack the first packages into the empty tree.

    Raises VerifyError for a package that is not what it says, StoreError for what the disk refuses.
    """
    ctx.emit(Progress(f"unpack {len(packages)} packages"))
    with ctx.tree() as tree, Placer(tree.fd) as placer:
        for package in sorted(packages, key=_place):
            fd = os.open(ctx.package_file(package), os.O_RDONLY | os.O_CLOEXEC)
            try:
                with open_rpm(fd, package.name) as opened:
                    unpack(placer, opened)
            finally:
                os.close(fd)


def unpack(placer: Placer, package: RpmFile) -> None:
    """Make what the payload holds; directories that are there, or that a link leads to, stay."""
    for one in package.contents():
        try:
            _parents(placer, one.file.path)
            _make(placer, one)
        except OSError as error:
            raise StoreError(
                f"the package {package.entry.name} cannot be unpacked",
                where=f"/{one.file.path}",
                why=os.strerror(error.errno or 0),
            ) from error


def install(
    ctx: Ctx,
    packages: Sequence[Package],
    *,
    first: bool,
    timeout_s: float,
    auto: Collection[str] = (),
) -> None:
    """Have the tree's rpm install packages in one transaction, then see that all is as they say.

    Parameters:
        first: the database is not there yet, and the files are: dependencies come with the rest.
        auto: names of packages that were only pulled in: the package manager is told, once it is there.

    Raises StageError for a script or a file trigger that fails, dependencies that are not met, or
    files that are not as their packages have them.
    """
    names = handed.lay_in(ctx, packages)
    with ctx.entered() as ve:
        if first:
            ve.run(("rpmdb", "--initdb"), what="make rpm's database", env=_ENV)
        _transaction(ve, names, first=first, timeout_s=timeout_s)
        if not first:
            rpm.verify(ve, "the packages were installed", DEFINES)
            if auto:
                argv = ("sh", "-c", rpm.MARK_AUTO, "mark", *sorted(auto))
                ve.run(argv, what="mark what was only pulled in", env=_ENV)
    with ctx.tree() as tree:
        finish(tree)


def finish(tree: Tree) -> None:
    """Take away what only the run needed."""
    tree.remove(handed.INBOX)
    for path in (*_TRACES, *(path for place in rpm.PLACES for path in tree.glob(f"{place}/__db.*"))):
        tree.remove(path)


def _transaction(ve: Shell, paths: Sequence[str], *, first: bool, timeout_s: float) -> None:
    options = ("--ignorearch", *(("--nodeps",) if first else ()))
    argv = ("rpm", *DEFINES, "-i", *options, *paths)
    what = f"install {len(paths)} packages"
    try:
        said = ve.run(argv, what=what, env=_ENV, timeout_s=timeout_s, both=True)
    except StageError as error:
        error.where = " ".join(argv[: len(argv) - len(paths)]) + f" ({len(paths)} packages)"
        raise
    if why := apt_rpm.failure(said):
        raise StageError(f"{what}: rpm tells of a failure", why=why)


def _place(package: Package) -> tuple[int, str]:
    place = _FIRST.index(package.name) if package.name in _FIRST else len(_FIRST)
    return place, package.name


def _parents(placer: Placer, path: str) -> None:
    """Make the directories on the way that no package has (yet)."""
    parts = path.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        folder = "/".join(parts[:count])
        if placer.lstat(folder) is None:
            placer.directory(folder)
            placer.finish_directory(folder, mode=0o755, uid=0, gid=0, mtime_ns=None)


def _make(placer: Placer, one: Content) -> None:
    file = one.file
    if one.kind == "dir":
        if placer.lstat(file.path) is None:
            placer.directory(file.path)
            placer.finish_directory(file.path, mode=file.mode & 0o777, uid=0, gid=0, mtime_ns=None)
        return
    state = placer.lstat(file.path)
    if state is not None:
        if stat.S_ISDIR(state.st_mode):
            return  # rpm will judge it
        placer.remove(file.path)
    when = file.mtime * 1_000_000_000
    if one.kind == "file":
        placer.file(file.path, one.chunks, mode=file.mode & 0o777, uid=0, gid=0, mtime_ns=when)
    elif one.kind == "symlink":
        placer.symlink(file.path, file.link, uid=0, gid=0, mtime_ns=when)
    elif one.kind == "hardlink":
        placer.hardlink(file.path, one.target)
    # device nodes, fifos: rpm makes what may be made
