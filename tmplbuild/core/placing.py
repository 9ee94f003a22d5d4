"""Making files below a root directory, whatever lies there: what all unpacking rests upon.

Every name is looked up from the root's descriptor; links on the way are followed inside the root
only (openat2(2), RESOLVE_IN_ROOT); the last component is never followed (O_EXCL, O_NOFOLLOW); owner,
mode and times are set on the descriptor just made. So nothing can land outside, neither by a
hostile name nor by a link that an earlier member made.
"""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from collections.abc import Iterable

from tmplbuild.core.tree import openat2
from tmplbuild.errors import VerifyError

_MAX_PATH = 4095
_OPEN_PARENTS = 64
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KEPT_XATTRS = ("user.", "security.capability")


def safe_name(name: str) -> str:
    """`name` of an archive's member as a relative path without "." parts ("" for the root itself).

    Raises VerifyError for what no honest archive holds: an absolute name, "..", NUL, or a name
    longer than a path may be.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name or len(os.fsencode(name)) > _MAX_PATH:
        raise VerifyError(
            "an archive holds a name that would leave its root",
            where=repr(name[:200]),
            hint="The archive is hostile or damaged; nothing of it should be used.",
        )
    return "/".join(parts)


def open_below(root_fd: int, path: str, flags: int) -> int:
    """A descriptor of `path` below `root_fd`, links followed inside the root. Raises OSError."""
    return openat2(root_fd, path or ".", flags)


class Placer:
    """Makes directory entries below `root_fd` (which stays the caller's). For one thread.

    The methods take paths as `safe_name` gives them and raise OSError; FileExistsError where
    something has the name already.
    """

    def __init__(self, root_fd: int) -> None:
        self._root = root_fd
        self._parents: OrderedDict[str, int] = OrderedDict()

    def __enter__(self) -> Placer:
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()

    def forget(self) -> None:
        """Close the parents held open: needed after a directory or link has been replaced."""
        while self._parents:
            os.close(self._parents.popitem()[1])

    def parent(self, folder: str) -> int:
        """A descriptor of directory `folder`; it stays the Placer's, and open for a while."""
        fd = self._parents.get(folder)
        if fd is not None:
            self._parents.move_to_end(folder)
            return fd
        fd = open_below(self._root, folder, os.O_PATH | os.O_DIRECTORY)
        self._parents[folder] = fd
        if len(self._parents) > _OPEN_PARENTS:
            os.close(self._parents.popitem(last=False)[1])
        return fd

    def file(
        self,
        path: str,
        content: Iterable[bytes],
        *,
        mode: int,
        uid: int,
        gid: int,
        mtime_ns: int,
        xattrs: dict[str, bytes] | None = None,
        segments: tuple[tuple[int, int], ...] | None = None,
        size: int = 0,
    ) -> None:
        """Make a regular file. With `segments` (offset, length) the content goes there, and the
        file is `size` bytes long with holes between."""
        folder, _, name = path.rpartition("/")
        fd = os.open(name, _CREATE, 0o600, dir_fd=self.parent(folder))
        try:
            if segments is None:
                for chunk in content:
                    _write(fd, chunk)
            else:
                _write_segments(fd, content, segments, size)
            os.fchown(fd, uid, gid)  # always: a directory with setgid gives its group to what is made in it
            os.fchmod(fd, mode)  # after fchown, which clears setuid
            if xattrs:
                _set_xattrs(fd, xattrs)
            os.utime(fd, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(fd)

    def directory(self, path: str, mode: int = 0o700) -> None:
        """Make a directory; `finish_directory` gives it its owner and times when it is filled."""
        folder, _, name = path.rpartition("/")
        os.mkdir(name, mode, dir_fd=self.parent(folder))

    def finish_directory(
        self,
        path: str,
        *,
        mode: int,
        uid: int,
        gid: int,
        mtime_ns: int | None,
        xattrs: dict[str, bytes] | None = None,
    ) -> None:
        """Give a directory (not a link to one) its owner, mode and, unless None, time."""
        folder, _, name = path.rpartition("/")
        fd = os.open(name or ".", _FOLDER, dir_fd=self.parent(folder))
        try:
            os.fchown(fd, uid, gid)
            os.fchmod(fd, mode)
            if xattrs:
                _set_xattrs(fd, xattrs)
            if mtime_ns is not None:
                os.utime(fd, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(fd)

    def symlink(self, path: str, target: str, *, uid: int, gid: int, mtime_ns: int) -> None:
        """Make a symbolic link; its target is not looked at."""
        folder, _, name = path.rpartition("/")
        parent = self.parent(folder)
        os.symlink(target, name, dir_fd=parent)
        os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
        os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=parent, follow_symlinks=False)

    def hardlink(self, path: str, target: str) -> None:
        """Make `path` another name of `target`, a path below the same root (a link is not followed)."""
        folder, _, name = path.rpartition("/")
        target_folder, _, target_name = target.rpartition("/")
        target_parent = self.parent(target_folder)
        os.link(
            target_name,
            name,
            src_dir_fd=target_parent,
            dst_dir_fd=self.parent(folder),
            follow_symlinks=False,
        )

    def node(
        self, path: str, *, kind: int, device: tuple[int, int], mode: int, uid: int, gid: int, mtime_ns: int
    ) -> None:
        """Make a fifo (`kind` stat.S_IFIFO) or a device (S_IFCHR, S_IFBLK; (major, minor))."""
        folder, _, name = path.rpartition("/")
        parent = self.parent(folder)
        os.mknod(name, kind | 0o600, os.makedev(*device), dir_fd=parent)
        os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            if stat.S_IFMT(os.fstat(fd).st_mode) == kind:
                os.chmod(f"/proc/self/fd/{fd}", mode)
        finally:
            os.close(fd)
        os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=parent, follow_symlinks=False)

    def lstat(self, path: str) -> os.stat_result | None:
        """The state of `path` itself, or None."""
        folder, _, name = path.rpartition("/")
        try:
            return os.stat(name or ".", dir_fd=self.parent(folder), follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def remove(self, path: str) -> None:
        """Remove a name that is in the way: a file, a link, or an empty directory."""
        folder, _, name = path.rpartition("/")
        parent = self.parent(folder)
        state = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(state.st_mode):
            os.rmdir(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)
        if stat.S_ISDIR(state.st_mode) or stat.S_ISLNK(state.st_mode):
            self.forget()  # an open parent may have been reached through it


def _write(fd: int, data: bytes) -> None:
    done = os.write(fd, data)
    while done < len(data):
        done += os.write(fd, memoryview(data)[done:])


def _write_segments(
    fd: int, content: Iterable[bytes], segments: tuple[tuple[int, int], ...], size: int
) -> None:
    os.ftruncate(fd, size)
    pending = b""
    chunks = iter(content)
    for offset, length in segments:
        while length:
            pending = pending or next(chunks)
            piece = pending[:length]
            os.lseek(fd, offset, os.SEEK_SET)
            _write(fd, piece)
            pending = pending[len(piece) :]
            offset += len(piece)
            length -= len(piece)


def _set_xattrs(fd: int, xattrs: dict[str, bytes]) -> None:
    """Set those that a template may carry: never trusted.* (an overlay would obey them) or system.*."""
    for key, value in sorted(xattrs.items()):
        if key.startswith(_KEPT_XATTRS):
            os.setxattr(fd, key, value)
