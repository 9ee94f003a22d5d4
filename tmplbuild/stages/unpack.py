"""unpack: a template that is there already, as the tree to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tmplbuild.archives import zstd
from tmplbuild.core.untar import extract, open_tarball
from tmplbuild.events import Progress
from tmplbuild.stages.context import Ctx


def run(ctx: Ctx, tarball: Path, name: str) -> dict[str, Any]:
    """Unpack a verified template, which people call `name`, into the empty tree.

    Raises VerifyError for an archive that is damaged or hostile, StoreError for one that cannot be
    opened, or a disk that is full.
    """
    ctx.emit(Progress(f"unpack {name}"))
    with ctx.tree() as tree, open_tarball(tarball, zstd=zstd.open_reader) as stream:
        done = extract(stream, tree.fd)
    return {"template": name, "entries": done.entries}
