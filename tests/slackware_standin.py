"""A stand-in for Slackware's archive: its true format, signed by a throw-away key, with a small system
that sysvinit boots by scripts in /etc/rc.d. The packages are Debian's binaries; pkgtools and slackpkg are
stand-ins (`tests/slackware_files`).

    standin = SlackwareStandin(tmp_path, cache)
    standin.publish()
    with standin.serve() as server:
        f"slackware={server.url}/slackware"                # for --mirror
    standin.recipes(folder)                                # a recipe that pins its key
"""

from __future__ import annotations

import hashlib
import lzma
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests import small_system
from tests.archive_factory import Key
from tests.archive_server import ArchiveServer
from tests.rpm_factory import File
from tests.small_system import Part, script, tar_of

_MORE = ("diffutils", "net-tools", "sysvinit-core", "wget")
NOT_TAKEN = (small_system.NOT_TAKEN | {"insserv", "initscripts", "startpar", "sysv-rc"}) - {"diffutils"}
# What has another name, or is in a package of another name, here.
_NAMES = {
    "mawk": "gawk",
    "passwd": "shadow",
    "xz-utils": "xz",
    "sysvinit-core": "sysvinit",
    "procps": "procps-ng",
    "libc6": "aaa_glibc-solibs",
}
_SCRIPTED = frozenset({"gawk", "xz"})
EMPTY = (
    "acl",
    "attr",
    "ca-certificates",
    "cracklib",
    "curl",
    "dbus",
    "dcron",
    "devs",
    "dhcpcd",
    "elogind",
    "etc",
    "file",
)
EMPTY += (
    "gnupg",
    "iputils",
    "less",
    "libcap",
    "libpwquality",
    "logrotate",
    "nano",
    "network-scripts",
    "openssh",
)
EMPTY += (
    "openssl",
    "pam",
    "patch",
    "rsync",
    "sudo",
    "sysklogd",
    "sysvinit-functions",
    "tree",
    "vim",
    "which",
    "zip",
)
EMPTY += ("aaa_libraries", "slackpkg")
_INITTAB = """\
id:3:initdefault:
si:S:sysinit:/etc/rc.d/rc.S
rc:2345:wait:/etc/rc.d/rc.M
ca::ctrlaltdel:/sbin/shutdown -t5 -r now
l0:0:wait:/etc/rc.d/rc.0
c1:12345:respawn:/sbin/agetty --noclear 38400 tty1 linux
"""
_RC = {
    "rc.S": "mkdir -p /run/lock\n",
    "rc.M": (
        'hostname "$(cat /etc/HOSTNAME)"\nip link set lo up\n'
        "[ ! -x /etc/rc.d/rc.local ] || . /etc/rc.d/rc.local\n"
    ),
    "rc.0": "/sbin/halt -dfp\n",
    "rc.udev": "exit 1\n",
}
_OS_RELEASE = (
    b'NAME=Slackware\nVERSION="15.0"\nID=slackware\nVERSION_ID=15.0\nPRETTY_NAME="Slackware 15.0 x86_64"\n'
)
RECIPE = """\
extends = "slackware/15.0"
[archives.slackware]
keys = ["{key}"]
[install]
add.packages = {more}
"""


@dataclass(frozen=True)
class Txz:
    """A package: `build` is the number at its file's end; `series` its directory."""

    part: Part
    build: int = 1
    series: str = "a"

    @property
    def filename(self) -> str:
        """The file's name."""
        return f"{self.part.name}-{self.part.version}-x86_64-{self.build}.txz"

    def made(self) -> bytes:
        """The package's file. Links of some packages are made by its script, as makepkg(8) has it."""
        files = list(self.part.files)
        lines = []
        if self.part.name in _SCRIPTED:
            for file in [one for one in files if stat.S_ISLNK(one.mode)]:
                files.remove(file)
                folder, _, name = file.path[1:].rpartition("/")
                lines.append(
                    f"( cd {folder} ; rm -rf {name} )\n( cd {folder} ; ln -sf {file.data.decode()} {name} )\n"
                )
        for path in self.part.config:
            at = next(number for number, one in enumerate(files) if one.path == path)
            files[at] = replace(files[at], path=f"{path}.new")
            lines.append(_CONFIG.format(path=path[1:]))
        lines.append(self.part.scripts.get("post", ""))
        files.append(File("/install/slack-desc", b"a test\n"))
        if "".join(lines):
            files.append(File("/install/doinst.sh", "".join(lines).encode()))
        return lzma.compress(tar_of(files, prefix="./"), preset=1)


# A configuration that nobody changed, or that is not there, becomes the new one; else it stays beside it.
_CONFIG = """\
if [ ! -r {path} ]; then mv {path}.new {path}
elif cmp -s {path} {path}.new; then rm {path}.new; fi
"""


