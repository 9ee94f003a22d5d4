"""Package files handed into a tree, for its own package manager to install."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tmplbuild.archives.model import Package
from tmplbuild.errors import StoreError
from tmplbuild.events import Progress
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
