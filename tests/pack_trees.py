"""Trees that are hard to pack, and a description of a tree by which two can be compared."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import stat
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tmplbuild.artifact.pack import Packed, pack
from tmplbuild.core.tree import Tree
from tmplbuild.events import silent

EPOCH = 1_700_000_000
CAPABILITY_2 = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)  # cap_net_raw=ep
CAPABILITY_3 = struct.pack("<6I", 0x03000001, 1 << 13, 0, 0, 0, 1000)
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in (
        (1, 6, 0xFFFFFFFF),
        (2, 4, 1234),
        (4, 4, 0xFFFFFFFF),
        (16, 4, 0xFFFFFFFF),
        (32, 0, 0xFFFFFFFF),
    )
)
CHAIN = "/".join(letter * 250 for letter in "abc")
"""A path of three names of 250 bytes: no ustar header can hold it."""


AS_WRITTEN: dict[str, Any] = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
"""Options of `TarFile.extractall` that change nothing: Debian 12's Python 3.11.2 has no filters yet."""


class Fact(NamedTuple):
    """What must survive packing and unpacking."""

    kind: int
    mode: int
    owner: tuple[int, int]
    mtime: int | None
    content: str
    device: int
    names: frozenset[bytes]
    xattrs: tuple[tuple[str, bytes], ...]


def facts(root: Path, *, xattrs: bool = True, folder_times: bool = True) -> dict[bytes, Fact]:
    """Every path below `root` with what must survive; sockets left out. Times are clamped as pack does.

    Two descriptions are equal if the trees are, whatever inodes they lie in. Without `folder_times`
    a directory's time is None.
    """
    found = dict(_walk(os.fsencode(root)))
    names: dict[tuple[int, int], set[bytes]] = {}
    for path, state in found.items():
        if not stat.S_ISDIR(state.st_mode):
            names.setdefault((state.st_dev, state.st_ino), set()).add(path)
    described = {}
    for path, state in found.items():
        full = os.path.join(os.fsencode(root), path) if path else os.fsencode(root)
        is_folder = stat.S_ISDIR(state.st_mode)
        special = stat.S_ISCHR(state.st_mode) or stat.S_ISBLK(state.st_mode)
        described[path] = Fact(
            stat.S_IFMT(state.st_mode),
            stat.S_IMODE(state.st_mode),
            (state.st_uid, state.st_gid),
            None if is_folder and not folder_times else clamped(state.st_mtime_ns),
            _content(full, state),
            state.st_rdev if special else 0,
            frozenset() if is_folder else frozenset(names[state.st_dev, state.st_ino]),
            tuple(_xattrs(full)) if xattrs else (),
        )
    return described


def as_packed(root: Path, *, xattrs: bool = True) -> dict[bytes, Fact]:
    """The facts that a tree shows once it was packed and restored: directories bear the epoch."""
    described = facts(root, xattrs=xattrs)
    return {
        path: fact._replace(mtime=EPOCH) if fact.kind == stat.S_IFDIR else fact
        for path, fact in described.items()
    }


