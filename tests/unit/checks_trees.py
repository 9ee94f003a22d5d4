"""Small root file systems for the tests of the checks: described as data, packed in memory.

A tarball carries owners, device nodes and attributes that an ordinary user could not make on disk.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tmplbuild.checks.tarball import tarball_view
from tmplbuild.checks.view import View


@dataclass(frozen=True)
class Node:
    """One name in a tree."""

    kind: bytes
    data: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    target: str = ""
    rdev: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


Tree = Mapping[str, Node | None]


def file(
    text: str | bytes = "",
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    xattrs: Mapping[str, bytes] | None = None,
) -> Node:
    """A regular file."""
    data = text.encode() if isinstance(text, str) else text
    return Node(tarfile.REGTYPE, data, mode, uid, gid, xattrs=xattrs or {})


def folder(mode: int = 0o755, uid: int = 0, gid: int = 0) -> Node:
    """A directory."""
    return Node(tarfile.DIRTYPE, b"", mode, uid, gid)


def link(target: str) -> Node:
    """A symbolic link."""
    return Node(tarfile.SYMTYPE, mode=0o777, target=target)


def device(major: int, minor: int, *, block: bool = False) -> Node:
    """A device node."""
    return Node(tarfile.BLKTYPE if block else tarfile.CHRTYPE, mode=0o666, rdev=(major, minor))


PROGRAM = file("#!/bin/true\n", 0o755)
SYSTEMD_UNITS = "/usr/lib/systemd/system"

GENERIC: Tree = {
    "/": folder(),
    "/bin": link("usr/bin"),
    "/dev": folder(),
    "/etc": folder(),
    "/etc/fstab": file("# nothing\nproc /proc proc defaults 0 0\n"),
    "/etc/group": file("root:x:0:\nshadow:x:42:\nutmp:x:43:\n"),
    "/etc/hostname": file(),
    "/etc/hosts": file(
        "127.0.0.1\tlocalhost\n::1 localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\n"
    ),
    "/etc/localtime": link("/usr/share/zoneinfo/Etc/UTC"),
    "/etc/machine-id": file(mode=0o444),
    "/etc/mtab": link("../proc/self/mounts"),
    "/etc/os-release": link("../usr/lib/os-release"),
    "/etc/passwd": file("root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:0::/:/usr/sbin/nologin\n"),
    "/etc/resolv.conf": file(),
    "/etc/shadow": file("root:*:19000:0:99999:7:::\nnobody:*:19000::::::\n", 0o640, gid=42),
    "/lib": link("usr/lib"),
    "/proc": folder(0o555),
    "/root": folder(0o700),
    "/run": folder(),
    "/sbin": link("usr/sbin"),
    "/sys": folder(0o555),
    "/tmp": folder(0o1777),
    "/usr": folder(),
    "/usr/bin/su": file("\x7fELF", 0o4755),
    "/usr/lib/os-release": file("NAME=Demo\nID=debian\n"),
    "/usr/sbin/init": link("../lib/systemd/systemd"),
    "/usr/share/zoneinfo/Etc/UTC": file("TZif2"),
    "/var": folder(),
    "/var/log": folder(),
    "/var/log/wtmp": file(mode=0o664, gid=43),
    "/var/tmp": folder(0o1777),
    "/boot": folder(),
}

SYSTEMD: Tree = {
    **GENERIC,
    "/etc/default/locale": file("LANG=C.UTF-8\n"),
    "/etc/systemd/system/getty.target.wants": folder(),
    "/etc/systemd/system/systemd-udevd.service": link("/dev/null"),
    "/usr/lib/systemd/systemd": file("\x7fELF", 0o755),
    f"{SYSTEMD_UNITS}/systemd-udevd.service": file("[Service]\n"),
    f"{SYSTEMD_UNITS}/sysinit.target.wants/systemd-udevd.service": link("../systemd-udevd.service"),
    f"{SYSTEMD_UNITS}/console-getty.service": file("[Service]\n"),
}

SYSVINIT: Tree = {
    **GENERIC,
    "/usr/sbin/init": file("\x7fELF", 0o755),
    "/etc/inittab": file(
        "id:2:initdefault:\nsi::sysinit:/etc/init.d/rcS\n#1:2345:respawn:/sbin/getty 38400 tty1\n"
        "co:2345:respawn:/sbin/getty -L console 115200 linux\n"
    ),
    "/etc/init.d/ssh": PROGRAM,
    "/etc/rc2.d/S01ssh": link("../init.d/ssh"),
}

SHIPPED_CONF = "# fresh from the package\n"
STATUS_HEAD = (
    "Package: demo\nEssential: yes\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0-1\n"
    f"Conffiles:\n /etc/demo.conf {hashlib.md5(SHIPPED_CONF.encode(), usedforsecurity=False).hexdigest()}\n"
    "Description: files of the test\n more of it\n"
)


def debian(changes: Tree | None = None) -> dict[str, Node]:
    """A clean Debian tree with systemd; every file below /usr is the package demo's."""
    nodes = dict(SYSTEMD)
    nodes |= {
        "/etc/demo.conf": file("changed by the recipe"),
        "/etc/network/interfaces": file("auto lo\niface lo inet loopback\n"),
        "/etc/apt/sources.list": file("deb http://deb.debian.org/debian bookworm main\n"),
        "/usr/sbin/ifup": file("\x7fELF", 0o755),
        "/usr/sbin/ifconfig": file("\x7fELF", 0o755),
        "/usr/sbin/start-stop-daemon": file("\x7fELF", 0o755),
        "/var/lib/dpkg/diversions": file("/bin/sh\n/bin/sh.distrib\ndash\n"),
        "/var/lib/dpkg/status": file(STATUS_HEAD),
    }
    nodes |= dpkg_lists(nodes)
    return merged(nodes, changes or {})


