"""A small system that boots, as packages in no particular form: Debian's binaries, and the few that are of no
distribution: accounts, the layout of the file system, a time zone. Stand-ins of several families are made
of it.
"""

from __future__ import annotations

import hashlib
import io
import re
import stat
import tarfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests import alt_packages
from tests.alt_debs import DebianBinaries, merge
from tests.rpm_factory import WHEN, File

BASIC = (
    *("bash", "bsdutils", "bzip2", "coreutils", "dash", "findutils", "grep", "gzip", "hostname", "iproute2"),
    *("libc-bin", "login", "mawk", "mount", "ncurses-base", "passwd", "procps", "sed", "tar", "util-linux"),
    "xz-utils",
)
NOT_TAKEN = alt_packages.NOT_TAKEN
_GROUPS = {
    "root": 0,
    "tty": 5,
    "disk": 6,
    "mail": 8,
    "staff": 50,
    "shadow": 42,
    "utmp": 43,
    "messagebus": 102,
}
_FOLDERS = {
    0o755: "bin boot dev etc home lib lib64 media mnt opt run sbin srv usr usr/bin usr/lib usr/lib64 "
    "usr/libexec usr/local usr/local/bin usr/sbin usr/share var var/cache var/empty var/lib var/log "
    "var/spool var/mail",
    0o555: "proc sys",
    0o700: "root",
    0o1777: "tmp var/tmp",
}
_MERGED = ("bin", "lib", "lib64", "sbin")


@dataclass(frozen=True)
class Part:
    """A package: `needs` and `provides` are names, `scripts` shell text by "post" (after installing)."""

    name: str
    version: str = "1.0"
    needs: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    scripts: Mapping[str, str] = field(default_factory=dict)
    config: tuple[str, ...] = ()


def debian(cache: Path, names: Iterable[str], without: Collection[str] = NOT_TAKEN) -> list[Part]:
    """Debian's packages of these names and what they need, in a tree with /bin in /usr."""
    more = {"mawk": ("/usr/bin/awk", "mawk"), "dash": ("/bin/sh", "dash")}
    parts = []
    for one in DebianBinaries(cache, tuple(names), without).debs():
        files = [*one.files, *([link(*more[one.name])] if one.name in more else [])]
        unique = {file.path: file for file in (merge(file, True) for file in files)}
        parts.append(
            Part(
                one.name.lower(),
                version=plain_version(one.version),
                needs=tuple(names[0] for names in one.needs),
                files=tuple(unique[path] for path in sorted(unique)),
                config=tuple(file.path for file in unique.values() if file.flags),
            )
        )
    return parts


def plain_version(text: str) -> str:
    """The numbers with which a version begins."""
    found = re.match(r"\d+(\.\d+)*", text.partition(":")[2] or text)
    assert found is not None
    return found[0]


def layout(name: str, *, more: Iterable[File] = ()) -> Part:
    """The top directories, with /bin and its like as links into /usr, and further files."""
    files = [
        File(f"/{path}", mode=stat.S_IFDIR | mode)
        for mode, paths in _FOLDERS.items()
        for path in paths.split()
        if path not in _MERGED
    ]
    files += [link(f"/{top}", f"usr/{top}") for top in _MERGED]
    files += [link("/var/run", "../run"), link("/var/lock", "../run/lock")]
    return Part(name, files=(*files, *more))


def accounts() -> tuple[File, ...]:
    """passwd(5) and its kin."""
    rows = alt_packages._PASSWD.splitlines()
    shadow = "".join(f"{row.partition(':')[0]}:*:18000::::::\n" for row in rows)
    pam = "".join(f"{kind} required pam_unix.so\n" for kind in ("auth", "account", "password", "session"))
    return (
        File("/etc/passwd", alt_packages._PASSWD.encode()),
        File("/etc/group", alt_packages._GROUP.encode()),
        File("/etc/shadow", shadow.encode(), 0o100600),
        File("/etc/gshadow", b"", 0o100600),
        File("/etc/hosts", b"127.0.0.1 localhost\n"),
        File("/etc/shells", b"/bin/sh\n/bin/bash\n"),
        File("/etc/profile", b"umask 022\n"),
        File("/etc/nsswitch.conf", b"passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"),
        File("/etc/pam.d/other", pam.encode()),
    )


def zones(name: str = "tzdata") -> Part:
    """A time zone."""
    return Part(name, files=(File("/usr/share/zoneinfo/UTC", alt_packages._UTC),))


def link(path: str, target: str) -> File:
    """A symbolic link."""
    return File(path, target.encode(), mode=0o120777)


def script(path: str, text: str) -> File:
    """A program of ours."""
    return File(path, text.encode(), mode=0o100755)


def tar_of(
    files: Sequence[File],
    *,
    folders: bool = True,
    prefix: str = "",
    headers: bool = False,
    ended: bool = True,
) -> bytes:
    """A tar of these files and, before each, of the directories that lead to it.

    Parameters:
        folders: whether there are directories that no file of these is.
        prefix: of the names ("./").
        headers: whether each file has its SHA-1 in a pax header, as Alpine's have.
        ended: whether the blocks of zeros that end a tar are there.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        seen = {file.path for file in files}
        for file in sorted(files, key=lambda one: one.path):
            for folder in _parents(file.path) if folders else ():
                if folder not in seen:
                    seen.add(folder)
                    tar.addfile(_info(prefix, File(folder, mode=stat.S_IFDIR | 0o755)))
            tar.addfile(_info(prefix, file, headers), io.BytesIO(file.data))
            for name in file.links:
                info = _info(prefix, file)
                info.name, info.type, info.size = f"{prefix}{name[1:]}", tarfile.LNKTYPE, 0
                info.linkname = f"{prefix}{file.path[1:]}"
                tar.addfile(info)
        end = tar.offset
    return out.getvalue() if ended else out.getvalue()[:end]


def _parents(path: str) -> list[str]:
    parts = path.split("/")[1:-1]
    return ["/" + "/".join(parts[: count + 1]) for count in range(len(parts))]


def _info(prefix: str, file: File, headers: bool = False) -> tarfile.TarInfo:
    info = tarfile.TarInfo(f"{prefix}{file.path[1:]}")
    info.mode, info.mtime = file.mode & 0o7777, WHEN
    info.uid, info.gid = _GROUPS.get(file.user, 0), _GROUPS.get(file.group, 0)
    info.uname, info.gname = file.user, file.group
    if stat.S_ISDIR(file.mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(file.mode):
        info.type, info.linkname = tarfile.SYMTYPE, file.data.decode()
    else:
        info.size = len(file.data)
    if headers and not stat.S_ISDIR(file.mode):
        info.pax_headers = {"APK-TOOLS.checksum.SHA1": hashlib.sha1(file.data).hexdigest()}
    return info