def clamped(mtime_ns: int) -> int:
    """The whole second that pack writes."""
    return max(0, min(mtime_ns // 10**9, EPOCH))


def differences(one: dict[bytes, Fact], other: dict[bytes, Fact]) -> list[str]:
    """What differs, a line a path (empty: equal)."""
    rows = [f"only in the first: {path!r}" for path in one.keys() - other.keys()]
    rows += [f"only in the second: {path!r}" for path in other.keys() - one.keys()]
    for path in one.keys() & other.keys():
        if one[path] != other[path]:
            pairs = zip(Fact._fields, one[path], other[path], strict=True)
            rows.append(f"{path!r}: {[(name, a, b) for name, a, b in pairs if a != b]}")
    return sorted(rows)


def plain_tree(root: Path) -> None:
    """A tree that an ordinary user can make: names, links, sizes and times that are hard to write."""
    _files(root)
    (root / "usr/bin").mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    _write(root / "usr/bin/one", b"one program\n", 0o755)
    os.link(root / "usr/bin/one", root / "usr/bin/uno")
    _write(root / "usr/bin/two", b"two program\n", 0o755)
    _write(root / "usr/bin/big", bytes(range(256)) * 40_000, 0o755)  # over 8 MiB, over several members
    (root / "usr/long-link").symlink_to("x" * 101)
    (root / "usr/longest-link").symlink_to("y/" * 2000)
    os.mkfifo(root / "usr/fifo", 0o640)
    (root / "closed").mkdir(mode=0o555)
    for path, second in (
        ("etc/zero-time", 0),
        ("etc/before-1970", -5),
        ("etc/far", 2**34),
        ("etc/now", EPOCH),
    ):
        _write(root / path, b"", 0o644)
        os.utime(root / path, (second, second))
    os.utime(root / "usr", (1_000_000_000, 1_000_000_000))


def nasty_tree(root: Path) -> None:
    """`plain_tree` and what only root can make: owners, devices, set-id bits, capabilities, ACLs."""
    plain_tree(root)
    for path in ("usr/bin/one", "etc"):
        os.chown(root / path, 12, 34)
    for number, uid in enumerate((65_534, 2_097_151, 2_097_152, 4_000_000_000)):
        _write(root / f"etc/owner-{number}", b"x", 0o600)
        os.chown(root / f"etc/owner-{number}", uid, uid)
    os.chown(root / "bin", 5, 6, follow_symlinks=False)
    _write(root / "usr/bin/setuid", b"s", 0o755)
    os.chmod(root / "usr/bin/setuid", 0o6755)
    (root / "tmp").mkdir()
    os.chmod(root / "tmp", 0o1777)
    (root / "dev").mkdir()
    os.mknod(root / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "dev/disk", stat.S_IFBLK | 0o660, os.makedev(259, 70_000))
    _write(root / "usr/bin/ping", b"ping", 0o755)
    _set(root / "usr/bin/ping", "security.capability", CAPABILITY_2)
    _set(root / "usr/bin/two", "user.note", b"bytes \x00\xff=\n")
    _set(root / "usr/bin/two", "trusted.secret", b"never")
    _set(root / "etc", "system.posix_acl_default", ACL)
    _write(root / "etc/shared", b"acl", 0o640)
    _set(root / "etc/shared", "system.posix_acl_access", ACL)


def tar_of(path: Path) -> bytes:
    """The uncompressed stream, by Python's own gzip."""
    return gzip.decompress(path.read_bytes())


def _files(root: Path) -> None:
    root.mkdir(exist_ok=True)
    (root / CHAIN).mkdir(parents=True)
    names = [
        "etc/empty",
        "etc/ends with space ",
        "etc/new\nline",
        "etc/tab\tand\\slash",
        "etc/-rf",
        "etc/@at",
        "etc/émigré",
        "etc/..dots",
        CHAIN + "/" + "d" * 255,
        CHAIN + "/short",
    ]
    # ustar's name field holds 100 bytes, its prefix 155: all lengths around both, "./" counted.
    names += ["p" * 50 + "/" + "n" * size for size in (45, 46, 47, 48, 97, 98, 99, 100, 101, 150)]
    names += ["/".join(["q" * 75, "r" * size, "n" * 98]) for size in (74, 75, 76, 77, 78, 79)]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        _write(root / name, name.encode()[:40] if "empty" not in name else b"", 0o644)
    raw = os.path.join(os.fsencode(root), b"etc/not-utf8-\xff\xfe\xe9")
    with open(raw, "wb") as file:
        file.write(b"latin")
    os.chmod(raw, 0o644)
    _write(root / "etc/block", b"b" * 512, 0o444)
    _write(root / "etc/over", b"b" * 513, 0o400)


def _set(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        pytest.skip(
            f"{path} lies on a file system without {name}: set TMPDIR to a place on ext4, xfs or btrfs"
        )


def _write(path: Path, data: bytes, mode: int) -> None:
    path.write_bytes(data)
    path.chmod(mode)


def _walk(root: bytes, base: bytes = b"") -> Iterator[tuple[bytes, os.stat_result]]:
    full = os.path.join(root, base) if base else root
    yield base, os.lstat(full)
    for name in os.listdir(full):
        path = os.path.join(base, name) if base else name
        state = os.lstat(os.path.join(root, path))
        if stat.S_ISDIR(state.st_mode):
            yield from _walk(root, path)
        elif not stat.S_ISSOCK(state.st_mode):
            yield path, state


def _content(full: bytes, state: os.stat_result) -> str:
    if stat.S_ISLNK(state.st_mode):
        return repr(os.readlink(full))
    if stat.S_ISREG(state.st_mode):
        with open(full, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return ""


def _xattrs(full: bytes) -> Iterator[tuple[str, bytes]]:
    for name in sorted(os.listxattr(full, follow_symlinks=False)):
        if name.startswith(("user.", "system.posix_acl")) or name == "security.capability":
            yield name, os.getxattr(full, name, follow_symlinks=False)


def packed(tree: Path, target: Path, **options: Any) -> Packed:
    """Pack `tree` into `target` with plain options; what `pack` returns."""
    defaults: dict[str, Any] = {
        "epoch": EPOCH,
        "owners": {},
        "level": 6,
        "members": None,
        "jobs": 2,
        "emit": silent,
    }
    with Tree(tree) as opened, open(target, "wb") as out:
        return pack(opened, out, **{**defaults, **options})
