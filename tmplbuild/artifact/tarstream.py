"""The blocks of a tar file: one function makes all that stands before a member's content.

What is written is POSIX ustar (pax(1), "ustar Interchange Format") wherever it fits, and where it
does not, the form that the most readers understand:

- a name or link target too long for ustar: GNU's long-name records ("L", "K"), since busybox
  skips pax headers but reads these, as do GNU tar, libarchive, Python and Go;
- a number too big for its octal field: GNU's base-256 form, for the same reason;
- extended attributes and ACLs: a pax header with star's keywords (SCHILY.xattr.*, SCHILY.acl.*),
  the one form that GNU tar and libarchive both restore.

Names are written as the bytes that they are. There are no user and group names, no atime, no ctime.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache

BLOCK = 512
END = bytes(2 * BLOCK)
"""What ends an archive: two blocks of zeros."""

REGULAR = b"0"
HARDLINK = b"1"
SYMLINK = b"2"
CHARACTER = b"3"
DEVICE = b"4"
DIRECTORY = b"5"
FIFO = b"6"

_PAX = b"x"
_LONG_NAME = b"L"
_LONG_LINK = b"K"
_NAME = 100
_PREFIX = 155
_FIELDS = struct.Struct("100s24s12s12s8x1s100s8s64x16s155s12x")
_IDS = struct.Struct("8s8s8s")
_MAGIC = b"ustar\x0000"
_SUM = 148  # where the eight bytes of the checksum stand; they count as blanks in it
_BLANK_SUM = 8 * 0x20


def padding(size: int) -> bytes:
    """The zeros that fill the last block of `size` bytes of content."""
    return bytes(-size % BLOCK)


def head(
    name: bytes,
    kind: bytes,
    *,
    mode: int,
    uid: int,
    gid: int,
    mtime: int,
    size: int = 0,
    link: bytes = b"",
    device: tuple[int, int] = (0, 0),
    records: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    """All blocks that come before a member's content.

    Parameters:
        name: the member's name as it shall stand in the archive (a directory's ends in "/").
        kind: one of the constants of this module.
        mode: permission bits.
        mtime: seconds since the epoch, not negative.
        size: bytes of content that will follow (0 but for regular files).
        link: target of a symbolic link, or the earlier member's name of a hard link.
        device: major and minor number.
        records: pax records, in the order in which they are to be written.
    """
    blocks = b""
    if records:
        blocks += _extension(b"././@PaxHeader", _PAX, b"".join(pax_record(*one) for one in records))
    short, prefix = split_name(name)
    if not short:
        blocks += _extension(b"././@LongLink", _LONG_NAME, name + b"\0")
        short = name[:_NAME]
    if len(link) > _NAME:
        blocks += _extension(b"././@LongLink", _LONG_LINK, link + b"\0")
        link = link[:_NAME]
    return blocks + _block(short, kind, mode, uid, gid, size, mtime, link, device, prefix)


def split_name(name: bytes) -> tuple[bytes, bytes]:
    """`name` as ustar's name and prefix fields; (b"", b"") where it does not fit them."""
    if len(name) <= _NAME:
        return name, b""
    cut = name.find(b"/", max(len(name) - _NAME - 1, 1), len(name) - 1)
    if cut < 0 or cut > _PREFIX:
        return b"", b""
    return name[cut + 1 :], name[:cut]


def pax_record(key: bytes, value: bytes) -> bytes:
    """One "LENGTH key=value\\n" record; the length counts its own digits (pax(1))."""
    rest = len(key) + len(value) + 3  # the space, the equals sign, the newline
    size = rest + len(str(rest))
    size = rest + len(str(size))
    return b"%d %b=%b\n" % (size, key, value)


def _extension(name: bytes, kind: bytes, data: bytes) -> bytes:
    block = _block(name, kind, 0o644, 0, 0, len(data), 0, b"", (0, 0), b"")
    return block + data + padding(len(data))


def _block(
    name: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    link: bytes,
    device: tuple[int, int],
    prefix: bytes,
) -> bytes:
    fields = (name, _ids(mode, uid, gid), _number(size, 12), _number(mtime, 12), kind, link, _MAGIC)
    block = _FIELDS.pack(*fields, b"%07o\0%07o" % device, prefix)
    return block[:_SUM] + b"%06o\0 " % (_byte_sum(block) + _BLANK_SUM) + block[_SUM + 8 :]


def _byte_sum(block: bytes) -> int:
    """The sum of a block's bytes.

    The low half of an Adler-32 is that sum plus one, modulo 65521 (RFC 1950, 9), and is had far
    quicker than by adding up in Python; only bytes beyond ASCII can make a block's sum overflow it.
    """
    return (zlib.adler32(block) & 0xFFFF) - 1 if block.isascii() else sum(block)


@lru_cache(1024)
def _ids(mode: int, uid: int, gid: int) -> bytes:
    return _IDS.pack(b"%07o" % mode, _number(uid, 8), _number(gid, 8))


def _number(value: int, width: int) -> bytes:
    octal = b"%0*o" % (width - 1, value)
    if len(octal) < width:
        return octal
    raw = bytearray(value.to_bytes(width, "big"))
    raw[0] |= 0x80
    return bytes(raw)
