"""pack: the tree as NAME.tar.gz, the same bytes for the same tree; then what is new in it is read back.

What did not change since the last pack is not read again (`tmplbuild.artifact.known`), neither from the tree
nor, since it was compared then, from the file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tmplbuild.artifact.atomic import atomic_file
from tmplbuild.artifact.gzipped import Gone
from tmplbuild.artifact.known import Known
from tmplbuild.artifact.members import MemberCache
from tmplbuild.artifact.pack import Owners, Packed, pack
from tmplbuild.artifact.readback import read_back
from tmplbuild.core.tree import Tree
from tmplbuild.events import Progress
from tmplbuild.managers import Manager
from tmplbuild.recipes.model import Pack
from tmplbuild.stages.context import Ctx


def run(
    ctx: Ctx,
    options: Pack,
    manager: Manager,
    *,
    out: Path,
    members: MemberCache | None,
    known: Known | None = None,
    jobs: int = 0,
) -> dict[str, Any]:
    """Pack the tree into `out`, which appears whole or not at all, and only when it equals the tree.

    Parameters:
        members: where compressed members are kept from one night to the next.
        known: what the template's last pack came to; this one's takes its place.
        jobs: threads (0: one a CPU).

    Returns size, hashes and counts. Raises StoreError for a full disk, a file that changes, or a
    packed file that is not what the tree is.
    """
    owners, installed = manager.owners(ctx), manager.installed(ctx)
    jobs = jobs or len(os.sched_getaffinity(0))
    with ctx.tree() as tree:
        try:
            packed = _packed(ctx, options, tree, owners, out, members, known, jobs)
        except Gone:
            assert known is not None
            known.forget()
            packed = _packed(ctx, options, tree, owners, out, members, known, jobs)
    if known is not None:
        known.save()
    return {
        "size": packed.size,
        "sha256": packed.sha256,
        "tar_size": packed.tar_size,
        "entries": packed.entries,
        "members": packed.members,
        "reused": packed.reused,
        "packages": [
            {"name": package.name, "version": package.version, "arch": package.arch, "source": package.source}
            for package in installed
        ],
    }


def _packed(
    ctx: Ctx,
    options: Pack,
    tree: Tree,
    owners: Owners,
    out: Path,
    members: MemberCache | None,
    known: Known | None,
    jobs: int,
) -> Packed:
    with atomic_file(out) as file:
        packed = pack(
            tree,
            file,
            epoch=ctx.epoch,
            owners=owners,
            level=options.level,
            members=members,
            jobs=jobs,
            emit=ctx.emit,
            known=known,
        )
        ctx.emit(Progress("read it back"))
        written = Path(f"/proc/self/fd/{file.fileno()}")
        read_back(written, tree.fd, packed.fresh, epoch=ctx.epoch, jobs=jobs)
    return packed
