"""Unpacking a template's tarball into a directory, with owners, modes, times, links and xattrs.

A hostile archive cannot reach out of the root (see `tmplbuild.core.placing`). As GNU tar does, a
later member replaces an earlier one of the same name. What it does not do as GNU tar does: an
absolute name or ".." is refused instead of being cut, and links are never followed out of the root.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import stat
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from tmplbuild.core.placing import Placer, safe_name
from tmplbuild.core.tarread import Limits, Member, Source, TarReader, damaged
from tmplbuild.core.xz import XzStream
from tmplbuild.errors import HostError, StoreError, VerifyError

_MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zst"}
_NODES = {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}

OpenZstd = Callable[[BinaryIO], BinaryIO]
"""Makes a decompressed stream of a zstd one (the standard library of Python 3.11 has no zstd)."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """What came out: members, bytes of all files' content, device nodes left out."""

    entries: int
    bytes: int
    skipped: int = 0


def open_tarball(path: Path, *, zstd: OpenZstd | None = None) -> BinaryIO:
    """The uncompressed tar stream of a file, whatever it is compressed with: gzip (all members),
    bzip2, xz, zstd (through `zstd`) or nothing; told by the first bytes, not by the name.

    Raises StoreError if it cannot be opened, HostError for zstd without a reader. Reading the
    stream raises OSError, EOFError or the format's own error; `extract` turns them into VerifyError.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise StoreError("a tarball cannot be opened", where=str(path), why=error.strerror or "") from error
    try:
        return decompressed(file, str(path), zstd=zstd)
    except BaseException:
        file.close()
        raise


def decompressed(file: io.BufferedReader, name: str, *, zstd: OpenZstd | None = None) -> BinaryIO:
    """As `open_tarball`, for a file that is open already; `name` is for errors."""
    start = file.peek(6)
    kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), "")
    if kind == "gz":
        return cast(BinaryIO, gzip.GzipFile(fileobj=file, mode="rb"))
    if kind == "bz2":
        return cast(BinaryIO, bz2.BZ2File(file))
    if kind == "xz":
        return cast(BinaryIO, io.BufferedReader(XzStream(file), 1 << 18))
    if kind == "zst":
        if zstd is None:
            raise HostError("a zstd tarball cannot be read here", where=name)
        return zstd(file)
    return file


def extract(
    file: Source,
    root_fd: int,
    *,
    skip_devices: bool = True,
    limits: Limits | None = None,
    wanted: Callable[[str], bool] = lambda name: True,
) -> Extracted:
    """Unpack an uncompressed tar stream below the directory `root_fd`.

    Parameters:
        file: the stream (`open_tarball`).
        root_fd: an open descriptor of the directory, which should be empty; it stays the caller's.
        skip_devices: leave character and block devices out (a container's /dev is made at start).
        limits: how much it may come to.
        wanted: tells the members that are unpacked, by the name that they have in the archive.

    Raises VerifyError for a damaged or hostile archive, StoreError if the disk refuses a file.
    """
    with Placer(root_fd) as placer:
        unpacking = _Unpacking(placer, skip_devices, wanted)
        try:
            return unpacking.run(TarReader(file, limits))
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise damaged(f"its compressed form is damaged: {error}") from error
        except OSError as error:
            if error.errno is None:  # bz2 and zstd speak so of damaged data
                raise damaged(f"its compressed form is damaged: {error}") from error
            raise StoreError(
                "a file of the archive cannot be written", where=unpacking.at, why=os.strerror(error.errno)
            ) from error


class _Unpacking:
    """The state of one extraction. Directories get their modes and times last: a mode could lock
    us out as an ordinary user, and every entry made inside changes the time."""

    def __init__(self, placer: Placer, skip_devices: bool, wanted: Callable[[str], bool]) -> None:
        self._placer = placer
        self._wanted = wanted
        self._skip_devices = skip_devices
        self._folders: dict[str, Member] = {}
        self.at = ""

    def run(self, reader: TarReader) -> Extracted:
        entries = size = skipped = 0
        for member in reader:
            self.at = member.name
            entries += 1
            if not self._wanted(member.name):
                continue
            if self._skip_devices and member.kind in ("char", "block"):
                skipped += 1
                continue
            self._place(member, reader)
            size += member.size
        for path in sorted(self._folders, reverse=True):
            self._finish(path, self._folders[path])
        return Extracted(entries, size, skipped)

    def _place(self, member: Member, reader: TarReader) -> None:
        path = safe_name(member.name)
        if member.kind == "dir":
            self._directory(path, member)
            return
        if not path:
            raise VerifyError("an archive would replace its own root", where=repr(member.name))
        if member.kind == "hardlink" and path == safe_name(member.link):
            return  # a link to itself: the name is there already
        try:
            self._make(path, member, reader)
        except FileExistsError:
            self._clear(path)
            self._make(path, member, reader)
        except FileNotFoundError:
            if member.kind == "hardlink" and self._placer.lstat(safe_name(member.link)) is None:
                raise VerifyError(
                    "an archive holds a hard link to nothing", where=member.name, why=member.link
                ) from None
            self._parents(path)
            self._make(path, member, reader)

    def _make(self, path: str, member: Member, reader: TarReader) -> None:
        placer, owner = self._placer, {"uid": member.uid, "gid": member.gid, "mtime_ns": member.mtime_ns}
        if member.kind == "file":
            placer.file(
                path,
                reader.chunks(),
                mode=member.mode,
                xattrs=member.xattrs,
                segments=member.segments,
                size=member.size,
                **owner,
            )
        elif member.kind == "symlink":
            if not member.link or "\0" in member.link:
                raise VerifyError("an archive holds a link to nothing", where=member.name)
            placer.symlink(path, member.link, **owner)
        elif member.kind == "hardlink":
            placer.hardlink(path, safe_name(member.link))
        else:
            placer.node(path, kind=_NODES[member.kind], device=member.device, mode=member.mode, **owner)

    def _directory(self, path: str, member: Member) -> None:
        if path:
            try:
                self._placer.directory(path)
            except FileNotFoundError:
                self._parents(path)
                self._placer.directory(path)
            except FileExistsError:
                state = self._placer.lstat(path)
                if state is None or not stat.S_ISDIR(state.st_mode):
                    self._clear(path)
                    self._placer.directory(path)
        self._folders[path] = member

    def _parents(self, path: str) -> None:
        """Make the directories on the way that the archive does not mention (0755, root)."""
        parts = path.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            folder = "/".join(parts[:count])
            if self._placer.lstat(folder) is None:
                self._placer.directory(folder)
                self._placer.finish_directory(folder, mode=0o755, uid=0, gid=0, mtime_ns=None)

    def _clear(self, path: str) -> None:
        """Take away what has the name already."""
        try:
            self._placer.remove(path)
        except OSError as error:
            raise VerifyError(
                "an archive holds a file where it has a directory that is not empty", where=path
            ) from error
        self._folders.pop(path, None)

    def _finish(self, path: str, member: Member) -> None:
        # an ancestor may have been replaced by something else later in the archive
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self._placer.finish_directory(
                path,
                mode=member.mode,
                uid=member.uid,
                gid=member.gid,
                mtime_ns=member.mtime_ns,
                xattrs=member.xattrs,
            )
