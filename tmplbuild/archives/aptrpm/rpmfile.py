"""Reads .rpm files: lead, signature header, header, payload (rpm's manual, "RPM V4 package format").

What is read here has been verified as a whole by the digest of its list; all the same nothing of it
is trusted: every name is checked, and each member of the payload must be a file of the header, of
the same type and size. Who a file belongs to the header says by name: only the tree can tell the
numbers.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from tmplbuild.archives.aptrpm import entry as entries
from tmplbuild.archives.aptrpm import header, payload
from tmplbuild.archives.aptrpm.cpio import CpioReader, Member
from tmplbuild.archives.aptrpm.entry import Entry
from tmplbuild.archives.aptrpm.header import Header
from tmplbuild.core.placing import safe_name
from tmplbuild.errors import VerifyError

CONFIG, DOC, MISSINGOK, NOREPLACE, GHOST = 1 << 0, 1 << 1, 1 << 3, 1 << 4, 1 << 6
"""Bits of a file's flags (RPMFILE_*)."""

_LEAD = 96
_MAX_HEADER = 256 << 20
_MAX_LINK = 4096
_LEAD_MAGIC = b"\xed\xab\xee\xdb"

_SIG_SHA1, _SIG_SHA256 = 269, 273
_SIZES, _MODES, _RDEVS, _MTIMES, _LINKS, _FLAGS = 1028, 1030, 1033, 1034, 1036, 1037
_USERS, _GROUPS, _CAPS, _LONG_SIZES, _FORMAT = 1039, 1040, 5010, 5008, 1124
_DEVICES, _INODES = 1095, 1096
_SCRIPTS = {
    "pre": (1023, 1085),
    "post": (1024, 1086),
    "preun": (1025, 1087),
    "postun": (1026, 1088),
    "pretrans": (1151, 1153),
    "posttrans": (1152, 1154),
}

