"""Looking at a tree for packing: every name in it, and its files opened without following a link."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections import OrderedDict
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple

from tmplbuild.artifact.attributes import Record, records
from tmplbuild.core.tree import Tree
from tmplbuild.errors import StoreError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()  # as os.fsencode's, at once
# A name that became a fifo or a device since it was listed must not be waited for.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Entry(NamedTuple):
    """One name of the tree: its path as bytes, relative to the root (the root is b""), and its state.

    `mtime` is in whole seconds, rounded down; `ctime_ns`, the time of the last change of any kind, in
    nanoseconds; `size` in bytes.
    """

    path: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    device: int
    inode: int
    links: int
    rdev: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Scan:
    """All of a tree: directories (parents first) with their attributes, and everything else.

    `size` is the sum of the files' sizes in bytes, names of one inode counted each.
    """

    folders: list[tuple[Entry, list[Record]]]
    others: dict[bytes, Entry]
    size: int


def entry_of(path: bytes, state: os.stat_result) -> Entry:
    """The entry for what stat(2) said of `path`."""
    return Entry(
        path,
        state.st_mode,
        state.st_uid,
        state.st_gid,
        state.st_size,
        state.st_mtime_ns // 1_000_000_000,
        state.st_dev,
        state.st_ino,
        state.st_nlink,
        state.st_rdev,
        state.st_ctime_ns,
    )


def shown(path: bytes) -> str:
    """`path` for a message: absolute in the tree, odd bytes escaped."""
    return "/" + path.decode("utf-8", "backslashreplace").replace("\n", "\\n")


class Folders:
    """Open directories of a tree, a bounded number of them, each opened from its parent.

    Opening name by name with O_NOFOLLOW means that no link, however it came there, is followed;
    and that a path may be longer than PATH_MAX.
    """

    def __init__(self, root: int, keep: int = 200) -> None:
        self._root = root
        self._keep = keep
        self._open: OrderedDict[bytes, int] = OrderedDict()

    def __enter__(self) -> Folders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    def fd(self, path: bytes) -> int:
        """A descriptor of the directory `path`, valid until the next call. Raises OSError."""
        if not path:
            return self._root
        known = self._open.get(path)
        if known is not None:
            self._open.move_to_end(path)
            return known
        parts = path.split(b"/")
        near = len(parts) - 1
        while near and b"/".join(parts[:near]) not in self._open:
            near -= 1
        fd = self.fd(b"/".join(parts[:near])) if near else self._root
        for count in range(near + 1, len(parts) + 1):
            fd = os.open(parts[count - 1], _FOLDER, dir_fd=fd)
            self._open[b"/".join(parts[:count])] = fd
            if len(self._open) > self._keep:
                os.close(self._open.popitem(last=False)[1])
        return fd

    def split(self, path: bytes) -> tuple[int, bytes]:
        """The descriptor of the directory that holds `path`, and the last name. Raises OSError."""
        folder, _, name = path.rpartition(b"/")
        return self.fd(folder), name

    def link(self, path: bytes) -> bytes:
        """The target of the symbolic link `path`. Raises StoreError."""
        try:
            parent, name = self.split(path)
            return os.readlink(name, dir_fd=parent)
        except OSError as error:
            raise unreadable(path, error) from error

    def inode(self, path: bytes) -> tuple[int, int]:
        """Device and inode number of `path` itself. Raises StoreError."""
        try:
            parent, name = self.split(path)
            state = os.stat(name, dir_fd=parent, follow_symlinks=False)
            return state.st_dev, state.st_ino
        except OSError as error:
            raise unreadable(path, error) from error

    def records(self, path: bytes) -> list[Record]:
        """The attributes of a fifo or device, which is not opened. Raises StoreError."""
        try:
            parent, name = self.split(path)
            return records(f"/proc/self/fd/{parent}/{os.fsdecode(name)}")
        except OSError as error:
            raise unreadable(path, error) from error


class Content:
    """A regular file of the tree, open for reading: `with Content(folders, entry) as content`.

    Raises StoreError where it cannot be read, or is not what was listed, or changes its size.
    """

    def __init__(self, folders: Folders, entry: Entry) -> None:
        self._entry = entry
        self._left = entry.size
        self._beyond = bytearray(1)
        try:
            parent, name = folders.split(entry.path)
            self._fd = os.open(name, _FILE, dir_fd=parent)
        except OSError as error:
            raise unreadable(entry.path, error) from error

    def __enter__(self) -> Content:
        try:
            now = os.fstat(self._fd)
            if not stat.S_ISREG(now.st_mode) or (now.st_size, now.st_dev, now.st_ino) != (
                self._entry.size,
                self._entry.device,
                self._entry.inode,
            ):
                raise changed(self._entry.path)
        except BaseException:
            os.close(self._fd)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def records(self) -> list[Record]:
        """The file's attributes as pax records."""
        try:
            return records(self._fd)
        except OSError as error:
            raise unreadable(self._entry.path, error) from error

    def into(self, view: memoryview) -> None:
        """Read the next `len(view)` bytes; with the last of the file, see that there are no more."""
        while view:
            last = len(view) == self._left
            try:
                size = os.readv(self._fd, (view, self._beyond) if last else (view,))
            except OSError as error:
                raise unreadable(self._entry.path, error) from error
            if not size or size > self._left:
                raise changed(self._entry.path)
            self._left -= size
            view = view[size:]


def changed(path: bytes) -> StoreError:
    """The error for a file that is being written to while it is packed."""
    return StoreError(
        "A file of the tree changed while it was being packed.",
        where=shown(path),
        why="its size or identity is no longer what it was when the tree was listed",
        hint="see that no process writes to the tree, then build again",
    )


def unreadable(path: bytes, error: OSError) -> StoreError:
    """The error for a name of the tree that cannot be looked at or read."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
        return changed(path)
    return StoreError("A file of the tree cannot be read.", where=shown(path), why=str(error.strerror))


def scan(tree: Tree) -> Scan:
    """List a whole tree, sockets left out. Raises StoreError where a directory cannot be read.

    Paths are sorted as bytes, whatever the order of the directory or the locale.
    """
    found: list[tuple[Entry, list[Record]]] = []
    others: dict[bytes, Entry] = {}
    with Folders(tree.fd) as folders:
        waiting = [b""]
        while waiting:
            path = waiting.pop()
            try:
                fd = folders.fd(path)
                found.append((entry_of(path, os.fstat(fd)), records(fd)))
                children = _children(fd, path)
            except OSError as error:
                raise unreadable(path, error) from error
            for child in children:
                kind = stat.S_IFMT(child.mode)
                if kind == stat.S_IFDIR:
                    waiting.append(child.path)
                elif kind != stat.S_IFSOCK:
                    others[child.path] = child
    found.sort(key=lambda pair: pair[0].path)
    total = sum(entry.size for entry in others.values() if stat.S_ISREG(entry.mode))
    return Scan(found, dict(sorted(others.items())), total)


def _children(fd: int, path: bytes) -> list[Entry]:
    base = path + b"/" if path else b""
    with os.scandir(fd) as names:
        return [
            entry_of(base + one.name.encode(_ENCODING, _ERRORS), one.stat(follow_symlinks=False))
            for one in names
        ]
