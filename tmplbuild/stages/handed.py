"""Package files handed into a tree, for its own package manager to install."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from tmplbuild.archives import zstd
from tmplbuild.archives.model import Package
from tmplbuild.core.tree import Tree
from tmplbuild.core.untar import extract, open_tarball
from tmplbuild.errors import StageError, StoreError
from tmplbuild.events import Progress
from tmplbuild.managers import Manager
from tmplbuild.stages.context import Ctx

INBOX = "/.tmplbuild"
"""Where they lie in the tree until they are installed."""


def lay_in(ctx: Ctx, packages: Sequence[Package]) -> list[str]:
    """Lay the package files into the tree, where its package manager can read them; their paths there."""
    ctx.emit(Progress(f"hand {len(packages)} packages in"))
    paths = []
    with ctx.tree() as tree:
        tree.mkdir(INBOX, 0o700)
        for package in packages:
            path = f"{INBOX}/{os.path.basename(package.filename)}"
            source = os.open(ctx.package_file(package), os.O_RDONLY | os.O_CLOEXEC)
            target = tree.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                while os.sendfile(target, source, None, 1 << 30):
                    pass
            except OSError as error:
                why = os.strerror(error.errno or 0)
                raise StoreError("a package cannot be laid into the tree", where=path, why=why) from error
            finally:
                os.close(source)
                os.close(target)
            paths.append(path)
    return paths


def unpack(
    ctx: Ctx, packages: Sequence[Package], *, first: Sequence[str], metadata: Callable[[str], bool]
) -> None:
    """Unpack packages that are tarballs, so that the tree's own programs can run; what is unpacked later
    takes the place of what was there.

    Parameters:
        first: names of packages that come before the others, in this order: those with the directories.
        metadata: tells the members that are no files of the system, by name.

    Raises VerifyError for a package that is damaged or hostile, StoreError for what the disk refuses.
    """
    ctx.emit(Progress(f"unpack {len(packages)} packages"))

    def place(package: Package) -> tuple[int, str]:
        return first.index(package.name) if package.name in first else len(first), package.name

    with ctx.tree() as tree:
        for package in sorted(packages, key=place):
            with open_tarball(ctx.package_file(package), zstd=zstd.open_reader) as stream:
                extract(stream, tree.fd, wanted=lambda name: not metadata(name))


def run(
    ctx: Ctx,
    argv: Sequence[str],
    names: Sequence[str],
    *,
    timeout_s: float,
    failure: Callable[[bytes], str] = lambda said: "",
) -> None:
    """Have the tree's own package manager install what was laid in, without network and services.

    Parameters:
        names: paths that follow the command.
        failure: what in its output tells of a failure that the exit status hides.

    Raises StageError.
    """
    what = f"install {len(names)} packages"
    with ctx.entered() as ve:
        try:
            said = ve.run([*argv, *names], what=what, env={"TERM": "dumb"}, timeout_s=timeout_s, both=True)
        except StageError as error:
            error.where = f"{' '.join(argv)} ({len(names)} packages)"
            raise
    if why := failure(said):
        raise StageError(f"{what}: the package manager tells of a failure", where=" ".join(argv), why=why)


def take_away(tree: Tree, traces: Iterable[str]) -> None:
    """Take away what only the run needed, and what it left that matches the patterns."""
    tree.remove(INBOX)
    for pattern in traces:
        for path in tree.glob(pattern):
            tree.remove(path)


def refuse_missing(ctx: Ctx, packages: Sequence[Package], manager: Manager) -> None:
    """Make sure that the package manager's database has the packages in their versions. Raises StageError."""
    there = {(one.name, one.version) for one in manager.installed(ctx)}
    missing = [f"{one.name} {one.version}" for one in packages if (one.name, one.version) not in there]
    if missing:
        raise StageError("not all packages were installed", why=", ".join(missing[:20]))
