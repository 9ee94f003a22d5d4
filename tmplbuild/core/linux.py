"""The system calls that Python 3.11 lacks, each as a plain function that raises OSError.

Numbers from 424 upwards are the same on every architecture; the older calls go through libc, which
knows its own. Nothing here changes the calling process by being imported.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterable

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE = 32, 4096, 16384, 1 << 18, 1 << 19
MNT_DETACH = 2

MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8
MOUNT_ATTR_IDMAP = 0x00100000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_GET_SECUREBITS, PR_SET_SECUREBITS = 27, 28
PR_SET_CHILD_SUBREAPER = 36
SECBIT_NO_SETUID_FIXUP = 1 << 2

PER_LINUX32 = 0x0008

_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_CLOSE_RANGE, _MOUNT_SETATTR, _QUOTACTL_FD = 436, 442, 443
_OPEN_TREE_CLONE = 1
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_MOVE_MOUNT_F_EMPTY_PATH = 4
_TOP = 0x00020000  # FS_TOPDIR_FL of linux/fs.h
_FSCONFIG_SET_FLAG, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 0, 1, 6

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result


def _bytes(path: str | bytes) -> bytes:
    return os.fsencode(path)


def unshare(flags: int) -> None:
    """Leave the namespaces named by `flags` for new ones (unshare(2))."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, flags: int) -> None:
    """Enter the namespaces of a process, by pidfd (setns(2), Linux 5.8)."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(flags)), "setns")


def mount(source: str, target: str, fstype: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    result = _libc.mount(
        _bytes(source),
        _bytes(target),
        _bytes(fstype) or None,
        ctypes.c_ulong(flags),
        _bytes(options) or None,
    )
    _check(result, f"mount {fstype or source} on {target}")


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2); detaches at once by default."""
    _check(_libc.umount2(_bytes(target), ctypes.c_int(flags)), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    _check(_libc.pivot_root(_bytes(new), _bytes(old)), "pivot_root")


def open_tree(path: str, *, dirfd: int = _AT_FDCWD, recursive: bool = False) -> int:
    """A descriptor of a detached copy of the mount at `path` (open_tree(2), Linux 5.2).

    `path` "" means the place that `dirfd` itself is.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    result = _libc.syscall(
        ctypes.c_long(_OPEN_TREE), ctypes.c_int(dirfd), ctypes.c_char_p(_bytes(path)), ctypes.c_uint(flags)
    )
    return _check(result, f"open_tree {path}")


def move_mount(fd: int, target: str) -> None:
    """Attach a detached mount at `target` (move_mount(2), Linux 5.2)."""
    result = _libc.syscall(
        ctypes.c_long(_MOVE_MOUNT),
        ctypes.c_int(fd),
        ctypes.c_char_p(b""),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(_bytes(target)),
        ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH),
    )
    _check(result, f"move_mount on {target}")


def mount_setattr(fd: int, attributes: int, *, userns: int = 0) -> None:
    """Set attributes of a detached mount, such as its id mapping (mount_setattr(2), Linux 5.12)."""
    attr = struct.pack("=QQQQ", attributes, 0, 0, userns)
    result = _libc.syscall(
        ctypes.c_long(_MOUNT_SETATTR),
        ctypes.c_int(fd),
        ctypes.c_char_p(b""),
        ctypes.c_uint(_AT_EMPTY_PATH),
        ctypes.c_char_p(attr),
        ctypes.c_size_t(len(attr)),
    )
    _check(result, "mount_setattr")


def new_mount(
    fstype: str,
    attributes: int = 0,
    *,
    source: str = "",
    flags: tuple[str, ...] = (),
    options: Iterable[tuple[str, str]] = (),
) -> int:
    """A descriptor of a new file system of that type, attached nowhere (fsopen(2), Linux 5.2).

    Parameters:
        attributes: MOUNT_ATTR_*.
        flags, options: as mount(8) has them, without and with a value; a value has 255 bytes at most.
    """
    context = _check(
        _libc.syscall(ctypes.c_long(_FSOPEN), ctypes.c_char_p(_bytes(fstype)), ctypes.c_uint(1)),
        f"fsopen {fstype}",
    )
    try:
        if source:
            _configure(context, _FSCONFIG_SET_STRING, "source", source)
        for flag in flags:
            _configure(context, _FSCONFIG_SET_FLAG, flag)
        for key, value in options:
            _configure(context, _FSCONFIG_SET_STRING, key, value)
        _configure(context, _FSCONFIG_CMD_CREATE)
        result = _libc.syscall(
            ctypes.c_long(_FSMOUNT), ctypes.c_int(context), ctypes.c_uint(1), ctypes.c_uint(attributes)
        )
        return _check(result, f"fsmount {fstype}")
    finally:
        os.close(context)


def _configure(context: int, command: int, key: str = "", value: str = "") -> None:
    result = _libc.syscall(
        ctypes.c_long(_FSCONFIG),
        ctypes.c_int(context),
        ctypes.c_uint(command),
        _bytes(key) or None,
        _bytes(value) or None,
        ctypes.c_int(0),
    )
    _check(result, f"fsconfig {key} {value}".rstrip())


def quotactl(fd: int, command: int, number: int, data: ctypes.Array[ctypes.c_char]) -> None:
    """Quotas of the file system that `fd` is on (quotactl_fd(2), Linux 5.14); `data` is in and out."""
    result = _libc.syscall(
        ctypes.c_long(_QUOTACTL_FD),
        ctypes.c_uint(fd),
        ctypes.c_uint(command),
        ctypes.c_uint(number),
        data,
    )
    _check(result, "quotactl_fd")


def close_from(low: int) -> None:
    """Close every descriptor from `low` upwards."""
    result = _libc.syscall(
        ctypes.c_long(_CLOSE_RANGE), ctypes.c_uint(low), ctypes.c_uint(0xFFFFFFFF), ctypes.c_uint(0)
    )
    if result < 0:  # before Linux 5.9
        os.closerange(low, os.sysconf("SC_OPEN_MAX"))


def prctl(option: int, value: int = 0) -> int:
    """prctl(2) with one number."""
    result = _libc.prctl(
        ctypes.c_int(option), ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)
    )
    return _check(result, f"prctl {option}")


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that forked it ends."""
    prctl(PR_SET_PDEATHSIG, 9)


def set_name(name: str) -> None:
    """The process's name as ps shows it (at most 15 bytes)."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _libc.prctl(ctypes.c_int(PR_SET_NAME), buffer, ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))


def set_fs_ids(uid: int, gid: int) -> None:
    """The ids that file access is judged by (setfsuid(2), setfsgid(2)). Raises OSError if refused."""
    _libc.setfsgid(ctypes.c_uint(gid))
    _libc.setfsuid(ctypes.c_uint(uid))
    # The calls report no error: the documented way is to ask again with an impossible id.
    if _libc.setfsgid(ctypes.c_uint(0xFFFFFFFF)) != gid or _libc.setfsuid(ctypes.c_uint(0xFFFFFFFF)) != uid:
        raise OSError(1, "the file system ids cannot be set", "setfsuid")


def syncfs(fd: int) -> None:
    """Write all of a file system to disk, that of `fd`. Raises OSError when the disk refuses."""
    _check(_libc.syncfs(ctypes.c_int(fd)), "syncfs")


def exchange(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Have two files or directories change places at once (renameat2(2)). False where the file system, or
    the C library, does not know how to. Raises FileNotFoundError when one of them is not there, OSError."""
    here, flags = ctypes.c_int(_AT_FDCWD), ctypes.c_uint(_RENAME_EXCHANGE)
    names = [ctypes.c_char_p(os.fsencode(name)) for name in (one, other)]
    if not hasattr(_libc, "renameat2"):
        return False
    try:
        _check(_libc.renameat2(here, names[0], here, names[1], flags), f"exchange {other}")
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOSYS):
            return False
        raise
    return True