def dpkg_lists(nodes: Tree) -> dict[str, Node]:
    """dpkg's lists of a package demo that brought all below /usr and /etc/demo.conf."""
    shipped = {path: node for path, node in nodes.items() if path.startswith("/usr/") and node}
    names = ["/.", "/etc", "/etc/demo.conf", "/usr", *shipped]
    sums = [
        f"{hashlib.md5(node.data, usedforsecurity=False).hexdigest()}  {path[1:]}"
        for path, node in shipped.items()
        if node.kind == tarfile.REGTYPE
    ]
    return {
        "/var/lib/dpkg/info/demo.list": file("\n".join(names) + "\n"),
        "/var/lib/dpkg/info/demo.md5sums": file("\n".join(sums) + "\n"),
    }


def alt(changes: Tree | None = None) -> dict[str, Node]:
    """A clean ALT tree: rpm, sysvinit, tcb, etcnet."""
    nodes = dict(SYSVINIT)
    nodes |= {
        "/etc/altlinux-release": file("ALT Starterkit p10\n"),
        "/etc/net/ifaces/lo/options": file("TYPE=lo\n"),
        "/etc/net/ifaces/default/options": file("TYPE=eth\n"),
        "/etc/pam.d/system-auth-local": file("auth required pam_tcb.so shadow\n"),
        "/etc/rpm/macros": file("%_install_langs all\n"),
        "/etc/tcb/root/shadow": file("root:!*:19000::::::\n", 0o640),
        "/var/lib/rpm/Packages": file("rpmdb"),
    }
    return merged(nodes, changes or {})


def sysvinit(changes: Tree | None = None) -> dict[str, Node]:
    """A clean tree with sysvinit and no package manager."""
    return merged(SYSVINIT, changes or {})


def merged(nodes: Tree, changes: Tree) -> dict[str, Node]:
    """`nodes` with `changes`: a node replaces, None takes away (with all below)."""
    gone = [path for path, node in changes.items() if node is None]
    kept = {
        path: node
        for path, node in {**nodes, **changes}.items()
        if node
        and not any(path == one or (path.startswith(one + "/") and path not in changes) for one in gone)
    }
    return dict(sorted(kept.items()))


def packed(nodes: Tree, prefix: str = ".") -> bytes:
    """The tree as an uncompressed tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, node in nodes.items():
            if node is not None:
                info = tarfile.TarInfo(f"{prefix}{path}" if path != "/" else f"{prefix or '.'}/")
                info.type, info.mode, info.uid, info.gid = node.kind, node.mode, node.uid, node.gid
                info.linkname, info.size = node.target, len(node.data)
                info.devmajor, info.devminor = node.rdev
                info.pax_headers = {
                    f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape")
                    for name, value in node.xattrs.items()
                }
                tar.addfile(info, io.BytesIO(node.data))
    return out.getvalue()


@contextmanager
def view_of(nodes: Tree, tmp_path: Path) -> Iterator[View]:
    """The view of the packed tree."""
    path = tmp_path / "tree.tar"
    path.write_bytes(packed(nodes))
    with tarball_view(path) as view:
        yield view


def unpacked(nodes: Tree, top: Path) -> Path:
    """The tree as a directory, as far as an ordinary user can make it (owners and devices are not)."""
    top.mkdir()
    for path, node in nodes.items():
        here = top / path.lstrip("/")
        if node is None or node.rdev != (0, 0):
            continue
        here.parent.mkdir(parents=True, exist_ok=True)
        if node.kind == tarfile.DIRTYPE:
            here.mkdir(exist_ok=True)
            here.chmod(node.mode)
        elif node.kind == tarfile.SYMTYPE:
            here.symlink_to(node.target)
        else:
            here.write_bytes(node.data)
            here.chmod(node.mode)
    return top
