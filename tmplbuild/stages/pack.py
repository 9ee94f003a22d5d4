"""pack: the tree as NAME.tar.gz, the same bytes for the same tree."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tmplbuild.artifact.atomic import atomic_file
from tmplbuild.artifact.members import MemberCache
from tmplbuild.artifact.pack import pack
from tmplbuild.managers import Manager
from tmplbuild.recipes.model import Pack
from tmplbuild.stages.context import Ctx


def run(
    ctx: Ctx, options: Pack, manager: Manager, *, out: Path, members: MemberCache | None, jobs: int = 0
) -> dict[str, Any]:
    """Pack the tree into `out`, which appears whole or not at all.

    Parameters:
        members: where compressed members are kept from one night to the next.
        jobs: threads (0: one a CPU).

    Returns size, hashes and counts. Raises StoreError for a full disk or a file that changes.
    """
    owners, installed = manager.owners(ctx), manager.installed(ctx)
    with ctx.tree() as tree, atomic_file(out) as file:
        packed = pack(
            tree,
            file,
            epoch=ctx.epoch,
            owners=owners,
            level=options.level,
            members=members,
            jobs=jobs or len(os.sched_getaffinity(0)),
            emit=ctx.emit,
        )
    return {
        "size": packed.size,
        "sha256": packed.sha256,
        "tar_size": packed.tar_size,
        "tar_sha256": packed.tar_sha256,
        "entries": packed.entries,
        "members": packed.members,
        "reused": packed.reused,
        "packages": [
            {"name": package.name, "version": package.version, "arch": package.arch, "source": package.source}
            for package in installed
        ],
    }
