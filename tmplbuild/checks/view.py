"""What rules look at: a root file system at rest, from a directory or out of a tarball.

All entries are known at once (one walk, or one pass over the tar); contents are read only where a
rule asks. Paths are the tree's own absolute ones, and links are followed inside it as a chroot
would, so that nothing of the host can be seen.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from tmplbuild.checks.known import KnownFiles, Stamp
from tmplbuild.core.tree import Tree
from tmplbuild.errors import HostError
from tmplbuild.managers.dpkg import RealPaths

Kind = Literal["file", "dir", "link", "char", "block", "fifo", "socket"]

READ_LIMIT = 1 << 20
"""Bytes that a rule sees of a file unless it asks for more."""

_DATABASE_LIMIT = 256 << 20  # package databases are read whole; a larger one is no honest one
_MAX_LINKS = 40  # as the kernel's own limit (path_resolution(7))
_KINDS: dict[int, Kind] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "link",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in the tree.

    `mode` are the twelve permission bits, `size` the bytes of a file, `target` where a link points,
    `rdev` a device's major and minor number. `implied`: a directory that a tarball only mentions
    in other names, so its mode and owner are nobody's word. `stamp`: of a file in a directory, what tells
    whether it is still the same.
    """

    path: str
    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int = 0
    target: str = ""
    rdev: tuple[int, int] = (0, 0)
    implied: bool = False
    stamp: Stamp = field(default=(0, 0), compare=False)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something about the archive itself that an honest one has not. `what` is a short word of
    ours (unsafe-name, duplicate, no-end, prefix), `text` says it for people."""

    what: str
    path: str
    text: str


class Contents(Protocol):
    """Where a view's bytes come from."""

    def chunks(self, path: str) -> Iterator[bytes]:
        """The content of the regular file at the real path, piece by piece. Raises OSError."""
        ...

    def xattrs(self, path: str) -> Mapping[str, bytes]:
        """The extended attributes of the real path itself."""
        ...


