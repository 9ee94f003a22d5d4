"""Devuan's archive as far as a test needs it: Debian's packages, but for the two by which one is told from
the other, in one archive whose pockets are suites; signed by a throw-away key.

    archive = DevuanArchive(tmp_path, cache)
    with archive.serve() as server:
        f"devuan={server.url}"                             # for --mirror
    archive.recipe()                                       # a recipe that pins the key
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests import ubuntu_debs
from tests.archive_factory import ArchiveFactory, Deb
from tests.archive_server import ArchiveServer
from tests.deb_trees import open_source
from tests.moving_archive import RealDeb
from tests.ubuntu_debs import Change
from tmplbuild.archives.model import Package

INIT = ("sysvinit-core", "sysv-rc", "initscripts", "orphan-sysvinit-scripts", "rsyslog")
SMALL = (*INIT, "ifupdown", "net-tools", "iproute2", "procps", "openssh-server", "cron", "tzdata")
_OS_RELEASE = (
    b'PRETTY_NAME="Devuan GNU/Linux 5 (daedalus)"\nNAME="Devuan GNU/Linux"\nVERSION_ID="5"\nID=devuan\n'
)


class DevuanArchive:
    """An archive below `place`/devuan with daedalus and its pockets.

    Parameters:
        cache: a package cache for what comes from Debian.
        names: packages that it has with all that they need, beside `hello`.
    """

    def __init__(self, place: Path, cache: Path, names: Sequence[str] = SMALL) -> None:
        self.factory = ArchiveFactory(place / "devuan")
        self._names = tuple(names)
        choice = open_source("debian-12", cache).choose([*names, "libyaml-0-2"])
        found = [row for row in choice.full.packages if row.name != "debian-archive-keyring"]
        parcels = [_parcel(row, choice.file(row)) for row in found]
        for pocket, debs in (("", [*parcels, self._keyring()]), ("-updates", []), ("-security", [])):
            suite = f"daedalus{pocket}"
            fields = {"Origin": "Devuan", "Label": "Devuan", "Suite": f"stable{pocket}", "Codename": suite}
            self.factory.suite(suite, debs, fields=fields)

    def serve(self) -> ArchiveServer:
        """A server of the archive (a context manager)."""
        return self.factory.serve()

    def recipe(self) -> str:
        """The text of a recipe like the shipped one, but for the key that it pins and fewer packages."""
        keys = f'keys = ["{self.factory.key.fingerprint}"]'
        return f'extends = "devuan/5"\n[archives.devuan]\n{keys}\n[install]\npackages = {list(self._names)}\n'

    def export_key(self, recipe: str) -> None:
        """Put the certificate where the recipe at this path looks for it."""
        self.factory.key.export(Path(recipe).parent / "keys")

    def _keyring(self) -> Deb:
        rings = (
            "/etc/apt/trusted.gpg.d/devuan-archive-keyring.gpg",
            "/usr/share/keyrings/devuan-archive-keyring.gpg",
        )
        return Deb(
            "devuan-keyring",
            "2023.05.28",
            files=dict.fromkeys(rings, bytes(self.factory.key.certificate)),
            scripts={"conffiles": f"{rings[0]}\n"},
            # Devuan's apt names it; Debian's, which stands in for it, names its own
            fields={"Provides": "debian-archive-keyring"},
        )


@dataclass(frozen=True)
class _BaseFiles(RealDeb):
    """base-files, with the distribution's name in it."""

    def build(self) -> bytes:
        return ubuntu_debs.repacked(self.file, Change(files={"./usr/lib/os-release": _OS_RELEASE}))


def _parcel(package: Package, file: Path) -> RealDeb:
    return (_BaseFiles if package.name == "base-files" else RealDeb)(package, file)
