"""Owners of a plain directory, changed on disk into a VE's range while it runs, and back.

For kernels and file systems that cannot map owners on a mount. The VE's range lies above all ids
that a template uses (`base` is at least 65536), so each file tells by itself in which state it is,
and a change that was cut short can be finished or undone at any time. What chown(2) takes away (set
user id bits, capabilities) is noted beside the directory before the first change.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import struct
from collections.abc import Callable, Iterator

_IDS = 65536
_CAPS = "security.capability"
_ACLS = ("system.posix_acl_access", "system.posix_acl_default")
_CAPS_V2, _CAPS_V3, _CAPS_MASK = 0x02000000, 0x03000000, 0xFF000000
_ACL_NAMED = (0x02, 0x08)  # ACL_USER, ACL_GROUP (linux/posix_acl.h)


def marker(directory: str) -> str:
    """The file beside a directory that says that its owners are shifted, or being shifted."""
    return f"{directory.rstrip('/')}.tmplbuild-owners"


def is_shifted(directory: str) -> bool:
    """True when a directory's owners are not all its own."""
    return os.path.exists(marker(directory))


def shift(directory: str, base: int) -> None:
    """Move all owners into the range that begins at `base`. Raises OSError."""
    _change(directory, base, lambda number: number + base if number < _IDS else number, base)
    _note(directory, {"base": base, "phase": "shifted"})


def restore(directory: str) -> None:
    """Give all owners back, from whatever state a `shift` or `restore` was left in. Raises OSError."""
    note = _read_note(directory)
    base = note["base"]
    assert isinstance(base, int)
    _change(directory, base, lambda number: number - base if base <= number < base + _IDS else number, 0)
    os.unlink(marker(directory))
    _sync(os.path.dirname(marker(directory)))


def _change(directory: str, base: int, move: Callable[[int], int], root: int) -> None:
    note = _read_note(directory)
    special = note.get("special")
    if note.get("phase") != "changing" or not isinstance(special, dict):
        special = dict(_special(directory))
        _note(directory, {"base": base, "phase": "changing", "special": special})
    for path, state in _walk(directory):
        _change_one(path, state, move)
    # An inode that was changed in an earlier, cut short attempt may lack these: all get them anew.
    for name, (mode, caps) in special.items():
        full = os.path.join(os.fsencode(directory), os.fsencode(name))
        if os.path.lexists(full):
            os.chmod(full, mode)
            if caps:
                os.setxattr(full, _CAPS, move_caps(bytes.fromhex(caps), root))


def _special(directory: str) -> Iterator[tuple[str, tuple[int, str]]]:
    """The files from which chown(2) takes something away: relative path, mode, capabilities."""
    for path, state in _walk(directory):
        if not stat.S_ISREG(state.st_mode):
            continue
        caps = _xattr(path, _CAPS)
        if caps or state.st_mode & (stat.S_ISUID | stat.S_ISGID):
            name = os.fsdecode(os.path.relpath(path, os.fsencode(directory)))
            yield name, (stat.S_IMODE(state.st_mode), caps.hex())


def _change_one(path: bytes, state: os.stat_result, move: Callable[[int], int]) -> None:
    uid, gid = move(state.st_uid), move(state.st_gid)
    if (uid, gid) != (state.st_uid, state.st_gid):
        os.chown(path, uid, gid, follow_symlinks=False)
    if stat.S_ISLNK(state.st_mode):
        return
    for name in _ACLS:
        acl = _xattr(path, name)
        moved = move_acl(acl, move)
        if moved != acl:
            os.setxattr(path, name, moved)


def move_caps(caps: bytes, root: int) -> bytes:
    """File capabilities as the namespace whose root is `root` has them (capabilities(7)).

    Version 2 is the host's own (root 0), version 3 names the root.
    """
    magic = struct.unpack_from("<I", caps)[0]
    flags = magic & ~_CAPS_MASK & 0xFFFFFFFF
    sets = caps[4:20]
    if root:
        return struct.pack("<I", _CAPS_V3 | flags) + sets + struct.pack("<I", root)
    return struct.pack("<I", _CAPS_V2 | flags) + sets


def move_acl(acl: bytes, move: Callable[[int], int]) -> bytes:
    """An access control list with the named users and groups moved (acl(5))."""
    out = bytearray(acl)
    for start in range(4, len(acl) - 7, 8):
        tag, _perm, number = struct.unpack_from("<HHI", acl, start)
        if tag in _ACL_NAMED:
            struct.pack_into("<I", out, start + 4, move(number))
    return bytes(out)


def _xattr(path: bytes, name: str) -> bytes:
    try:
        return os.getxattr(path, name, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return b""
        raise


def _walk(directory: str) -> Iterator[tuple[bytes, os.stat_result]]:
    """Every path of the tree with its lstat, the top included; other file systems are left alone."""
    top = os.fsencode(directory)
    state = os.lstat(top)
    device = state.st_dev
    yield top, state
    todo = [top]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                state = entry.stat(follow_symlinks=False)
                if state.st_dev != device:
                    continue
                yield entry.path, state
                if stat.S_ISDIR(state.st_mode):
                    todo.append(entry.path)


def _note(directory: str, content: dict[str, object]) -> None:
    """Write the marker so that it outlives a power cut."""
    path = marker(directory)
    with open(f"{path}.new", "w", encoding="ascii") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{path}.new", path)
    _sync(os.path.dirname(path))


def _sync(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _read_note(directory: str) -> dict[str, object]:
    try:
        with open(marker(directory), encoding="ascii") as file:
            note: dict[str, object] = json.load(file)
    except FileNotFoundError:
        return {}
    return note