class View:
    """A root file system for rules to look at. `Tree`'s words for looking are here, too.

    Parameters:
        entries: every name by its path; directories above them that are missing are added.
        contents: where bytes come from.
        oddities: what was wrong with the archive itself.
        packed: true for the view of a tarball.
        known: what the last check of this tree has found of its files.
    """

    def __init__(
        self,
        entries: Mapping[str, Entry],
        contents: Contents,
        *,
        oddities: Iterable[Oddity] = (),
        packed: bool = False,
        known: KnownFiles | None = None,
    ) -> None:
        self._contents = contents
        self._known = known
        self._entries: dict[str, Entry] = {}
        self._children: dict[str, list[str]] = {"/": []}
        self.oddities = tuple(oddities)
        self.packed = packed
        for path in sorted(entries):
            self._add(entries[path])
        for names in self._children.values():
            names.sort()
        self._real = RealPaths(_Names(self._entries))

    @classmethod
    def of_tree(cls, tree: Tree, known: KnownFiles | None = None) -> View:
        """The view of a directory or detached mount. The tree must stay open and unchanged.

        Raises HostError where this user may not look.
        """
        try:
            root = tree.stat("/")
            entries = {path: _entry(path, state) for path, state in tree.walk("/")}
            for path, entry in entries.items():
                if entry.kind == "link":
                    entries[path] = _linked(entry, tree.readlink(path))
        except OSError as error:
            raise HostError(
                "the tree cannot be read", where=str(tree.root), why=str(error), hint="run this as root"
            ) from error
        if root is not None:
            entries["/"] = _entry("/", root)
        return cls(entries, _TreeContents(tree), known=known)

    def _add(self, entry: Entry) -> None:
        self._entries[entry.path] = entry
        if entry.kind == "dir":
            self._children.setdefault(entry.path, [])
        path = entry.path
        while path != "/":
            folder, _, name = path.rpartition("/")
            folder = folder or "/"
            known = folder in self._entries
            self._children.setdefault(folder, []).append(name)
            if known:
                return
            self._entries.setdefault(folder, Entry(folder, "dir", 0o755, 0, 0, implied=True))
            path = folder

    # -- names -----------------------------------------------------------------------------------

    @property
    def entries(self) -> Mapping[str, Entry]:
        """Everything by its real path, parents before children."""
        return self._entries

    def lstat(self, path: str) -> Entry | None:
        """What `path` itself is (a link is not followed), or None."""
        return self._entries.get(self.real(path))

    def real(self, path: str) -> str:
        """Where `path` itself lies once links among its directories are followed."""
        return self._real(path) if path.strip("/") else "/"

    def stat(self, path: str) -> Entry | None:
        """What `path` leads to inside the tree, or None (nothing there, a loop, a way outside /proc)."""
        for _ in range(_MAX_LINKS):
            entry = self.lstat(path)
            if entry is None or entry.kind != "link":
                return entry
            path = entry.target if entry.target.startswith("/") else f"{_above(entry.path)}/{entry.target}"
        return None

    def exists(self, path: str) -> bool:
        """True when `path` leads to something."""
        return self.stat(path) is not None

    def is_file(self, path: str) -> bool:
        """True when `path` leads to a regular file."""
        return _is(self.stat(path), "file")

    def is_dir(self, path: str) -> bool:
        """True when `path` leads to a directory."""
        return _is(self.stat(path), "dir")

    def is_link(self, path: str) -> bool:
        """True when `path` is itself a symbolic link."""
        return _is(self.lstat(path), "link")

    def readlink(self, path: str) -> str:
        """Where the link points. Raises OSError when it is none."""
        entry = self.lstat(path)
        if entry is None or entry.kind != "link":
            raise OSError(errno.EINVAL, "not a symbolic link", path)
        return entry.target

    def listdir(self, path: str) -> list[str]:
        """The sorted names in a directory; empty where there is none."""
        entry = self.stat(path)
        return list(self._children.get(entry.path, ())) if entry else []

    def below(self, path: str) -> Iterator[Entry]:
        """Everything below what `path` leads to, parents first; links are not followed."""
        top = self.stat(path)
        waiting = [top.path] if top else []
        while waiting:
            folder = waiting.pop()
            base = "" if folder == "/" else folder
            names = self._children.get(folder, ())
            yield from (self._entries[f"{base}/{name}"] for name in names)
            waiting += [f"{base}/{name}" for name in reversed(names) if f"{base}/{name}" in self._children]

    def glob(self, *patterns: str) -> list[Entry]:
        """The entries that match one of the patterns, each once, sorted by path.

        `*`, `?` and `[...]` match within a name (a leading dot too, for rubbish likes to hide),
        `**` any number of directories. Links among the directories are followed.
        """
        found: dict[str, Entry] = {}
        for pattern in patterns:
            for entry in self._glob("/", [part for part in pattern.split("/") if part]):
                found[entry.path] = entry
        return [found[path] for path in sorted(found)]

    def _glob(self, folder: str, parts: list[str]) -> Iterator[Entry]:
        base = "" if folder == "/" else folder
        head, rest = parts[0], parts[1:]
        if head == "**":
            folders = [folder, *(entry.path for entry in self.below(folder) if entry.kind == "dir")]
            for one in folders:
                yield from self._glob(one, rest or ["*"])
        elif not any(sign in head for sign in "*?["):
            path = f"{base}/{head}"
            if rest:
                yield from self._glob(path, rest)
            elif entry := self.lstat(path):
                yield entry
        else:
            for name in fnmatch.filter(self.listdir(folder), head):
                path = f"{base}/{name}"
                if rest:
                    yield from self._glob(path, rest)
                elif entry := self.lstat(path):
                    yield entry

    # -- contents --------------------------------------------------------------------------------

    def read(self, path: str, limit: int = READ_LIMIT) -> bytes:
        """At most the first `limit` bytes of the regular file that `path` leads to.

        Empty where there is no such file. Raises HostError where this user may not read.
        """
        entry = self.stat(path)
        if entry is None or entry.kind != "file":
            return b""
        parts, left = [], limit
        for chunk in self._chunks(entry):
            parts.append(chunk[:left])
            left -= len(parts[-1])
            if left <= 0:
                break
        return b"".join(parts)

    def lines(self, path: str) -> list[str]:
        """The lines of a small text file (its first MiB)."""
        return self.read(path).decode("utf-8", "surrogateescape").splitlines()

    def read_bytes(self, path: str) -> bytes:
        """The whole content. Raises OSError for no regular file, or one over 256 MiB."""
        entry = self.stat(path)
        if entry is None or entry.kind != "file":
            raise OSError(errno.ENOENT, "no such file", path)
        if entry.size > _DATABASE_LIMIT:
            raise OSError(errno.EFBIG, "too large to be read whole", path)
        return self.read(path, entry.size)

    def read_text(self, path: str) -> str:
        """The whole content as text. Raises OSError as `read_bytes` does."""
        return self.read_bytes(path).decode("utf-8", "surrogateescape")

    def md5(self, entry: Entry) -> str:
        """The md5 of a regular file, in hex (dpkg's own measure; nothing is secured by it)."""
        if self._known is None:
            return self._md5(entry)
        return self._known.md5(entry.path, entry.stamp, lambda: self._md5(entry))

    def _md5(self, entry: Entry) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in self._chunks(entry):
            digest.update(chunk)
        return digest.hexdigest()

    def xattrs(self, entry: Entry) -> Mapping[str, bytes]:
        """The extended attributes of an entry itself. Raises HostError."""
        known = self._known if entry.kind == "file" else None
        if known is not None and known.is_bare(entry.path, entry.stamp):
            return {}
        try:
            found = self._contents.xattrs(entry.path)
        except OSError as error:
            raise _unreadable(entry, error) from error
        if known is not None and not found:
            known.learn_bare(entry.path, entry.stamp)
        return found

    def _chunks(self, entry: Entry) -> Iterator[bytes]:
        try:
            yield from self._contents.chunks(entry.path)
        except OSError as error:
            raise _unreadable(entry, error) from error


