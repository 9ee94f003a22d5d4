"""Extended attributes as a tar file carries them: which are taken, in which form.

Taken: `security.capability`, `user.*`, and POSIX ACLs. Never `trusted.*` (overlayfs keeps its own
marks there) nor what a host's security module wrote (`security.selinux`, `.ima`, `.evm`, ...).
"""

from __future__ import annotations

import errno
import os
import struct

Record = tuple[bytes, bytes]

_CAPABILITY = "security.capability"
_ACLS = {"system.posix_acl_access": b"SCHILY.acl.access", "system.posix_acl_default": b"SCHILY.acl.default"}

# linux/capability.h: the revision is the top byte of the first word, the lowest bit is "effective".
_REVISION_MASK = 0xFF000000
_REVISION_2 = 0x02000000
_REVISION_3 = 0x03000000
_SIZE_2 = 20

# linux/posix_acl_xattr.h: a version word, then (tag, permissions, id) of each entry.
_ACL_VERSION = 2
_ACL_ENTRY = struct.Struct("<HHI")
_ACL_TAGS = {0x01: "user:", 0x02: "user:", 0x04: "group:", 0x08: "group:", 0x10: "mask:", 0x20: "other:"}
_ACL_NAMED = (0x02, 0x08)


def records(place: int | str) -> list[Record]:
    """The pax records for the attributes of an open file, or of a path (a link is not followed).

    Sorted by attribute name; a filesystem without attributes has none. Raises OSError.
    """
    follow = isinstance(place, int)
    try:
        names = os.listxattr(place, follow_symlinks=follow)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENODATA):
            return []
        raise
    found = []
    for name in sorted(names):
        if name == _CAPABILITY or name in _ACLS or name.startswith("user."):
            try:
                found.append(record(name, os.getxattr(place, name, follow_symlinks=follow)))
            except OSError as error:
                if error.errno != errno.ENODATA:
                    raise
    return found


def record(name: str, value: bytes) -> Record:
    """The pax record of one attribute."""
    if name in _ACLS:
        return _ACLS[name], acl_text(value)
    if name == _CAPABILITY:
        value = plain_capability(value)
    # "=" ends a pax keyword; GNU tar writes and reads it escaped so (its xheader.c).
    key = name.encode("utf-8", "surrogateescape").replace(b"%", b"%25").replace(b"=", b"%3D")
    return b"SCHILY.xattr." + key, value


def plain_capability(value: bytes) -> bytes:
    """A file capability without the user namespace that it was made in (revision 3 becomes 2).

    A template is extracted into namespaces of its own; the root id of the building one is noise
    there, and older kernels refuse it.
    """
    if len(value) <= _SIZE_2:
        return value
    (magic,) = struct.unpack_from("<I", value)
    if magic & _REVISION_MASK != _REVISION_3:
        return value
    return struct.pack("<I", magic & ~_REVISION_MASK | _REVISION_2) + value[4:_SIZE_2]


def acl_text(value: bytes) -> bytes:
    """A binary ACL in acl(5)'s long text form with numeric ids, entries parted by commas.

    Raises ValueError for what is no ACL of version 2.
    """
    if len(value) < 4 or struct.unpack_from("<I", value)[0] != _ACL_VERSION:
        raise ValueError("not a POSIX ACL of version 2")
    entries = []
    for tag, bits, who in _ACL_ENTRY.iter_unpack(value[4:]):
        named = str(who) if tag in _ACL_NAMED else ""
        rights = "".join(sign if bits & bit else "-" for sign, bit in (("r", 4), ("w", 2), ("x", 1)))
        entries.append(f"{_ACL_TAGS[tag]}{named}:{rights}")
    return ",".join(entries).encode()
