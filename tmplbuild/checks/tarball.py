"""The view of a packed template: .tar, .tar.gz, .bz2, .xz or .zst, told by content, not by name.

One pass: names go into memory, contents into an unnamed temporary file, so that nothing is
unpacked by its name, no privilege is needed, and any file can be read afterwards. Whatever the
archive says, memory, disk and time are bounded.
"""

from __future__ import annotations

import lzma
import os
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from tmplbuild.archives import zstd
from tmplbuild.checks.view import Entry, Kind, Oddity, View
from tmplbuild.core.tarread import Limits, Member, TarReader
from tmplbuild.core.untar import open_tarball
from tmplbuild.errors import StoreError, UsageError, VerifyError
from tmplbuild.managers.dpkg import RealPaths

MAX_MEMBERS = 1_000_000
MAX_NAMES = 256 << 20
"""Bytes of all names, link targets and extended attributes."""
MAX_CONTENT = 32 << 30
"""Bytes of all contents as stored (the holes of sparse files are free)."""

_MAX_SPARSE_READ = 256 << 20  # a sparse file's zeros cost nothing to state, but time to hash
_MAX_ODDITIES = 200
_NAME_MAX, _PATH_MAX = 255, 4096  # limits.h of Linux
_PIECE = 1 << 20
_ZEROS = bytes(_PIECE)
_KINDS: dict[str, Kind] = {"file": "file", "dir": "dir", "symlink": "link", "fifo": "fifo"}
_ROOT_SIGNS = ("/etc", "/usr", "/bin")


@contextmanager
def tarball_view(path: Path) -> Iterator[View]:
    """The view of the tarball at `path`, as long as the `with` block lasts.

    Names may begin with "./", "/" or neither; a "rootfs/" directory beside metadata.yaml (LXC,
    Incus) is taken as the root. The temporary file lies in $TMPDIR or /var/tmp.

    Raises UsageError for a file that is not there or holds no root file system, VerifyError for a
    damaged archive or one beyond the limits, StoreError when the disk is full.
    """
    with _scratch() as scratch:
        index = _Index(scratch)
        with closing(_open(path)) as stream:
            _fill(index, TarReader(_Guarded(stream), Limits(MAX_MEMBERS, 1 << 62)), path)
        yield index.view(path)


def _fill(index: _Index, reader: TarReader, path: Path) -> None:
    try:
        for member in reader:
            index.add(member, reader)
    except VerifyError as error:
        error.where = error.where or str(path)
        raise
    except OSError as error:
        raise _no_space(error) from error


class _Guarded:
    """A decompressed stream, read in large pieces. Its damage is a VerifyError, so that an OSError
    can only be the scratch file's."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._piece = b""
        self._at = 0

    def read(self, size: int = -1, /) -> bytes:
        """At least one byte and at most `size`; none at the end."""
        if self._at == len(self._piece):
            self._piece, self._at = self._more(), 0
        part = self._piece[self._at : self._at + size] if size >= 0 else self._piece[self._at :]
        self._at += len(part)
        return part

    def _more(self) -> bytes:
        try:
            return self._stream.read(_PIECE)
        except (OSError, EOFError, zlib.error, lzma.LZMAError, zstd.Damaged) as error:
            raise VerifyError("a compressed tar archive is damaged", why=str(error)) from error


def _open(path: Path) -> BinaryIO:
    try:
        return open_tarball(path, zstd=zstd.open_reader)
    except StoreError as error:
        raise UsageError("the file cannot be opened", where=str(path), why=error.why) from error


@dataclass(frozen=True, slots=True)
class _Stored:
    """Where a file's bytes lie in the temporary file."""

    offset: int
    length: int
    size: int
    segments: tuple[tuple[int, int], ...] | None