class _Names:
    """The entries as `RealPaths` wants them: names taken as they are."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries

    def is_link(self, path: str) -> bool:
        return _is(self._entries.get(path), "link")

    def readlink(self, path: str) -> str:
        return self._entries[path].target


class _TreeContents:
    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def chunks(self, path: str) -> Iterator[bytes]:
        fd = self._tree.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(fd, "rb", buffering=0) as file:
            while chunk := file.read(1 << 20):
                yield chunk

    def xattrs(self, path: str) -> Mapping[str, bytes]:
        return self._tree.xattrs(path) if path != "/" else {}


def _entry(path: str, state: os.stat_result) -> Entry:
    return Entry(
        path,
        _KINDS[stat.S_IFMT(state.st_mode)],
        stat.S_IMODE(state.st_mode),
        state.st_uid,
        state.st_gid,
        state.st_size,
        rdev=(os.major(state.st_rdev), os.minor(state.st_rdev)),
        stamp=(state.st_ino, state.st_ctime_ns),
    )


def _linked(entry: Entry, target: str) -> Entry:
    return Entry(entry.path, "link", entry.mode, entry.uid, entry.gid, 0, target)


def _is(entry: Entry | None, kind: Kind) -> bool:
    return entry is not None and entry.kind == kind


def _above(path: str) -> str:
    return path.rpartition("/")[0]


def _unreadable(entry: Entry, error: OSError) -> HostError:
    return HostError(
        "a file of the tree cannot be read", where=entry.path, why=str(error), hint="run this as root"
    )