Kind = Literal["file", "dir", "symlink", "hardlink", "char", "block", "fifo"]
_KINDS: dict[int, Kind] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
}


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file as the header has it. `path` is relative, without "./"; `mode` permission bits; `link` a
    symbolic link's target; `caps` capabilities in words ("cap_net_raw=ep"), "" for none. Names of one file
    have one `inode`; 0 for none."""

    path: str
    kind: Kind
    mode: int
    user: str
    group: str
    mtime: int
    size: int
    flags: int = 0
    link: str = ""
    caps: str = ""
    device: tuple[int, int] = (0, 0)
    inode: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Content:
    """One thing to be made. Of a "hardlink" `target` is the path, made before, that `file` is another
    name of; of a "file" `chunks` gives the content, and has to be used before the next one is asked
    for."""

    kind: Kind
    file: FileInfo
    chunks: Iterator[bytes]
    target: str = ""


@dataclass(frozen=True, slots=True)
class RpmFile:
    """An open package. `scripts` maps "pre", "post"... to the program and the text."""

    entry: Entry
    files: tuple[FileInfo, ...]
    scripts: dict[str, tuple[str, str]]
    where: str
    _fd: int = field(repr=False)
    _offset: int = field(repr=False)

    def contents(self) -> Iterator[Content]:
        """What the payload holds, in its order; files that are only in the header (%ghost) are not in
        it. Raises VerifyError."""
        stream = payload.open_payload(self._fd, self._offset, self.where)
        numbered = _Numbered(self.files, self.where)
        return _Unpacking(self, CpioReader(stream, self.where, numbered=numbered.member)).run()


@contextmanager
def open_rpm(fd: int, where: str) -> Iterator[RpmFile]:
    """Read the package that is open as `fd` (which stays the caller's); `where` names it in errors.

    Raises VerifyError for anything that is no package of format 3 or 4 for rpm, and OSError.
    """
    opened = parts(fd, where)
    main, offset = opened.main, opened.end
    _check(fd, opened, where)
    if main.text(_FORMAT) not in ("", "cpio"):
        raise VerifyError(
            "a package has a payload of a kind that is not known", where=where, why=main.text(_FORMAT)[:100]
        )
    yield RpmFile(
        entry=entries.read(main, 0),
        files=tuple(_files(main)),
        scripts={
            name: (_program(main, program), main.text(body))
            for name, (body, program) in _SCRIPTS.items()
            if body in main or program in main
        },
        where=where,
        _fd=fd,
        _offset=offset,
    )


@dataclass(frozen=True, slots=True)
class Parts:
    """The two headers of a package. The bytes from `start` to `end` of the file are the main one, and what
    its signatures cover; the payload begins at `end`."""

    signature: Header
    main: Header
    start: int
    end: int


def parts(fd: int, where: str) -> Parts:
    """Read the headers of the package that is open as `fd`; nothing is verified.

    Raises VerifyError for anything that is no package of format 3 or later, and OSError.
    """
    if os.pread(fd, 4, 0) != _LEAD_MAGIC:
        raise VerifyError("a package cannot be read", where=where, why="it is no RPM package")
    signature, end = _header(fd, _LEAD, where)
    start = end + -end % 8
    main, offset = _header(fd, start, where)
    return Parts(signature, main, start, offset)


def _header(fd: int, at: int, where: str) -> tuple[Header, int]:
    """The header at an offset of a file, and where it ends there."""
    first = os.pread(fd, header.PREAMBLE, at)
    length = header.length(first, where)
    if length > min(_MAX_HEADER, os.fstat(fd).st_size - at):
        raise VerifyError("a package is cut short", where=where, why=f"a header of {length} bytes at {at}")
    return Header(os.pread(fd, length, at), 0, where), at + length


def _check(fd: int, opened: Parts, where: str) -> None:
    """Compare the header with the digest that the signature header has of it, if any."""
    signature = opened.signature
    raw = os.pread(fd, opened.end - opened.start, opened.start)
    for tag, kind in ((_SIG_SHA256, "sha256"), (_SIG_SHA1, "sha1")):
        if tag in signature:
            found = hashlib.new(kind, raw, usedforsecurity=False).hexdigest()
            if found != signature.text(tag):
                raise VerifyError("a package is damaged", where=where, why=f"its header's {kind} is {found}")
            return


def _program(main: Header, tag: int) -> str:
    """The interpreter of a script, with its arguments if it has any."""
    return " ".join(main.texts(tag))


def _files(main: Header) -> Iterator[FileInfo]:
    paths = [path.decode("utf-8", "surrogateescape") for path in main.paths()]
    count = len(paths)
    sizes = main.numbers(_LONG_SIZES) or main.numbers(_SIZES)
    columns = {
        "modes": main.numbers(_MODES),
        "rdevs": main.numbers(_RDEVS) or (0,) * count,
        "mtimes": main.numbers(_MTIMES),
        "flags": main.numbers(_FLAGS) or (0,) * count,
        "devices": main.numbers(_DEVICES) or (0,) * count,
        "inodes": main.numbers(_INODES) or (0,) * count,
        "sizes": sizes,
    }
    words = {
        "links": main.texts(_LINKS) or [""] * count,
        "users": main.texts(_USERS),
        "groups": main.texts(_GROUPS),
        "caps": main.texts(_CAPS) or [""] * count,
    }
    for name, column in (*columns.items(), *words.items()):
        if len(column) != count:
            raise main.bad(f"its files' {name} are not as many as its files")
    for index, path in enumerate(paths):
        mode = columns["modes"][index]
        kind = _KINDS.get(stat.S_IFMT(mode))
        if kind is None:
            raise main.bad(f"file {path!r} has an unknown type")
        yield FileInfo(
            path=_relative(path, main),
            kind=kind,
            mode=stat.S_IMODE(mode),
            user=words["users"][index],
            group=words["groups"][index],
            mtime=columns["mtimes"][index],
            size=columns["sizes"][index],
            flags=columns["flags"][index],
            link=words["links"][index] if kind == "symlink" else "",
            caps=words["caps"][index],
            device=_device(columns["rdevs"][index]) if kind in ("char", "block") else (0, 0),
            inode=(columns["devices"][index], columns["inodes"][index]),
        )


def _relative(path: str, main: Header) -> str:
    """The path as the payload's names come out of `safe_name`. Raises VerifyError."""
    if not path.startswith("/") or "\n" in path:
        raise main.bad(f"it names a file {path[:200]!r}")
    found = safe_name(path[1:])
    if found != path[1:].rstrip("/"):
        raise main.bad(f"it names a file {path[:200]!r}")
    return found


def _device(rdev: int) -> tuple[int, int]:
    # sixteen bits in the header: the old encoding of eight and eight
    return rdev >> 8, rdev & 0xFF


class _Numbered:
    """The files of the header by number, for a payload that says no more of them than that."""

    def __init__(self, files: tuple[FileInfo, ...], where: str) -> None:
        self._files = files
        self._where = where
        self._names: dict[tuple[int, int], list[int]] = {}
        for number, file in enumerate(files):
            if file.kind == "file" and not file.flags & GHOST and file.inode[1]:
                self._names.setdefault(file.inode, []).append(number)

    def member(self, number: int) -> Member:
        """What the payload would say of the file with this number. Raises VerifyError."""
        if number >= len(self._files):
            why = f"it names file {number} of {len(self._files)}"
            raise VerifyError("a package's payload does not fit its header", where=self._where, why=why)
        file = self._files[number]
        names = self._names.get(file.inode, [number]) if file.kind == "file" else [number]
        # the content is with the last of several names; a link's target is content too
        size = file.size if file.kind == "symlink" or (file.kind == "file" and names[-1] == number) else 0
        kind = next(bits for bits, kind in _KINDS.items() if kind == file.kind)
        inode = (0, *file.inode)
        return Member(file.path, kind | file.mode, inode, len(names), file.mtime, size, file.device)


class _Unpacking:
    """The members of a payload matched with the files of the header."""

    def __init__(self, package: RpmFile, reader: CpioReader) -> None:
        self._where = package.where
        self._files = {file.path: file for file in package.files}
        self._reader = reader
        self._seen: set[str] = set()
        self._whole: dict[tuple[int, int, int], str] = {}
        self._waiting: dict[tuple[int, int, int], list[FileInfo]] = {}

    def run(self) -> Iterator[Content]:
        for member in self._reader:
            file = self._match(member)
            if file.kind == "file" and member.links > 1:
                yield from self._linked(file, member)
            else:
                yield self._content(file, member)
        for files in self._waiting.values():
            # all names of an empty file, or of one whose content the package left out
            if files[0].size:
                raise self._bad(f"{files[0].path!r} has no content")
            yield Content("file", files[0], iter(()))
            yield from (Content("hardlink", file, iter(()), files[0].path) for file in files[1:])

    def _linked(self, file: FileInfo, member: Member) -> Iterator[Content]:
        """One name of several: rpm puts the content to the last of them."""
        target = self._whole.get(member.inode)
        if target is not None:
            if member.size:
                raise self._bad(f"{file.path!r} has content twice")
            yield Content("hardlink", file, iter(()), target)
        elif member.size:
            self._whole[member.inode] = file.path
            yield self._content(file, member)
            for other in self._waiting.pop(member.inode, ()):
                yield Content("hardlink", other, iter(()), file.path)
        else:
            self._waiting.setdefault(member.inode, []).append(file)

    def _content(self, file: FileInfo, member: Member) -> Content:
        if file.kind == "symlink":
            if member.size > _MAX_LINK:
                raise self._bad(f"the link {file.path!r} is too long")
            target = b"".join(self._reader.chunks()).decode("utf-8", "surrogateescape")
            if target != file.link or not target or "\0" in target:
                raise self._bad(f"the link {file.path!r} leads elsewhere than the header says")
        elif file.kind == "file":
            if member.size != file.size:
                raise self._bad(f"{file.path!r} has {member.size} bytes, not {file.size}")
            return Content("file", file, self._reader.chunks())
        elif member.size:
            raise self._bad(f"{file.path!r} is a {file.kind} with content")
        return Content(file.kind, file, iter(()))

    def _match(self, member: Member) -> FileInfo:
        path = safe_name(member.name[1:] if member.name.startswith("/") else member.name)
        file = self._files.get(path)
        if file is None:
            raise self._bad(f"it holds {path!r}, which the header does not name")
        if path in self._seen:
            raise self._bad(f"it holds {path!r} twice")
        if _KINDS.get(stat.S_IFMT(member.mode)) != file.kind:
            raise self._bad(f"{path!r} is of another type than the header says")
        self._seen.add(path)
        return file

    def _bad(self, why: str) -> VerifyError:
        return VerifyError("a package's payload does not fit its header", where=self._where, why=why)
