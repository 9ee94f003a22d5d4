"""A VE's disk in a file: an ext4 file system of a fixed size that takes its changes.

Made where a limit on disk space is to be held by the file system itself, and the one below it knows no
project quotas. The file is sparse: it takes what is in use. It is mounted by a loop device that the
kernel frees with the last mount of it, and never in any namespace but the VE's own.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from tmplbuild.core import linux

TYPE_CHECKING = False  # `pathlib` itself would cost the helpers 3 ms
if TYPE_CHECKING:
    from pathlib import Path

UPPER, WORK = "upper", "work"

NEARLY_NOTHING = 2 << 20
"""Bytes below which a disk counts as full: ext4 refuses to write before the very last block."""

_BLOCK = 4096
_SPARE_INODES = 64  # ext4's own, and the two directories
_LOOP_GET_FREE, _LOOP_CONFIGURE = 0x4C82, 0x4C0A
_AUTOCLEAR = 4
_TRIES = 50
_MKFS_TIMEOUT_S = 300.0


def make(path: Path, disk_mib: int, inodes: int | None = None) -> None:
    """Make an image; nothing may be at `path`.

    Parameters:
        disk_mib: its size, MiB; of that, the file system's own tables take a few percent.
        inodes: how many files and directories it can hold; None: as many as mkfs.ext4(8) finds right.

    Raises HostError when mkfs.ext4 is not installed, StageError, OSError.
    """
    from tmplbuild.core.process import run

    draft = path.with_name(f"{path.name}.new")
    with open(draft, "wb") as file:
        file.truncate(disk_mib << 20)
    try:
        count = [] if inodes is None else ["-N", str(inodes + _SPARE_INODES)]
        argv = ["mkfs.ext4", "-q", "-F", "-m", "0", "-b", str(_BLOCK), *count, str(draft)]
        run(
            argv,
            what="make the VE's disk",
            env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"},
            timeout_s=_MKFS_TIMEOUT_S,
        )
        top = opened(str(draft))
        try:
            here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=top)
            for name in (UPPER, WORK):
                os.mkdir(name, 0o755, dir_fd=here)
            os.rmdir("lost+found", dir_fd=here)
            os.close(here)
        finally:
            os.close(top)
        os.rename(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def size_mib(path: Path) -> int:
    """The size of an image, MiB."""
    return path.stat().st_size >> 20


def grow(path: Path, disk_mib: int) -> None:
    """Make an image larger that nobody uses. Raises HostError, StageError, OSError."""
    from tmplbuild.core.process import run

    env = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}
    os.truncate(path, disk_mib << 20)
    # 1: faults were found and mended, as after a crash of the machine (e2fsck(8))
    check = ["e2fsck", "-f", "-p", str(path)]
    run(check, what="check the VE's disk", env=env, timeout_s=_MKFS_TIMEOUT_S, ok=(0, 1))
    run(["resize2fs", str(path)], what="enlarge the VE's disk", env=env, timeout_s=_MKFS_TIMEOUT_S)


def fit(path: Path, disk_mib: int) -> None:
    """Make an image that nobody uses as large as a limit says. Raises HostError when it is larger."""
    from tmplbuild.errors import HostError  # the helpers that only mount need none

    size = size_mib(path)
    if size > disk_mib:
        raise HostError(
            "A VE's disk cannot be made smaller.",
            where=str(path),
            why=f"it has {size} MiB",
            hint="make a new VE",
        )
    if size < disk_mib:
        grow(path, disk_mib)


def opened(path: str) -> int:
    """A detached mount of an image. Raises OSError."""
    loop, device = _attach(path)
    try:
        # Its tables need no zeroing in the background: a new sparse file reads as zeros.
        return linux.new_mount("ext4", source=device, flags=("noinit_itable",))
    finally:
        os.close(loop)  # the mount holds the device now


def _attach(path: str) -> tuple[int, str]:
    """A loop device of the image (loop(4)): its descriptor and path."""
    backing = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_TRIES):
            device = f"/dev/loop{fcntl.ioctl(control, _LOOP_GET_FREE)}"
            loop = os.open(device, os.O_RDWR | os.O_CLOEXEC)
            name = os.fsencode(path)[-63:]
            info = struct.pack("=40xIIII64s64x32x16x", 0, 0, 0, _AUTOCLEAR, name)
            try:
                fcntl.ioctl(loop, _LOOP_CONFIGURE, struct.pack("=II", backing, _BLOCK) + info + bytes(64))
            except OSError as error:
                os.close(loop)
                if error.errno != errno.EBUSY:  # somebody else was quicker
                    raise
            else:
                return loop, device
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), "/dev/loop-control")
    finally:
        os.close(control)
        os.close(backing)


class Held:
    """The use of a file system that holds the limit itself.

    Parameters:
        fd: a descriptor of something on it.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def held(self) -> tuple[int, int]:
        """(bytes, inodes) in use."""
        state = os.fstatvfs(self._fd)
        return (state.f_blocks - state.f_bfree) * state.f_frsize, state.f_files - state.f_ffree

    def full(self) -> list[str]:
        """What there is no more of: "disk", "inodes"."""
        state = os.fstatvfs(self._fd)
        found = {"disk": state.f_bavail * state.f_frsize < NEARLY_NOTHING, "inodes": state.f_favail == 0}
        return [name for name, is_full in found.items() if is_full]
