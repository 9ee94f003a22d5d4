"""A stand-in for Arch's archive: its true format, packages signed by a throw-away packager whom throw-away
master keys certify, with a small system that systemd boots. The packages are Debian's binaries; pacman in
it is real.

    standin = ArchStandin(tmp_path, cache)
    standin.publish()
    with standin.serve() as server:
        f"archlinux={server.url}/archlinux"                # for --mirror
    standin.recipes(folder)                                # a recipe that pins its master keys
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from tests import small_system
from tests.alpm_factory import AlpmRepository, MasterKeys, Pkg
from tests.archive_server import ArchiveServer
from tests.rpm_factory import File
from tests.small_system import Part, link

_MORE = (
    "dbus",
    "systemd",
    "systemd-sysv",
    "gpg",
    "gpg-agent",
    "gpgv",
    "gpgconf",
    "makepkg",
    "pacman-package-manager",
)
# What makepkg needs to make packages, of which pacman-key only wants the shell functions.
_MAKING = {
    "fakeroot",
    "libfakeroot",
    "libpkgconf3",
    "patch",
    "pkgconf",
    "pkgconf-bin",
    "texinfo",
    "sensible-utils",
}
_MAKING |= {"libtext-unidecode-perl", "libxml-libxml-perl", "tex-common", "ucf", "libxml-sax-perl"}
_NEEDED = {"gcc-12-base", "libarchive13", "libicu72", "libstdc++6", "libxml2"}
NOT_TAKEN = (small_system.NOT_TAKEN | _MAKING) - _NEEDED
EMPTY = (
    "bash-completion",
    "curl",
    "iputils",
    "less",
    "logrotate",
    "nano",
    "openssh",
    "rsync",
    "sudo",
    "which",
)
EMPTY += ("libgpg-error-l10n",)
_NAMES = {
    "mawk": ("gawk",),
    "passwd": ("shadow",),
    "pacman-package-manager": ("pacman",),
    "systemd-sysv": ("systemd-sysvcompat",),
    "procps": ("procps-ng",),
    "dash": ("sh",),
}
_CONF = b"""\
[options]
HoldPkg = pacman
Architecture = auto
CheckSpace
SigLevel = Required DatabaseOptional
LocalFileSigLevel = Optional

[core]
Include = /etc/pacman.d/mirrorlist

[extra]
Include = /etc/pacman.d/mirrorlist
"""
_OS_RELEASE = b'NAME="Arch Linux"\nID=arch\nBUILD_ID=rolling\nPRETTY_NAME="Arch Linux"\n'
RECIPE = """\
extends = "archlinux/rolling"
[archives.archlinux]
keys = {keys}
[install]
add.packages = ["tree-like"]
[check]
install = ["extra-like"]
"""


@dataclass
class ArchStandin:
    """An archive below `place`/archlinux.

    Parameters:
        cache: a package cache for what comes from Debian.
    """

    place: Path
    cache: Path

    def __post_init__(self) -> None:
        self.keys = MasterKeys(self.place / "gnupg")
        self.archive = AlpmRepository(self.place / "archlinux", self.keys)
        self._parts = small_system.debian(self.cache, (*small_system.BASIC, *_MORE), NOT_TAKEN)

    def publish(self, more: Iterable[Pkg] = (), *, database: bool = True) -> None:
        """Write both repositories, or write them anew with further packages."""
        parts = [_changed(part) for part in self._parts]
        base = ("filesystem", "pacman", "systemd", "bash", "archlinux-keyring", *small_system.BASIC)
        parts += [self._filesystem(), self._keyring(), small_system.zones(), Part("base", needs=base)]
        parts += [Part(name) for name in EMPTY]
        extra = Part("extra-like", files=(File("/usr/share/extra", b"extra\n"),))
        self.archive.write("core/os/x86_64", [*map(Pkg, parts), *more], database=database)
        self.archive.write("extra/os/x86_64", [Pkg(extra)], database=database)

    def serve(self) -> ArchiveServer:
        """A server whose address with /archlinux is the archive's (a context manager)."""
        return ArchiveServer(self.place)

    def recipes(self, folder: Path) -> Path:
        """Write the recipe archlinux-rolling below `folder`: the shipped one with the stand-in's keys."""
        place = folder / "archlinux"
        (place / "keys").mkdir(parents=True, exist_ok=True)
        (place / "keys/archlinux.gpg").write_bytes(self.keys.keyring)
        (place / "rolling.toml").write_text(RECIPE.format(keys=self.keys.masters))
        return folder

    def _keyring(self) -> Part:
        trusted = "".join(f"{key}:4:\n" for key in self.keys.masters).encode()
        contents = {".gpg": self.keys.keyring, "-trusted": trusted, "-revoked": b""}
        place = "/usr/share/pacman/keyrings"
        files = [File(f"{place}/archlinux{end}", data) for end, data in contents.items()]
        # where Debian's pacman-key looks
        return Part("archlinux-keyring", files=(*files, link("/usr/share/keyrings", "pacman/keyrings")))

    def _filesystem(self) -> Part:
        files = (
            *small_system.accounts(),
            File("/etc/os-release", _OS_RELEASE),
            File("/etc/arch-release"),
            File("/etc/fstab"),
            File("/etc/pacman.d/mirrorlist", b"## Arch Linux repository mirrorlist\n"),
        )
        return small_system.layout("filesystem", more=files)


def _changed(part: Part) -> Part:
    provides = _NAMES.get(part.name, ())
    if part.name == "pacman-package-manager":
        files = [file for file in part.files if file.path != "/etc/pacman.conf"]
        files.append(File("/etc/pacman.conf", _CONF))
        files += [File(path, mode=0o040755) for path in ("/var/lib/pacman", "/var/cache/pacman/pkg")]
        needs = (*part.needs, "makepkg", "bash", "gpg", "gpg-agent", "archlinux-keyring", "sh")
        return replace(part, provides=provides, files=tuple(files), needs=needs, config=("/etc/pacman.conf",))
    if part.name == "dash":
        return replace(part, provides=provides, files=(*part.files, link("/usr/bin/sh", "dash")))
    return replace(part, provides=provides)
