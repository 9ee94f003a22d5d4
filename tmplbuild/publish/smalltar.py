"""Small tar files of a few texts, the same bytes every time: metadata of LXC and Incus."""

from __future__ import annotations

import lzma
from collections.abc import Mapping

from tmplbuild.artifact import tarstream


def tar_xz(files: Mapping[str, bytes], *, epoch: int) -> bytes:
    """`files` by name, in their order, as a .tar.xz; directories on the way come first."""
    blocks: list[bytes] = []
    known: set[str] = set()
    for name, data in files.items():
        for folder in _folders(name):
            if folder not in known:
                known.add(folder)
                blocks.append(entry(f"{folder}/", epoch=epoch))
        blocks += [entry(name, epoch=epoch, size=len(data)), data, tarstream.padding(len(data))]
    return lzma.compress(b"".join([*blocks, tarstream.END]))


def entry(name: str, *, epoch: int, size: int = 0) -> bytes:
    """The header of a file (or, where the name ends in a slash, a directory) that root owns."""
    folder = name.endswith("/")
    kind = tarstream.DIRECTORY if folder else tarstream.REGULAR
    mode = 0o755 if folder else 0o644
    return tarstream.head(name.encode(), kind, mode=mode, uid=0, gid=0, mtime=epoch, size=size)


def _folders(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]
