"""A stand-in for AlmaLinux's archive: rpm-md in its true format, signed by a throw-away key, with a small
system that boots. The packages are Debian's binaries in RPM packages (`tests.el_packages`); rpm and dnf in
it are real.

    standin = ElStandin(tmp_path, cache)
    standin.publish()
    with standin.serve() as server:
        f"almalinux={server.url}/almalinux"                # for --mirror
    standin.recipes(folder)                                # a recipe that pins its key
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests import el_packages
from tests.alt_debs import DebianBinaries
from tests.aptrpm_factory import Key, certificate, publish_key, throw_away_key
from tests.archive_server import ArchiveServer
from tests.rpm_factory import WHEN, Rpm
from tests.rpmmd_factory import RpmMd

_BASE = frozenset(
    {"setup", "filesystem", "basesystem", "bash", "coreutils", "libc6", "rpm", "dnf", "systemd"}
)

RECIPE = """\
extends = "almalinux/9"
[archives.almalinux]
keys = ["{key}"]
[install]
# What the distribution's systemd brings by itself, Debian's has apart.
add.packages = ["systemd-sysv", "dbus", "tree-like"]
[configure]
# The stand-in's repositories are signed, its packages are not.
add.edits = [
  {{ path = "/etc/yum.repos.d/almalinux.repo", match = "^gpgcheck=1", replace = "gpgcheck=0" }},
]
add.commands = [["systemctl", "enable", "systemd-networkd.service"]]
[configure.files]
"/etc/systemd/network/eth0.network".text = "[Match]\\nName=eth0\\n\\n[Network]\\nDHCP=yes\\n"
[strip]
add.disable = ["systemd-networkd-wait-online.service"]
[check]
network = "networkd"
[check.waive]
network-config-present = "eth0 asks by DHCP until a manager says otherwise"
"""


@dataclass
class ElStandin:
    """An archive below `place`/almalinux.

    Parameters:
        cache: a package cache for what comes from Debian.
    """

    place: Path
    cache: Path
    key: Key = field(default_factory=lambda: throw_away_key("el"))
    _writings: int = 0

    def __post_init__(self) -> None:
        self.archive = RpmMd(self.place / "almalinux", self.key)
        self._debs = DebianBinaries(self.cache, el_packages.DEBIAN, el_packages.NOT_TAKEN).debs()

    def publish(self, more: Iterable[Rpm] = ()) -> None:
        """Write both repositories, or write them anew at a later date, with further packages."""
        self._writings += 1
        made = [*el_packages.packages(self._debs), *more]
        for suite, base in (("9/BaseOS/x86_64/os", True), ("9/AppStream/x86_64/os", False)):
            self.archive.add(*(rpm for rpm in made if (rpm.name in _BASE) == base))
            self.archive.write(suite, date=WHEN + self._writings)

    def serve(self) -> ArchiveServer:
        """A server whose address with /almalinux is the archive's (a context manager)."""
        return ArchiveServer(self.place)

    def recipes(self, folder: Path) -> Path:
        """Write the recipe almalinux-9 below `folder`: the shipped one with the stand-in's key."""
        place = folder / "almalinux"
        publish_key(self.key, place / "keys")
        (place / "9.toml").write_text(RECIPE.format(key=certificate(self.key)[0]))
        return folder
