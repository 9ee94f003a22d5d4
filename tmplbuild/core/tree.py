"""A root file system as files: every path is resolved inside it, whatever links it holds.

A `Tree` is opened on a directory (or on a descriptor of one, such as a detached overlay mount) and
resolves each path with openat2(2) and RESOLVE_IN_ROOT: an absolute symbolic link or a `..` in the
tree can never lead to the host. Paths are the tree's own absolute ones ("/etc/fstab"). No chroot,
no mount; several threads may use one Tree.
"""

from __future__ import annotations

import ctypes
import errno
import fnmatch
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

_SYS_OPENAT2 = 437  # the same number on every architecture
_RESOLVE_NO_XDEV = 0x01
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_IN_ROOT = 0x10

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_libc = ctypes.CDLL(None, use_errno=True)


def openat2(dirfd: int, path: str | bytes, flags: int, mode: int = 0, *, one_mount: bool = False) -> int:
    """Open `path` with `dirfd` as its root directory (openat2(2), Linux 5.6).

    Parameters:
        one_mount: do not go into what is mounted below.

    Raises OSError as open(2) does; EXDEV for what lies in another mount.
    """
    resolve = _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS | (_RESOLVE_NO_XDEV if one_mount else 0)
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve)
    raw = os.fsencode(path) or b"."
    while True:
        fd: int = _libc.syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(dirfd),
            ctypes.c_char_p(raw),
            ctypes.c_char_p(how),
            ctypes.c_size_t(len(how)),
        )
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        # EAGAIN: a rename elsewhere raced with the resolution of "..": the man page says try again.
        if code not in (errno.EINTR, errno.EAGAIN):
            raise OSError(code, os.strerror(code), os.fsdecode(path))


