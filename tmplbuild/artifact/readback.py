"""Is what was packed what lies in the tree? The new parts of the file are read back and compared with it.

What is compared is all that a client gets: names, kinds, owners, modes, times, links, attributes and
contents, by the reader that unpacks templates, from the bytes on the disk. What is not read back are members
that were compared when they were new, and are known by a digest since.
"""

from __future__ import annotations

import gzip
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tmplbuild.artifact.attributes import Record
from tmplbuild.artifact.gunzipped import open_members
from tmplbuild.artifact.scan import Content, Entry, Folders, scan, shown
from tmplbuild.artifact.tarstream import END
from tmplbuild.core.tarread import Member, Source, TarReader
from tmplbuild.core.tree import Tree
from tmplbuild.errors import StoreError, VerifyError

_KINDS = {
    "file": stat.S_IFREG,
    "dir": stat.S_IFDIR,
    "symlink": stat.S_IFLNK,
    "char": stat.S_IFCHR,
    "block": stat.S_IFBLK,
    "fifo": stat.S_IFIFO,
}
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """A row of members that was made in this pack: where each lies in the file, and the entries in them."""

    cuts: Sequence[tuple[int, int]]
    entries: Sequence[Entry]


def read_back(path: Path, root: int, parts: Sequence[Part], *, epoch: int, jobs: int) -> int:
    """Compare parts of a packed file with the tree that they were made of; how many entries were compared.

    Parameters:
        root: a descriptor of the tree.
        epoch: as it was packed with.
        jobs: threads that inflate.

    Raises StoreError where they differ, or the tree or the file cannot be read.
    """
    cuts = [cut for part in parts for cut in part.cuts]
    entries = [entry for part in parts for entry in part.entries]
    if not cuts:
        return 0
    try:
        with Folders(root) as folders, open_members(path, jobs, cuts) as stream:
            reader = TarReader(_Ended(stream))
            members = iter(reader)
            buffer = memoryview(bytearray(_PIECE))
            for entry in entries:
                member = next(members, None)
                if member is None:
                    raise _differs(entry, "it is missing")
                _compare(entry, member, reader, folders, epoch, buffer)
            if (more := next(members, None)) is not None:
                raise StoreError("The packed file holds what the tree does not.", where=more.name)
    except (gzip.BadGzipFile, VerifyError) as error:
        raise StoreError("The packed file cannot be read back.", where=str(path), why=str(error)) from error
    return len(entries)


def compare(stream: Source, tree: Tree, *, epoch: int) -> list[StoreError]:
    """All differences between a whole packed template and the tree that it was made of.

    Parameters:
        stream: the uncompressed archive.
        epoch: as it was packed with.

    Raises VerifyError for a stream that is no archive, StoreError where the tree cannot be read.
    """
    seen = scan(tree)
    waiting = {entry.path: entry for entry, _ in seen.folders} | seen.others
    found: list[StoreError] = []
    buffer = memoryview(bytearray(_PIECE))
    with Folders(tree.fd) as folders:
        reader = TarReader(stream)
        for member in reader:
            entry = waiting.pop(_path(member), None)
            try:
                if entry is None:
                    raise StoreError(
                        "The tree has lost a file.", where=f"/{_path(member).decode(errors='replace')}"
                    )
                _compare(entry, member, reader, folders, epoch, buffer)
            except StoreError as error:
                found.append(error)
    return [*found, *(_differs(entry, "it was not packed") for entry in waiting.values())]


def _path(member: Member) -> bytes:
    return os.fsencode(member.name).removeprefix(b"./").rstrip(b"/")


class _Ended:
    """A part of an archive, and the mark that ends one."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._end = END

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        if not data:
            data, self._end = self._end[:size], self._end[size:]
        return data


def _compare(
    entry: Entry,
    member: Member,
    reader: TarReader,
    folders: Folders,
    epoch: int,
    buffer: memoryview,
) -> None:
    kind = stat.S_IFMT(entry.mode)
    if _path(member) != entry.path:
        raise _differs(entry, f"{member.name!r} stands in its place")
    if member.kind == "hardlink":
        if folders.inode(os.fsencode(member.link).removeprefix(b"./")) != (entry.device, entry.inode):
            raise _differs(entry, f"it is another name of {member.link!r}")
        return
    stamp = max(0, epoch if kind == stat.S_IFDIR else min(entry.mtime, epoch))
    wanted = (kind, stat.S_IMODE(entry.mode), entry.uid, entry.gid, stamp)
    found = (_KINDS.get(member.kind), member.mode, member.uid, member.gid, member.mtime_ns // 1_000_000_000)
    if wanted != found:
        raise _differs(entry, f"kind, mode, owner, group and time are {found}, not {wanted}")
    if kind == stat.S_IFREG:
        _same_content(entry, member, reader, folders, buffer)
    elif kind == stat.S_IFLNK and os.fsencode(member.link) != folders.link(entry.path):
        raise _differs(entry, f"it leads to {member.link!r}")
    elif member.kind in ("char", "block") and member.device != (os.major(entry.rdev), os.minor(entry.rdev)):
        raise _differs(entry, f"it is device {member.device}")


def _same_content(
    entry: Entry, member: Member, reader: TarReader, folders: Folders, buffer: memoryview
) -> None:
    with Content(folders, entry) as content:
        if _attributes(content.records()) != member.xattrs:
            raise _differs(entry, "its attributes are others")
        left = entry.size
        if member.size != left:
            raise _differs(entry, f"it has {member.size} bytes, not {left}")
        while left:
            view = buffer[: min(left, len(buffer))]
            content.into(view)
            if reader.read(len(view)) != view.tobytes():
                raise _differs(entry, "its content is another")
            left -= len(view)


def _attributes(records: list[Record]) -> dict[str, bytes]:
    """Pax records as the reader gives them."""
    prefix = b"SCHILY.xattr."
    return {os.fsdecode(key.removeprefix(prefix)): value for key, value in records if key.startswith(prefix)}


def _differs(entry: Entry, why: str) -> StoreError:
    return StoreError(
        "The packed file differs from the tree.",
        where=shown(entry.path),
        why=why,
        hint="this is an error of tmplbuild, or of this machine's memory or disk; please report it",
    )
