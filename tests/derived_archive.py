"""Archives of Debian's heirs as far as a test needs them: Debian's packages, but for the two by which one is
told from the other, in one archive whose pockets are suites; signed by a throw-away key.

    archive = DerivedArchive(DEVUAN, tmp_path, cache)
    with archive.serve() as server:
        f"devuan={server.url}"                             # for --mirror
    archive.recipe()                                       # a recipe that pins the key
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests import ubuntu_debs
from tests.archive_factory import ArchiveFactory, Deb
from tests.archive_server import ArchiveServer
from tests.deb_trees import open_source
from tests.moving_archive import RealDeb
from tests.ubuntu_debs import Change
from tmplbuild.archives.model import Package


@dataclass(frozen=True)
class Heir:
    """A distribution's release.

    Parameters:
        recipe: the shipped one ("devuan/5"); its folder is the archive's role.
        suites: by codename what each calls itself; the first one has the packages.
        keyring: the package of its keys, which are at these `rings`.
        os_release: what its base-files has.
        names: packages that it has with all that they need, beside `hello`.
    """

    recipe: str
    suites: dict[str, str]
    keyring: str
    rings: tuple[str, ...]
    os_release: str
    names: tuple[str, ...]

    @property
    def role(self) -> str:
        """What the recipe calls its archive."""
        return self.recipe.partition("/")[0]


_SMALL = ("ifupdown", "net-tools", "iproute2", "procps", "openssh-server", "cron", "tzdata")
_SYSVINIT = ("sysvinit-core", "sysv-rc", "initscripts", "orphan-sysvinit-scripts", "rsyslog")
DEVUAN = Heir(
    "devuan/5",
    {"daedalus": "stable", "daedalus-updates": "stable-updates", "daedalus-security": "stable-security"},
    "devuan-keyring",
    (
        "/etc/apt/trusted.gpg.d/devuan-archive-keyring.gpg",
        "/usr/share/keyrings/devuan-archive-keyring.gpg",
    ),
    'PRETTY_NAME="Devuan GNU/Linux 5 (daedalus)"\nNAME="Devuan GNU/Linux"\nVERSION_ID="5"\nID=devuan\n',
    (*_SYSVINIT, *_SMALL),
)
KALI = Heir(
    "kali/rolling",
    {"kali-rolling": "kali-rolling"},
    "kali-archive-keyring",
    ("/etc/apt/trusted.gpg.d/kali-archive-keyring.gpg", "/usr/share/keyrings/kali-archive-keyring.gpg"),
    'PRETTY_NAME="Kali GNU/Linux Rolling"\nNAME="Kali GNU/Linux"\nVERSION_ID="2026.4"\nID=kali\n',
    ("systemd-sysv", "dbus", *_SMALL),
)


@dataclass
class DerivedArchive:
    """An archive below `place`, in the folder that its role names.

    Parameters:
        cache: a package cache for what comes from Debian.
    """

    heir: Heir
    place: Path
    cache: Path
    factory: ArchiveFactory = field(init=False)

    def __post_init__(self) -> None:
        heir = self.heir
        self.factory = ArchiveFactory(self.place / heir.role)
        choice = open_source("debian-12", self.cache).choose([*heir.names, "libyaml-0-2"])
        found = [row for row in choice.full.packages if row.name != "debian-archive-keyring"]
        parcels = [self._parcel(row, choice.file(row)) for row in found]
        debs: list[RealDeb | Deb] = [*parcels, self._keyring()]
        for suite, name in heir.suites.items():
            title = heir.role.capitalize()
            fields = {"Origin": title, "Label": title, "Suite": name, "Codename": suite}
            self.factory.suite(suite, debs, fields=fields)
            debs = []

    def serve(self) -> ArchiveServer:
        """A server of the archive (a context manager)."""
        return self.factory.serve()

    def recipe(self) -> str:
        """The text of a recipe like the shipped one, but for the key that it pins and fewer packages."""
        keys = f'keys = ["{self.factory.key.fingerprint}"]'
        role = f"[archives.{self.heir.role}]"
        return (
            f'extends = "{self.heir.recipe}"\n{role}\n{keys}\n[install]\npackages = {list(self.heir.names)}\n'
        )

    def export_key(self, recipe: str) -> None:
        """Put the certificate where the recipe at this path looks for it."""
        self.factory.key.export(Path(recipe).parent / "keys")

    def _keyring(self) -> Deb:
        rings = self.heir.rings
        return Deb(
            self.heir.keyring,
            "2023.05.28",
            files=dict.fromkeys(rings, bytes(self.factory.key.certificate)),
            scripts={"conffiles": f"{rings[0]}\n"},
            # the heir's apt names it; Debian's, which stands in for it, names its own
            fields={"Provides": "debian-archive-keyring"},
        )

    def _parcel(self, package: Package, file: Path) -> RealDeb:
        if package.name == "base-files":
            return _BaseFiles(package, file, os_release=self.heir.os_release)
        return RealDeb(package, file)


@dataclass(frozen=True)
class _BaseFiles(RealDeb):
    """base-files, with the distribution's name in it."""

    os_release: str = ""

    def build(self) -> bytes:
        return ubuntu_debs.repacked(
            self.file, Change(files={"./usr/lib/os-release": self.os_release.encode()})
        )