class Tree:
    """The files of a root file system.

    Parameters:
        root: its directory, or an open descriptor of it (which the Tree then owns).
        one_mount: what is mounted below the directory is not there.
    """

    def __init__(self, root: Path | int, *, one_mount: bool = False) -> None:
        self._one_mount = one_mount
        if isinstance(root, int):
            # open_tree(2) gives an O_PATH descriptor, which cannot be listed
            self.fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
            os.close(root)
            self.root = Path(f"/proc/self/fd/{self.fd}")
        else:
            self.fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self.root = root

    def close(self) -> None:
        """Give the descriptor back; twice does no harm."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Tree:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- looking ---------------------------------------------------------------------------------

    def open(self, path: str, flags: int = os.O_RDONLY, mode: int = 0o644) -> int:
        """A descriptor of `path`, links followed inside the tree. Raises OSError."""
        return openat2(self.fd, path, flags, mode if flags & os.O_CREAT else 0, one_mount=self._one_mount)

    def lstat(self, path: str) -> os.stat_result | None:
        """The state of `path` itself (a link is not followed), or None where there is none."""
        return self._stat(path, os.O_PATH | os.O_NOFOLLOW)

    def stat(self, path: str) -> os.stat_result | None:
        """The state of what `path` leads to inside the tree, or None."""
        return self._stat(path, os.O_PATH)

    def _stat(self, path: str, flags: int) -> os.stat_result | None:
        try:
            fd = self.open(path, flags)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EXDEV):
                return None
            raise
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def exists(self, path: str) -> bool:
        """True when `path` leads to something inside the tree."""
        return self.stat(path) is not None

    def is_dir(self, path: str) -> bool:
        """True when `path` leads to a directory."""
        found = self.stat(path)
        return found is not None and stat.S_ISDIR(found.st_mode)

    def is_file(self, path: str) -> bool:
        """True when `path` leads to a regular file."""
        found = self.stat(path)
        return found is not None and stat.S_ISREG(found.st_mode)

    def is_link(self, path: str) -> bool:
        """True when `path` is itself a symbolic link."""
        found = self.lstat(path)
        return found is not None and stat.S_ISLNK(found.st_mode)

    def readlink(self, path: str) -> str:
        """Where the link `path` points. Raises OSError."""
        with _Parent(self, path) as (parent, name):
            return os.readlink(name, dir_fd=parent)

    def read_bytes(self, path: str) -> bytes:
        """The content of a regular file. Raises OSError (a fifo or a device is not read)."""
        fd = self.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            return file.read()

    def read_text(self, path: str) -> str:
        """The content as text; bytes that are not UTF-8 survive a later `write`."""
        return self.read_bytes(path).decode("utf-8", "surrogateescape")

    def listdir(self, path: str) -> list[str]:
        """The sorted names in a directory; an empty list where there is none."""
        try:
            fd = self.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            if error.errno == errno.EXDEV:
                return []
            raise
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def walk(self, top: str = "/") -> Iterator[tuple[str, os.stat_result]]:
        """Every path below `top` with its lstat, sorted by name, parents first; links not followed."""
        base = "/" + top.strip("/")
        try:
            fd = self.open(base, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return
        yield from _walk(fd, "" if base == "/" else base)

    def paths(self, top: str = "/") -> Iterator[str]:
        """Every path below `top` that is no directory, in no order, without looking at what it is."""
        base = "/" + top.strip("/")
        try:
            fd = self.open(base, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return
        waiting = ["" if base == "/" else base]
        os.close(fd)
        while waiting:
            here = waiting.pop()
            fd = self.open(here or "/", _FOLDER)
            try:
                with os.scandir(fd) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(f"{here}/{entry.name}")
                        else:
                            yield f"{here}/{entry.name}"
            finally:
                os.close(fd)

    def glob(self, pattern: str) -> list[str]:
        """The sorted paths that match: `*`, `?` and `[...]` within a name, `**` for any depth.

        As in a shell, a leading dot is matched only by a dot; `**` also descends into dot
        directories. The last component is not followed if it is a link; a pattern without
        wildcards yields the path if it is there.
        """
        parts = [part for part in pattern.split("/") if part]
        return sorted(set(self._glob("", parts)))

    def _glob(self, base: str, parts: list[str]) -> Iterator[str]:
        if not parts:
            if base:
                yield base
            return
        head, rest = parts[0], parts[1:]
        if head == "**":
            yield from self._glob(base, rest)
            for path, state in self.walk(base or "/"):
                if stat.S_ISDIR(state.st_mode):
                    yield from self._glob(path, rest)
                elif not rest:
                    yield path
        elif any(sign in head for sign in "*?["):
            for name in self.listdir(base or "/"):
                if fnmatch.fnmatchcase(name, head) and (name[0] != "." or head[0] == "."):
                    yield from self._glob(f"{base}/{name}", rest)
        elif self.lstat(f"{base}/{head}") is not None:
            yield from self._glob(f"{base}/{head}", rest)

    def xattrs(self, path: str) -> dict[str, bytes]:
        """The extended attributes of `path` itself, sorted by name."""
        with _Parent(self, path) as (parent, name):
            full = f"/proc/self/fd/{parent}/{name}"
            try:
                keys = sorted(os.listxattr(full, follow_symlinks=False))
                return {key: os.getxattr(full, key, follow_symlinks=False) for key in keys}
            except OSError as error:
                if error.errno in (errno.ENOTSUP, errno.ENODATA):
                    return {}
                raise

    # -- changing --------------------------------------------------------------------------------

    def write(
        self,
        path: str,
        data: str | bytes,
        *,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
    ) -> None:
        """Write a whole file: a new one takes the name at once, so nobody sees half of it.

        An existing regular file keeps its mode and owner where none is given; a link at `path`
        is replaced, not followed. Missing parent directories are made (0755, root).
        """
        raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        old = self.lstat(path)
        if old is not None and stat.S_ISREG(old.st_mode):
            mode = stat.S_IMODE(old.st_mode) if mode is None else mode
            uid = old.st_uid if uid is None else uid
            gid = old.st_gid if gid is None else gid
        self.mkdir(os.path.dirname(path) or "/")
        with _Parent(self, path) as (parent, name):
            draft = f".{name[:200]}.tmplbuild-new"
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600, dir_fd=parent)
            with os.fdopen(fd, "wb") as file:
                file.write(raw)
                os.fchown(fd, uid or 0, gid or 0)
                os.fchmod(fd, 0o644 if mode is None else mode)
            os.rename(draft, name, src_dir_fd=parent, dst_dir_fd=parent)

    def truncate(self, path: str) -> None:
        """Empty a regular file in place: owner, mode and name stay. Raises OSError."""
        os.close(self.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK))

    def mkdir(self, path: str, mode: int = 0o755) -> None:
        """Make a directory and its missing parents (those 0755); one that is there is left alone."""
        parts = [part for part in path.split("/") if part]
        for count in range(1, len(parts) + 1):
            here = "/" + "/".join(parts[:count])
            if not self.is_dir(here):
                with _Parent(self, here) as (parent, name):
                    os.mkdir(name, 0o700, dir_fd=parent)
                    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
                    try:  # mkdir's mode goes through the umask; this does not
                        os.fchmod(fd, mode if count == len(parts) else 0o755)
                    finally:
                        os.close(fd)

    def symlink(self, target: str, path: str) -> None:
        """Make `path` a link to `target`, in place of any file or link there."""
        self.mkdir(os.path.dirname(path) or "/")
        with _Parent(self, path) as (parent, name):
            draft = f".{name[:200]}.tmplbuild-new"
            os.symlink(target, draft, dir_fd=parent)
            os.rename(draft, name, src_dir_fd=parent, dst_dir_fd=parent)

    def rename(self, old: str, new: str) -> None:
        """Give `old` the name `new`, replacing a file there (rename(2))."""
        with _Parent(self, old) as (old_parent, old_name), _Parent(self, new) as (new_parent, new_name):
            os.rename(old_name, new_name, src_dir_fd=old_parent, dst_dir_fd=new_parent)

    def chmod(self, path: str, mode: int) -> None:
        """Set the permission bits of what `path` leads to."""
        fd = self.open(path, os.O_PATH)
        try:
            os.chmod(f"/proc/self/fd/{fd}", mode)
        finally:
            os.close(fd)

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Set the owner of `path` itself (a link is not followed)."""
        if not path.strip("/"):
            root = self.open("/", os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fchown(root, uid, gid)
            finally:
                os.close(root)
            return
        with _Parent(self, path) as (parent, name):
            os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)

    def remove(self, path: str) -> bool:
        """Remove a file, a link, or a directory with all in it. False when there was none."""
        try:
            with _Parent(self, path) as (parent, name):
                return _remove(parent, name)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def empty(self, path: str) -> int:
        """Remove all that a directory holds and keep the directory. Returns how many entries went."""
        names = self.listdir(path)
        fd = self.open(path, os.O_RDONLY | os.O_DIRECTORY) if names else -1
        try:
            for name in names:
                _remove(fd, name)
        finally:
            if fd >= 0:
                os.close(fd)
        return len(names)