def spread(folder: str | os.PathLike[str]) -> None:
    """Have the file system take the directories in `folder` for unrelated trees, each with a place of its own
    (chattr(1), T).

    ext4 looks for free inodes beside those of the parent directory. One without a journal passes by all that
    were deleted in the last minutes, again for each new file (0.3 ms where it is 0.01 else): where many trees
    come and go, one costs a quarter more. Nothing happens where a file system does not know of it.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        word = struct.calcsize("l") << 16  # the size of the argument is part of the call's number
        (flags,) = struct.unpack("i", fcntl.ioctl(fd, 0x80006601 | word, bytes(4)))
        if not flags & _TOP:
            fcntl.ioctl(fd, 0x40006602 | word, struct.pack("i", flags | _TOP))
    except OSError:
        pass  # EPERM, ENOTTY, EOPNOTSUPP: it was only advice
    finally:
        os.close(fd)


def make_apart(folder: str) -> None:
    """Make a directory in a folder that is `spread`, in a part of the disk that chance chooses.

    By its name alone, ext4 would take the same part each time, or one close by: where a tree of that name has
    just been deleted. What a killed process left of this is removed; two must not make one name at a time.
    """
    above, name = os.path.split(folder)
    for left in os.listdir(above):
        if left.startswith(f".{name}.") and len(left) == len(name) + 10:
            os.rmdir(os.path.join(above, left))
    draft = os.path.join(above, f".{name}.{os.urandom(4).hex()}")
    os.mkdir(draft)
    os.rename(draft, folder)


def set_personality(persona: int) -> None:
    """The execution domain: PER_LINUX32 makes uname(2) name a 32-bit machine (personality(2))."""
    _check(_libc.personality(ctypes.c_ulong(persona)), "personality")


def unlock_terminal(master: int) -> None:
    """Let the slave end of a new terminal be opened (TIOCSPTLCK)."""
    fcntl.ioctl(master, 0x40045431, struct.pack("i", 0))


def terminal_number(master: int) -> int:
    """The number of the slave end below /dev/pts (TIOCGPTN)."""
    number: int = struct.unpack("i", fcntl.ioctl(master, 0x80045430, b"\0\0\0\0"))[0]
    return number


def take_terminal(slave: int) -> None:
    """Make a terminal the calling session's own (TIOCSCTTY)."""
    fcntl.ioctl(slave, 0x540E, 0)


def loopback_up() -> None:
    """Switch on `lo` in the calling process's network namespace (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh14x", b"lo", 0)
        flags: int = struct.unpack("16sh14x", fcntl.ioctl(sock, 0x8913, request))[1]
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", flags | 1))
