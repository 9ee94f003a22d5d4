"""A tree as one deterministic .tar.gz: the same bytes for the same tree, on any host, with any `jobs`.

The order of members: all directories by path; the files asked for `first`; then the files of each
package; then all the rest, in pieces. Each of these groups is a row of gzip members of its own, so that a
package that did not change is compressed once and for all nights to come, and a client that has an older
template need fetch only what is new. The rest, most of it what dpkg keeps of each package, is cut behind
names that a checksum draws: where a cut is does not depend on what stands before it, so that a file more or
less leaves all pieces but its own as they were. Whether a file still is what its package delivered is not
asked: its member is found again by what it holds, so one that was changed only costs that member's reuse.

Directories bear the epoch: when one was last written to tells of the build (a lock that came and went),
not of the tree, and a plain `tar x` that fills them afterwards changes it in any case.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from tmplbuild.artifact import tarstream
from tmplbuild.artifact.attributes import Record
from tmplbuild.artifact.gzipped import LIBRARY, GzipWriter, Written
from tmplbuild.artifact.known import Known, Piece
from tmplbuild.artifact.members import MemberCache
from tmplbuild.artifact.readback import Part
from tmplbuild.artifact.scan import Content, Entry, Folders, Scan, scan
from tmplbuild.core.tree import Tree
from tmplbuild.events import Bytes, Emit, Note

_DRAWN = 16
"""The rest is cut behind one name of so many: 70 KB on an average in Debian's templates, whose files grow by
0.02 % for it (ones of 32 would save half of that, and twice as much would be compressed anew each night)."""

Owners = Mapping[str, str]
"""Package by the path (the real one) of a file or link in the tree."""


@dataclass(frozen=True, slots=True)
class Packed:
    """What was written: `size` bytes and `sha256` of the .tar.gz, the size of the tar in it, gzip members,
    those of them that came from the cache, and tar entries; `fresh` are the parts that were made of the tree
    now, and not known from an earlier pack.

    The tar's own digest is not here: it would take every byte of every night's tar to be inflated and hashed,
    for the few who publish, and publishing reads them all."""

    size: int
    sha256: str
    tar_size: int
    members: int
    reused: int
    entries: int
    fresh: tuple[Part, ...] = ()


def pack(
    tree: Tree,
    out: BinaryIO,
    *,
    epoch: int,
    owners: Owners,
    level: int,
    members: MemberCache | None,
    jobs: int,
    emit: Emit,
    first: Sequence[str] = (),
    known: Known | None = None,
) -> Packed:
    """Write `tree` as a .tar.gz.

    Parameters:
        out: where it goes; written in order, neither sought nor closed.
        epoch: seconds; no file is younger than this in the archive (and none older than 1970).
        owners: which package each file is from.
        level: 1 to 12, libdeflate's.
        members: compressed members of earlier runs, or None.
        jobs: compressing threads.
        emit: gets `Bytes` events labelled "pack".
        first: paths that come right after the directories, in this order; those not there are left out.
        known: the groups of this template's last pack; it learns those of this one.

    Sockets are left out: they mean nothing without their process. Raises StoreError where the tree
    cannot be read or changes meanwhile, `gzipped.Gone` where a member of a known group is kept no more
    (then `known.forget()`, and again), and what `out.write` raises.
    """
    seen = scan(tree)

    def progress(done: int) -> None:
        emit(Bytes("pack", min(done, seen.size), seen.size))

    with (
        Folders(tree.fd) as folders,
        GzipWriter(out, level=level, jobs=jobs, cache=members, progress=progress) as gz,
    ):
        writer = _TarWriter(folders, gz, epoch)
        groups = _Groups(writer, gz, known, members, level)
        _write_groups(groups, seen, owners, first)
        done = gz.finish()
    emit(Bytes("pack", seen.size, seen.size, ended=True))
    if members is not None and members.failed:
        emit(Note(f"Compressed members could not be kept for the next run ({members.failed}).", "warning"))
    return Packed(
        done.size,
        done.sha256,
        done.raw_size,
        done.members,
        done.reused,
        writer.entries,
        fresh=groups.fresh(done),
    )


def pack_ahead(
    tree: Tree,
    packages: Collection[str],
    *,
    epoch: int,
    owners: Owners,
    level: int,
    members: MemberCache,
    jobs: int,
    over: Callable[[], bool],
    started: Callable[[int], None] = lambda thread: None,
) -> None:
    """Compress the members of some packages into the cache, for a later `pack` with the same epoch and level
    of a tree that has the same files.

    Parameters:
        jobs: compressing threads, which get what nobody else wants of the processors.
        over: asked between packages; the rest is left out when it says so.
        started: is told the number of each of the threads.

    Raises StoreError where the tree cannot be read.
    """
    seen = scan(tree)
    out = cast(BinaryIO, _Nowhere())
    with (
        Folders(tree.fd) as folders,
        GzipWriter(out, level=level, jobs=jobs, cache=members, niceness=19, started=started) as gz,
    ):
        writer = _TarWriter(folders, gz, epoch)
        for name, entries in sorted(_by_package(seen.others, owners).items()):
            if over():
                return
            if name in packages:
                for entry in sorted(entries):
                    writer.add(entry)
                writer.cut()
        gz.finish()


class _Nowhere:
    def write(self, data: bytes) -> int:
        return len(data)


class _Groups:
    """Writes groups of files, each as members of its own, or takes up those that a known one came to."""

    def __init__(
        self,
        writer: _TarWriter,
        gz: GzipWriter,
        known: Known | None,
        members: MemberCache | None,
        level: int,
    ) -> None:
        self._writer = writer
        self._gz = gz
        self._known = known if members is not None else None
        self._members = members
        self._made_by = f"{LIBRARY} level {level}"
        self._done: list[tuple[str, int, int, Sequence[Entry], bool]] = []

    def folders(self, rows: Sequence[tuple[Entry, list[Record]]]) -> None:
        begin = self._gz.begun
        for entry, attributes in rows:
            self._writer.folder(entry, attributes)
        self._writer.cut()
        self._done.append(("", begin, self._gz.begun, [entry for entry, _ in rows], True))

    def files(self, entries: Sequence[Entry], end: bytes = b"") -> None:
        """One group of what is no directory, and the mark that ends the archive behind the last one."""
        begin = self._gz.begun
        made_by = f"{self._made_by}{' end' * bool(end)}"
        digest = self._writer.digest(entries, made_by) if self._known is not None else ""
        pieces = self._kept(digest)
        if pieces:
            self._writer.pass_over(entries)
            self._gz.splice(pieces)
        else:
            for entry in entries:
                self._writer.add(entry)
            self._gz.write(end)
            self._gz.cut()
        self._done.append((digest, begin, self._gz.begun, entries, not pieces))

    def _kept(self, digest: str) -> tuple[Piece, ...]:
        if self._known is None or self._members is None:
            return ()
        pieces = self._known.pieces(digest)
        return pieces if all(self._members.has(piece.key) for piece in pieces) else ()

    def fresh(self, done: Written) -> tuple[Part, ...]:
        """The parts of the file that were made now; what all groups came to is learnt."""
        ends = list(itertools.accumulate((size for _, size, _ in done.made), initial=0))
        parts = []
        for digest, begin, end, entries, is_fresh in self._done:
            if digest and self._known is not None:
                self._known.learn(digest, [Piece(key, raw) for key, _, raw in done.made[begin:end]])
            if is_fresh:
                parts.append(Part([(ends[at], ends[at + 1]) for at in range(begin, end)], entries))
        return tuple(parts)


def _write_groups(groups: _Groups, seen: Scan, owners: Owners, first: Sequence[str]) -> None:
    groups.folders(seen.folders)
    rest = dict(seen.others)
    groups.files([entry for path in first if (entry := rest.pop(_key(path), None)) is not None])
    for _, entries in sorted(_by_package(rest, owners).items()):
        for entry in entries:
            del rest[entry.path]
        groups.files(sorted(entries))
    *pieces, last = _pieces(rest.values())
    for entries in pieces:
        groups.files(entries)
    groups.files(last, tarstream.END)


def _pieces(entries: Iterable[Entry]) -> list[list[Entry]]:
    pieces: list[list[Entry]] = [[]]
    for entry in entries:
        pieces[-1].append(entry)
        if zlib.crc32(entry.path) % _DRAWN == 0:
            pieces.append([])
    return pieces


def _key(path: str) -> bytes:
    return path.strip("/").encode("utf-8", "surrogateescape")


def _by_package(others: Mapping[bytes, Entry], owners: Owners) -> dict[str, list[Entry]]:
    """The files and links of the tree that each package owns."""
    packages: dict[str, list[Entry]] = {}
    for path, package in owners.items():
        entry = others.get(_key(path))
        if entry is not None and (stat.S_ISLNK(entry.mode) or stat.S_ISREG(entry.mode)):
            packages.setdefault(package, []).append(entry)
    return packages


def _inode(entry: Entry) -> tuple[int, int] | None:
    return (entry.device, entry.inode) if entry.links > 1 else None


class _TarWriter:
    """Turns entries into tar members; knows under which name a hard-linked file was written."""

    def __init__(self, folders: Folders, gz: GzipWriter, epoch: int) -> None:
        self._folders = folders
        self._gz = gz
        self._epoch = epoch
        self._written: dict[tuple[int, int], bytes] = {}
        self.entries = 0

    def cut(self) -> None:
        self._gz.cut()

    def digest(self, entries: Sequence[Entry], made_by: str) -> str:
        """What a group will be made of, contents by their file's number and change time."""
        rows = hashlib.sha256(made_by.encode())
        names = {inode: name.removeprefix(b"./") for inode, name in self._written.items()}
        for entry in entries:
            inode = _inode(entry)
            link = b"" if inode is None else names.setdefault(inode, entry.path)
            stamp = max(0, min(entry.mtime, self._epoch))
            rows.update(repr((*entry._replace(mtime=stamp, device=0, links=0), link)).encode())
        return rows.hexdigest()

    def pass_over(self, entries: Sequence[Entry]) -> None:
        """Entries that are written otherwise: they count, and later links may lead to them."""
        self.entries += len(entries)
        for entry in entries:
            if (inode := _inode(entry)) is not None:
                self._written.setdefault(inode, b"./" + entry.path)

    def folder(self, entry: Entry, attributes: list[Record]) -> None:
        name = b"./" + entry.path + b"/" if entry.path else b"./"
        self._head(name, tarstream.DIRECTORY, entry, attributes=attributes)

    def add(self, entry: Entry) -> None:
        """Write one entry that is no directory."""
        kind = stat.S_IFMT(entry.mode)
        name = b"./" + entry.path
        inode = _inode(entry)
        if inode is not None and inode in self._written:
            self._head(name, tarstream.HARDLINK, entry, link=self._written[inode])
            return
        if kind == stat.S_IFREG:
            self._file(name, entry)
        elif kind == stat.S_IFLNK:
            self._head(name, tarstream.SYMLINK, entry, link=self._folders.link(entry.path))
        else:
            self._special(name, entry, kind)
        if inode is not None:
            self._written[inode] = name

    def _file(self, name: bytes, entry: Entry) -> None:
        self.entries += 1
        with Content(self._folders, entry) as content:
            head = self._header(name, tarstream.REGULAR, entry, size=entry.size, attributes=content.records())
            start, end = len(head), len(head) + entry.size
            whole = end + -entry.size % tarstream.BLOCK
            if whole > self._gz.room:
                self._stream(head, entry, content)
                return
            view = self._gz.tail(whole)
            view[:start] = head
            content.into(view[start:end])
            view[end:] = tarstream.padding(entry.size)
            self._gz.commit(whole)

    def _stream(self, head: bytes, entry: Entry, content: Content) -> None:
        """Write a file through as many gzip members as it takes."""
        self._gz.write(head)
        left = entry.size
        while left:
            view = self._gz.tail(min(left, self._gz.room))
            content.into(view)
            self._gz.commit(len(view))
            left -= len(view)
        self._gz.write(tarstream.padding(entry.size))

    def _special(self, name: bytes, entry: Entry, kind: int) -> None:
        kinds = {
            stat.S_IFCHR: tarstream.CHARACTER,
            stat.S_IFBLK: tarstream.DEVICE,
            stat.S_IFIFO: tarstream.FIFO,
        }
        numbers = (0, 0) if kind == stat.S_IFIFO else (os.major(entry.rdev), os.minor(entry.rdev))
        attributes = self._folders.records(entry.path)
        self._head(name, kinds[kind], entry, device=numbers, attributes=attributes)

    def _head(
        self,
        name: bytes,
        kind: bytes,
        entry: Entry,
        *,
        link: bytes = b"",
        device: tuple[int, int] = (0, 0),
        attributes: Sequence[Record] = (),
    ) -> None:
        """Write a member that has no content."""
        self.entries += 1
        self._gz.write(self._header(name, kind, entry, link=link, device=device, attributes=attributes))

    def _header(
        self,
        name: bytes,
        kind: bytes,
        entry: Entry,
        *,
        size: int = 0,
        link: bytes = b"",
        device: tuple[int, int] = (0, 0),
        attributes: Sequence[Record] = (),
    ) -> bytes:
        return tarstream.head(
            name,
            kind,
            mode=stat.S_IMODE(entry.mode),
            uid=entry.uid,
            gid=entry.gid,
            mtime=max(0, self._epoch if kind == tarstream.DIRECTORY else min(entry.mtime, self._epoch)),
            size=size,
            link=link,
            device=device,
            records=attributes,
        )