class _Index:
    def __init__(self, scratch: BinaryIO) -> None:
        self._scratch = scratch
        self._end = 0
        self._weight = 0
        self._entries: dict[str, Entry] = {}
        self._stored: dict[str, _Stored] = {}
        self._xattrs: dict[str, dict[str, bytes]] = {}
        self._oddities: list[Oddity] = []
        self._real = RealPaths(self)

    # What RealPaths asks: links as they are known so far.
    def is_link(self, path: str) -> bool:
        entry = self._entries.get(path)
        return entry is not None and entry.kind == "link"

    def readlink(self, path: str) -> str:
        return self._entries[path].target

    def add(self, member: Member, reader: TarReader) -> None:
        self._weigh(member)
        path = self._place(member.name)
        if path is None:
            return
        entry = self._entry(path, member)
        if entry is None or not self._may_replace(entry, member.name):
            return
        if member.kind == "hardlink":
            first = self._place(member.link) or ""
            if first in self._stored:
                self._stored[path] = self._stored[first]
            self._xattrs[path] = self._xattrs.get(first, {})
        else:
            self._stored.pop(path, None)
            self._xattrs.pop(path, None)
        if member.kind == "file":
            self._stored[path] = self._keep(member, reader)
        if member.xattrs:
            self._xattrs[path] = member.xattrs
        was_link = self.is_link(path)
        self._entries[path] = entry
        if was_link or entry.kind == "link":
            self._real = RealPaths(self)  # it remembers, and what it remembers may be wrong now

    def view(self, path: Path) -> View:
        entries, stored, xattrs = self._entries, self._stored, self._xattrs
        if not any(sign in entries or _holds(entries, sign) for sign in _ROOT_SIGNS):
            if not _holds(entries, "/rootfs"):
                raise _no_root(path, entries)
            entries = {
                inner: replace(entry, path=inner)
                for name, entry in entries.items()
                if (inner := _inner(name)) is not None
            }
            stored = {inner: one for name, one in stored.items() if (inner := _inner(name)) is not None}
            xattrs = {inner: one for name, one in xattrs.items() if (inner := _inner(name)) is not None}
        contents = _TarContents(self._scratch, stored, xattrs)
        return View(entries, contents, oddities=self._oddities, packed=True)

    def _weigh(self, member: Member) -> None:
        self._weight += len(member.name) + len(member.link)
        self._weight += sum(len(key) + len(value) for key, value in member.xattrs.items())
        self._weight += 16 * len(member.segments or ())
        if self._weight > MAX_NAMES:
            raise VerifyError(
                "a tar archive is larger than it may be",
                why=f"its names and attributes alone take more than {MAX_NAMES >> 20} MiB",
            )

    def _place(self, name: str) -> str | None:
        """The real path that a member's name stands for; None for one that cannot be."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts or "\0" in name:
            self._odd("unsafe-name", name, "a name with .. or a zero byte; it is left out")
            return None
        # Four bytes are the most that a sign takes: shorter names need no closer look.
        if len(name) > _NAME_MAX // 4 and not _fits(name, parts):
            self._odd("unsafe-name", name[:200] + "...", "a name that no file system takes; it is left out")
            return None
        if not name.startswith("./") and name != ".":
            self._odd("prefix", name, "the names in the archive do not begin with ./", once=True)
        path = "/" + "/".join(parts)
        real = self._real(path) if parts else "/"
        if real != path:
            self._odd("through-link", path, f"a member that is reached through a link: it lands in {real}")
        return real

    def _entry(self, path: str, member: Member) -> Entry | None:
        if member.kind == "hardlink":
            first = self._entries.get(self._place(member.link) or "")
            if first is None:
                self._odd("no-target", path, f"a hard link to {member.link}, which is not in the archive")
                return None
            return replace(first, path=path)
        kind = member.kind if member.kind in ("char", "block") else _KINDS[member.kind]
        target = member.link if kind == "link" else ""
        return Entry(path, kind, member.mode, member.uid, member.gid, member.size, target, member.device)

    def _may_replace(self, entry: Entry, name: str) -> bool:
        old = self._entries.get(entry.path)
        if old is None or old.kind == entry.kind == "dir":
            return True
        self._odd("duplicate", entry.path, "it is in the archive more than once")
        return old.kind != "dir" and not (old.kind == "link" and entry.kind == "dir")

    def _keep(self, member: Member, reader: TarReader) -> _Stored:
        start = self._end
        for chunk in reader.chunks():
            # Zeros become a hole: a bomb of them costs no disk.
            if chunk == _ZEROS[: len(chunk)]:
                self._scratch.seek(len(chunk), os.SEEK_CUR)
            else:
                self._scratch.write(chunk)
            self._end += len(chunk)
            if self._end > MAX_CONTENT:
                raise VerifyError(
                    "a tar archive is larger than it may be",
                    why=f"it unpacks to more than {MAX_CONTENT >> 30} GiB",
                )
        return _Stored(start, self._end - start, member.size, member.segments)

    def _odd(self, what: str, path: str, text: str, *, once: bool = False) -> None:
        if len(self._oddities) < _MAX_ODDITIES and not (
            once and any(oddity.what == what for oddity in self._oddities)
        ):
            self._oddities.append(Oddity(what, path, text))


class _TarContents:
    def __init__(
        self,
        scratch: BinaryIO,
        stored: Mapping[str, _Stored],
        xattrs: Mapping[str, Mapping[str, bytes]],
    ) -> None:
        self._scratch = scratch
        self._stored = stored
        self._xattrs = xattrs

    def chunks(self, path: str) -> Iterator[bytes]:
        stored = self._stored.get(path)
        if stored is None:
            return
        if stored.segments is None:
            yield from self._slice(stored.offset, stored.length)
            return
        limit = min(stored.size, _MAX_SPARSE_READ)
        here, offset = 0, stored.offset
        for start, length in stored.segments:
            if start + length > limit:
                break
            yield from _zeros(start - here)
            yield from self._slice(offset, length)
            here, offset = start + length, offset + length
        yield from _zeros(limit - here)

    def xattrs(self, path: str) -> Mapping[str, bytes]:
        return self._xattrs.get(path, {})

    def _slice(self, offset: int, length: int) -> Iterator[bytes]:
        end = offset + length
        while offset < end:
            # What lies beyond the last byte written is a hole, too.
            wanted = min(1 << 20, end - offset)
            chunk = os.pread(self._scratch.fileno(), wanted, offset) or bytes(wanted)
            offset += len(chunk)
            yield chunk


def _fits(name: str, parts: list[str]) -> bool:
    return len(os.fsencode(name)) <= _PATH_MAX and all(len(os.fsencode(part)) <= _NAME_MAX for part in parts)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield _ZEROS[:count]
        count -= len(_ZEROS)


@contextmanager
def _scratch() -> Iterator[BinaryIO]:
    try:
        with tempfile.TemporaryFile(dir=_scratch_folder(), buffering=0) as file:
            yield file
    except OSError as error:
        raise _no_space(error) from error


def _scratch_folder() -> str:
    return os.environ.get("TMPDIR") or "/var/tmp"  # /tmp is memory on many machines


def _no_space(error: OSError) -> StoreError:
    folder = _scratch_folder()
    try:
        state = os.statvfs(folder)
        free = f" ({state.f_bavail * state.f_frsize >> 20} MiB are free)"
    except OSError:
        free = ""
    return StoreError(
        "the archive's contents cannot be kept while it is looked at",
        where=folder,
        why=f"{error}{free}",
        hint="make room there, or set TMPDIR to a directory with room",
    )


def _holds(entries: Mapping[str, Entry], folder: str) -> bool:
    return any(path.startswith(folder + "/") for path in entries)


def _inner(path: str) -> str | None:
    if path == "/rootfs":
        return "/"
    return path.removeprefix("/rootfs") if path.startswith("/rootfs/") else None


def _no_root(path: Path, entries: Mapping[str, Entry]) -> UsageError:
    image = "/oci-layout" in entries or "/manifest.json" in entries
    return UsageError(
        "the archive holds no root file system",
        where=str(path),
        why="it is a container image with layers" if image else "there is no /etc, /usr or /bin in it",
        hint="flatten the image first: docker create, then docker export" if image else "",
    )
