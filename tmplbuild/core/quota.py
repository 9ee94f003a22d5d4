"""Project quotas: a limit on a directory tree that the file system itself holds (quota(5), ext4, xfs).

Where they are switched on (mount option `prjquota`), the directories that take a VE's changes get a
project of their own, and what is made in them belongs to it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Mapping

from tmplbuild.core import linux
from tmplbuild.core.images import NEARLY_NOTHING

_PRJQUOTA = 2
_GETINFO, _GETQUOTA, _SETQUOTA = 0x800005, 0x800007, 0x800008
_LIMITS = 1 | 4  # QIF_BLIMITS | QIF_ILIMITS
_BLOCK = 1024  # the unit of limits (quotactl(2)); what is in use comes in bytes
_QUOTA = struct.Struct("=8QI4x")

_FSGETXATTR, _FSSETXATTR = 0x801C581F, 0x401C5820
_ATTRIBUTES = struct.Struct("=5I8s")
_INHERIT = 0x200

_OURS = 0x4000_0000
"""Projects of VEs: from here, by the directory's inode."""

_ABSENT = (errno.ENOSYS, errno.ESRCH, errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV, errno.ENOTTY)


def usable(directory: str) -> bool:
    """Whether the file system below a directory counts projects. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        linux.quotactl(fd, _GETINFO << 8 | _PRJQUOTA, 0, ctypes.create_string_buffer(64))
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return False
    finally:
        os.close(fd)
    return True


class Project:
    """The project of a VE: `directory` takes its changes, `work` is overlayfs' beside it, or "".

    Both must belong to it, for nothing can be renamed from one project into another.
    """

    def __init__(self, directory: str, work: str) -> None:
        self._fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.number = _OURS | os.fstat(self._fd).st_ino & (_OURS - 1)
        for path in filter(None, (directory, work)):
            _adopt(path, self.number)

    def limit(self, limits: Mapping[str, float]) -> None:
        """Set its limits, "disk_mib" and "inodes"; one that is not named is lifted. Raises OSError."""
        blocks = int(limits.get("disk_mib", 0)) * (1 << 20) // _BLOCK
        inodes = int(limits.get("inodes", 0))
        data = ctypes.create_string_buffer(_QUOTA.pack(blocks, blocks, 0, inodes, inodes, 0, 0, 0, _LIMITS))
        linux.quotactl(self._fd, _SETQUOTA << 8 | _PRJQUOTA, self.number, data)

    def held(self) -> tuple[int, int]:
        """(bytes, inodes) in use."""
        _hard, _soft, size, _ihard, _isoft, inodes, *_rest = self._get()
        return size, inodes

    def full(self) -> list[str]:
        """What there is no more of: "disk", "inodes"."""
        hard, _soft, size, ihard, _isoft, inodes, *_rest = self._get()
        found = {"disk": hard and hard * _BLOCK - size < NEARLY_NOTHING, "inodes": ihard and inodes >= ihard}
        return [name for name, is_full in found.items() if is_full]

    def _get(self) -> tuple[int, ...]:
        data = ctypes.create_string_buffer(_QUOTA.size)
        linux.quotactl(self._fd, _GETQUOTA << 8 | _PRJQUOTA, self.number, data)
        return _QUOTA.unpack(data.raw)


def _adopt(top: str, number: int) -> None:
    """Make a tree, and what will be made in it, belong to a project. Done once: then it is inherited."""
    todo = [top]
    while todo:
        path = todo.pop()
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not _join(fd, number) and path == top:
                return
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                with os.scandir(fd) as found:
                    todo += [f"{path}/{entry.name}" for entry in found if _countable(entry)]
        finally:
            os.close(fd)


def _countable(entry: os.DirEntry[str]) -> bool:
    """Only files and directories can be opened to be given to a project; the rest takes no blocks."""
    return entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)


def _join(fd: int, number: int) -> bool:
    """Give one file or directory to a project. False when it belonged to it before."""
    data = bytearray(_ATTRIBUTES.size)
    fcntl.ioctl(fd, _FSGETXATTR, data)
    flags, extent, extents, project, cow, pad = _ATTRIBUTES.unpack(bytes(data))
    inherits = _INHERIT if stat.S_ISDIR(os.fstat(fd).st_mode) else 0
    if project == number and flags & inherits == inherits:
        return False
    fcntl.ioctl(fd, _FSSETXATTR, _ATTRIBUTES.pack(flags | inherits, extent, extents, number, cow, pad))
    return True