class _Parent:
    """The open directory that holds `path`, and the last name: `with _Parent(tree, path) as (fd, name)`."""

    def __init__(self, tree: Tree, path: str) -> None:
        clean = path.rstrip("/")
        folder, _, self.name = clean.rpartition("/")
        if self.name in ("", ".", ".."):
            raise OSError(errno.EINVAL, "not a name in the tree", path)
        self.fd = tree.open(folder or "/", os.O_RDONLY | os.O_DIRECTORY)

    def __enter__(self) -> tuple[int, str]:
        return self.fd, self.name

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)


def _walk(fd: int, base: str) -> Iterator[tuple[str, os.stat_result]]:
    # a loop: a generator for each level would pass every path on through all of them
    levels: list[tuple[int, str, Iterator[os.DirEntry[str]]]] = []
    try:
        levels.append((fd, base, _sorted(fd)))
        while levels:
            here, base, entries = levels[-1]
            entry = next(entries, None)
            if entry is None:
                os.close(levels.pop()[0])
                continue
            path = f"{base}/{entry.name}"
            state = entry.stat(follow_symlinks=False)
            yield path, state
            if stat.S_ISDIR(state.st_mode):
                child = os.open(entry.name, _FOLDER, dir_fd=here)
                levels.append((child, path, iter(())))
                levels[-1] = (child, path, _sorted(child))
    finally:
        for here, _, _ in levels:
            os.close(here)


def _sorted(fd: int) -> Iterator[os.DirEntry[str]]:
    with os.scandir(fd) as entries:
        return iter(sorted(entries, key=lambda entry: entry.name))


def _remove(parent: int, name: str) -> bool:
    try:
        state = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(state.st_mode):
        os.unlink(name, dir_fd=parent)
        return True
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        for child in os.listdir(fd):
            _remove(fd, child)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent)
    return True