@dataclass
class SlackwareStandin:
    """An archive below `place`/slackware.

    Parameters:
        cache: a package cache for what comes from Debian.
    """

    place: Path
    cache: Path
    key: Key = field(default_factory=Key)

    def __post_init__(self) -> None:
        parts = small_system.debian(self.cache, (*small_system.BASIC, *_MORE), NOT_TAKEN)
        self._parts = [_changed(replace(part, name=_NAMES.get(part.name, part.name))) for part in parts]

    def publish(self, patches: Iterable[Txz] = ()) -> None:
        """Write the tree, with these packages in patches/."""
        parts = [*self._parts, _base(), _pkgtools(), _scripts(), small_system.zones("glibc-zoneinfo")]
        parts += [Part(name) for name in EMPTY if name not in {part.name for part in parts}]
        top = self.place / "slackware/slackware64-15.0"
        later = {f"patches/packages/{one.filename}": one for one in patches}
        files = {f"slackware64/{one.series}/{one.filename}": one for one in map(Txz, parts)}
        for path, one in (files | later).items():
            self._put(top / path, one)
        self._index(
            top / "patches", {path.removeprefix("patches/"): one for path, one in later.items()}, "patches/"
        )
        (top / "GPG-KEY").write_text(str(self.key.certificate))
        more = {path: top / path for path in ("GPG-KEY", "patches/PACKAGES.TXT")}
        self._index(top, files | later, "", more, own=files)

    def lend(self, packages: Iterable[Txz]) -> None:
        """Write another tree, below `place`/lent, signed by the same key."""
        top = self.place / "lent/tree"
        files = {f"{one.series}/{one.filename}": one for one in packages}
        for path, one in files.items():
            self._put(top / path, one)
        self._index(top, files, "")

    def serve(self) -> ArchiveServer:
        """A server whose address with /slackware is the archive's (a context manager)."""
        return ArchiveServer(self.place)

    def recipes(self, folder: Path) -> Path:
        """Write the recipe slackware-15.0 below `folder`: the shipped one with the stand-in's key, and what
        Debian has in packages of its own."""
        place = folder / "slackware"
        self.key.export(place / "keys")
        asked = set(EMPTY) | {"aaa_base", "pkgtools", "sysvinit-scripts", "slackpkg", "glibc-zoneinfo"}
        more = sorted({part.name for part in self._parts} - asked)
        shipped = {
            "bash",
            "coreutils",
            "findutils",
            "gawk",
            "grep",
            "gzip",
            "sed",
            "shadow",
            "tar",
            "util-linux",
        }
        shipped |= {
            "xz",
            "sysvinit",
            "procps-ng",
            "net-tools",
            "iproute2",
            "wget",
            "diffutils",
            "bzip2",
            "hostname",
        }
        names = [name for name in more if name not in shipped | {"aaa_glibc-solibs"}]
        libraries = [name for name in names if name.startswith(("lib", "dash", "debianutils", "ncurses"))]
        text = RECIPE.format(key=self.key.fingerprint, more=[*names, "tree-like"])
        text += f"[bootstrap]\nadd.include = {libraries}\n"
        text = text.replace(
            str([*names, "tree-like"]), str([*(n for n in names if n not in libraries), "tree-like"])
        )
        (place / "15.0.toml").write_text(text)
        return folder

    def _put(self, path: Path, one: Txz) -> None:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(one.made())
            path.with_name(f"{path.name}.asc").write_bytes(self.key.detached(path.read_bytes()))

    def _index(
        self,
        top: Path,
        files: Mapping[str, Txz],
        prefix: str,
        more: Mapping[str, Path] | None = None,
        own: Mapping[str, Txz] | None = None,
    ) -> None:
        rows = ["PACKAGES.TXT;  Wed Feb  2 22:16:37 UTC 2022\n\n"]
        for path, one in sorted((files if own is None else own).items()):
            folder = f"{prefix}{path}".rpartition("/")[0]
            rows.append(f"PACKAGE NAME:  {one.filename}\nPACKAGE LOCATION:  ./{folder}\n")
            rows.append(f"PACKAGE SIZE (compressed):  1 K\nPACKAGE DESCRIPTION:\n{one.part.name}: a test\n\n")
        top.mkdir(parents=True, exist_ok=True)
        (top / "PACKAGES.TXT").write_text("".join(rows))
        listed = (
            {path: top / path for path in files} | dict(more or {}) | {"PACKAGES.TXT": top / "PACKAGES.TXT"}
        )
        lines = ["These are the MD5 message digests for the files in this directory.\n\n"]
        lines += [
            f"{hashlib.md5(file.read_bytes()).hexdigest()}  ./{path}\n"
            for path, file in sorted(listed.items())
        ]
        (top / "CHECKSUMS.md5").write_text("".join(lines))
        (top / "CHECKSUMS.md5.asc").write_bytes(self.key.detached("".join(lines).encode()))


def _changed(part: Part) -> Part:
    if part.name == "sysvinit":
        return replace(
            part, files=tuple(file for file in part.files if not file.path.startswith("/etc/")), config=()
        )
    return replace(part, config=())


def _base() -> Part:
    files = (
        *small_system.accounts(),
        File("/etc/os-release", _OS_RELEASE),
        File("/etc/slackware-version", b"Slackware 15.0\n"),
    )
    return small_system.layout("aaa_base", more=files)


def _scripts() -> Part:
    files = [script(f"/etc/rc.d/{name}", f"#!/bin/sh\n{text}") for name, text in _RC.items()]
    files += [File("/etc/inittab", _INITTAB.encode()), File("/etc/rc.d/rc.inet1.conf", b"# IPADDR[0]=\n")]
    return Part("sysvinit-scripts", files=tuple(files), config=("/etc/inittab",))


def _pkgtools() -> Part:
    here = Path(__file__).with_name("slackware_files")
    files = [script(f"/usr/sbin/{path.name}", path.read_text()) for path in sorted(here.iterdir())]
    return Part("pkgtools", files=tuple(files))
