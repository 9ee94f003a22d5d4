"""A stopped VE's files shown on the host, where VE_ROOT says, because somebody asked for it.

The one mount that outlives a command of ours and that others see. Nothing in it is set-user-id or a
device for the host.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from tmplbuild.core import Core, Rootfs, linux
from tmplbuild.errors import BusyError, HostError, StoreError


def is_mounted(root: Path) -> bool:
    """Whether something is mounted at a directory."""
    text = str(root)
    for sign in ("\\", " ", "\t", "\n"):
        text = text.replace(sign, f"\\{ord(sign):03o}")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return any(line.split(" ")[4] == text for line in file)


def mount(core: Core, rootfs: Rootfs, root: Path) -> None:
    """Show a tree at a directory, which is made. Raises StoreError, HostError, BusyError."""
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError("the directory cannot be made", where=str(root), why=str(error)) from error
    with core.mounted(rootfs) as fd:
        try:
            linux.mount_setattr(fd, linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV)
            linux.move_mount(fd, str(root))
        except OSError as error:
            raise HostError("the VE cannot be mounted", where=str(root), why=str(error)) from error


def umount(root: Path) -> None:
    """Take it away. Raises BusyError when it is in use."""
    try:
        linux.umount(str(root), 0)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise HostError("the VE cannot be unmounted", where=str(root), why=str(error)) from error
        raise BusyError("the VE is mounted and in use", where=str(root), hint=f"fuser -vm {root}") from error
    os.sync()
