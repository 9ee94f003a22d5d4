"""Stand-ins for distributions of rpm-md: their archives in the true format, signed as they sign, with a small
system that boots. The packages are Debian's binaries in RPM packages (`tests.rpmmd_packages`); rpm, dnf and
zypper in them are real.

    standin = Standin(ALMALINUX, tmp_path, cache)
    standin.publish()
    with standin.serve() as server:
        f"almalinux={server.url}/almalinux"                # for --mirror
    standin.recipes(folder)                                # a recipe that pins its key

By hand: python -m tests.rpmmd_standin DIR --serve 8082
"""

from __future__ import annotations

import argparse
import functools
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests import module_lists, rpmmd_packages
from tests.alt_debs import Deb, DebianBinaries
from tests.archive_server import ArchiveServer
from tests.rpm_factory import WHEN, File, Rpm
from tests.rpm_signing import RpmSigner
from tests.rpmmd_factory import PACKAGES, Layout, RpmMd


@dataclass(frozen=True)
class Flavour:
    """A distribution's release.

    Parameters:
        name: its recipe ("almalinux-9").
        suites: where its packages are; those that are named in `first` in the first one.
        later: the suite of what is published beside, the last one of `suites`.
        dist: the release of its packages.
        signed: as in a recipe.
        recipe: what the stand-in needs beside the shipped recipe; {key} is the fingerprint.
        packages: makes them of Debian's.
        layout: of its repositories.
        modules: what the list of modules of the last suite says.
    """

    name: str
    suites: tuple[str, ...]
    dist: str
    recipe: str
    packages: Callable[[Iterable[Deb]], list[Rpm]]
    signed: Literal["index", "packages", "both"] = "index"
    debian: tuple[str, ...] = rpmmd_packages.DNF
    first: frozenset[str] | None = None
    layout: Layout = PACKAGES
    modules: str = ""

    @property
    def role(self) -> str:
        """What the recipe calls its archive, and the name of its folder."""
        return self.name.partition("-")[0]


@dataclass
class Standin:
    """An archive below `place`, in the folder that its role names.

    Parameters:
        cache: a package cache for what comes from Debian.
    """

    flavour: Flavour
    place: Path
    cache: Path
    _writings: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        flavour = self.flavour
        self.signer = RpmSigner(self.place / f"{flavour.name}-key", "rsa2048")
        self.archive = RpmMd(
            self.place / flavour.role,
            None if flavour.signed == "packages" else self.signer,
            None if flavour.signed == "index" else self.signer,
            flavour.layout,
        )
        self._packages = flavour.packages(_debian(self.cache, flavour.debian))

    def publish(self, more: Iterable[Rpm] = ()) -> None:
        """Write all repositories, or write them anew at a later date, with further packages in the last."""
        self._writings += 1
        flavour, *others = self.flavour, *more
        first = flavour.first
        rows = {suite: list[Rpm]() for suite in flavour.suites}
        for rpm in self._packages:
            rows[flavour.suites[0 if first is None or rpm.name in first else -1]].append(rpm)
        rows[flavour.suites[-1]] += others
        for suite, rpms in rows.items():
            self.archive.add(*rpms)
            self.archive.write(suite, date=WHEN + self._writings)
        if flavour.modules:
            self.archive.say_modules(flavour.suites[-1], flavour.modules, date=WHEN + self._writings)

    def relist(self, suite: str) -> None:
        """List what lies in a suite now, at a later date."""
        self._writings += 1
        place = self.archive.root / suite
        self.archive.index(place, date=WHEN + self._writings)
        self.archive.resign(place)

    def serve(self, **options: Any) -> ArchiveServer:
        """A server whose address with the role's folder is the archive's (a context manager).

        Parameters: see `tests.archive_server.ArchiveServer`.
        """
        return ArchiveServer(self.place, **options)

    def recipes(self, folder: Path) -> Path:
        """Write the flavour's recipe below `folder`: the shipped one with the stand-in's key."""
        distro, _, release = self.flavour.name.rpartition("-")
        place = folder / distro
        self.signer.export(place / "keys")
        text = self.flavour.recipe.replace("{key}", self.signer.fingerprint)
        (place / f"{release}.toml").write_text(text)
        return folder


@functools.lru_cache(maxsize=1)
def _debian(cache: Path, names: tuple[str, ...]) -> list[Deb]:
    """Debian's packages, taken apart once for all stand-ins that are made of the same ones."""
    return DebianBinaries(cache, names, rpmmd_packages.NOT_TAKEN).debs()


# What the distributions' systemd bring by themselves, Debian's has apart; eth0 asks by DHCP here.
_COMMON = """\
[install]
add.packages = ["systemd-sysv", "dbus", "tree-like"]
[configure]
add.edits = [{ path = "/etc/tree-like.conf", append = "ours = 1" }]
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


def _enterprise(name: str, title: str) -> Callable[[Iterable[Deb]], list[Rpm]]:
    lines = (
        f'NAME="{title}"\nVERSION="9.9"\nID="{name}"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.9"\n'
        f'PRETTY_NAME="{title} 9.9 (a stand-in)"\nPLATFORM_ID="platform:el9"\n'
    )
    files = (
        File("/etc/redhat-release", f"{title} release 9.9 (a stand-in)\n".encode()),
        rpmmd_packages.repo(f"/etc/yum.repos.d/{name}.repo", "baseos"),
    )
    own = [rpmmd_packages.release(f"{name}-release", lines, files)]
    # the file is one that no list of packages names
    needs = ("/usr/share/zoneinfo/UTC",)
    own += [Rpm("postgresql-server", version=version, requires=needs) for version in ("16.1", "17.0")]
    return lambda debs: rpmmd_packages.packages(debs, "1.el9", own)


def _fedora(release: str) -> Callable[[Iterable[Deb]], list[Rpm]]:
    lines = (
        f'NAME="Fedora Linux"\nVERSION="{release} (a stand-in)"\nID=fedora\nVERSION_ID={release}\n'
        f'PRETTY_NAME="Fedora Linux {release} (a stand-in)"\n'
    )
    files = (
        File("/etc/fedora-release", f"Fedora release {release} (a stand-in)\n".encode()),
        rpmmd_packages.repo("/etc/yum.repos.d/fedora.repo", "fedora"),
    )
    identity = "fedora-release-identity-container"
    own = [
        rpmmd_packages.release("fedora-release-container", lines, files),
        Rpm(identity, arch="noarch", provides=(f"fedora-release-identity = {release}",)),
        # Debian has no dnf 5 yet
        Rpm("dnf5", arch="noarch", requires=("dnf",)),
    ]
    return lambda debs: rpmmd_packages.packages(debs, f"1.fc{release}", own)


def fedora(release: str) -> Flavour:
    """A release of Fedora."""
    return Flavour(
        name=f"fedora-{release}",
        suites=(f"releases/{release}/Everything/x86_64/os", f"updates/{release}/Everything/x86_64"),
        dist=f"1.fc{release}",
        signed="packages",
        recipe=f'extends = "fedora/{release}"\n[archives.fedora]\nkeys = ["{{key}}"]\n' + _COMMON,
        packages=_fedora(release),
    )


ALMALINUX = Flavour(
    name="almalinux-9",
    suites=("9/BaseOS/x86_64/os", "9/AppStream/x86_64/os"),
    dist="1.el9",
    signed="both",
    recipe='extends = "almalinux/9"\n[archives.almalinux]\nsigned = "both"\nkeys = ["{key}"]\n'
    'modules = ["postgresql:16"]\n' + _COMMON.replace('"tree-like"]', '"tree-like", "postgresql-server"]'),
    packages=_enterprise("almalinux", "AlmaLinux"),
    first=frozenset(
        {"setup", "filesystem", "basesystem", "bash", "coreutils", "libc6", "rpm", "dnf", "systemd"}
    ),
    # what comes later is of the stream 16, too
    modules=module_lists.stream("postgresql:16", [f"postgresql-server-0:16.{n}-1.el9.x86_64" for n in (1, 2)])
    + module_lists.stream("postgresql:17", ["postgresql-server-0:17.0-1.el9.x86_64"]),
)

RHEL = Flavour(
    name="rhel-9",
    suites=("content/dist/rhel9/9/x86_64/baseos/os", "content/dist/rhel9/9/x86_64/appstream/os"),
    dist="1.el9",
    signed="packages",
    # who wants a password as well: a mirror of one's own
    recipe='extends = "rhel/9"\n[archives.rhel]\nkeys = ["{key}"]\n[archives.rhel.credentials]\n'
    'authority = "ca.pem"\nuser = "secret:mirror-user"\npassword = "secret:mirror-password"\n' + _COMMON,
    packages=_enterprise("rhel", "Red Hat Enterprise Linux"),
)

FEDORA = fedora("44")


def _opensuse(release: str) -> Callable[[Iterable[Deb]], list[Rpm]]:
    lines = (
        f'NAME="openSUSE Leap"\nID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="{release}"\n'
        f'PRETTY_NAME="openSUSE Leap {release} (a stand-in)"\n'
    )
    product = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<product schemeversion="0">\n<vendor>openSUSE</vendor>\n'
        f"<name>Leap</name><version>{release}</version><release>1</release><arch>x86_64</arch>\n"
        "<register><target>openSUSE-Leap</target></register>\n</product>\n"
    )
    files = (
        File("/etc/products.d/Leap.prod", product.encode()),
        File("/etc/products.d/baseproduct", b"Leap.prod", mode=0o120777),
        File("/etc/SuSE-brand", b"openSUSE\n"),
        rpmmd_packages.repo("/etc/zypp/repos.d/repo-oss.repo", "repo-oss"),
    )
    provides = ("distribution-release", f"product(Leap) = {release}-1")
    own = [
        rpmmd_packages.release("Leap-release", lines, files, provides),
        # the accounts, which SUSE makes by a script
        Rpm("system-user-root", arch="noarch", requires=("setup",)),
    ]
    dist = f"lp{release.replace('.', '')}.1"
    return lambda debs: rpmmd_packages.packages(debs, dist, own, rpmmd_packages.EMPTY_SUSE)


def _leap(release: str, suites: tuple[str, ...], more: str = "") -> Flavour:
    """A release of Leap; `more` stands in its recipe before all tables."""
    return Flavour(
        name=f"opensuse-{release}",
        suites=suites,
        dist=f"lp{release.replace('.', '')}.1",
        recipe=f'extends = "opensuse/{release}"\n{more}[archives.opensuse]\nkeys = ["{{key}}"]\n' + _COMMON,
        packages=_opensuse(release),
        debian=rpmmd_packages.ZYPPER,
    )


LEAP_15 = _leap(
    "15.6",
    ("distribution/leap/15.6/repo/oss", "update/leap/15.6/oss"),
    'drop.archives = ["opensuse-sle", "opensuse-backports"]\n',
)
LEAP_16 = _leap("16.0", ("distribution/leap/16.0/repo/oss/x86_64",))


def _heir(distro: str, version: str, package: str, dist: str) -> Callable[[Iterable[Deb]], list[Rpm]]:
    """The packages of an heir of Mandriva; `package` is the one that says what the system is."""
    title = f"{distro} {version} (a stand-in)"
    lines = (
        f'NAME="{distro}"\nVERSION="{version}"\nID={distro.lower()}\nVERSION_ID="{version}"\n'
        f'ID_LIKE="mandriva fedora"\nPRETTY_NAME="{title}"\n'
    )
    files = (
        File(f"/etc/{distro.lower()}-release", f"{title}\n".encode()),
        rpmmd_packages.repo(f"/etc/yum.repos.d/{distro.lower()}-x86_64.repo", f"{distro.lower()}-x86_64"),
    )
    own = [
        rpmmd_packages.release(package, lines, files),
        Rpm("basesystem-minimal", arch="noarch", requires=("basesystem",)),
    ]
    return lambda debs: rpmmd_packages.packages(debs, dist, own, rpmmd_packages.EMPTY_MAGEIA)


# The packages lie beside `repodata` and urpmi's `media_info`; lists are called by their digests.
MAGEIA = Flavour(
    name="mageia-10",
    suites=("distrib/10/x86_64/media/core/release", "distrib/10/x86_64/media/core/updates"),
    dist="1.mga10",
    signed="packages",
    recipe='extends = "mageia/10"\n[archives.mageia]\nkeys = ["{key}"]\n' + _COMMON,
    packages=_heir("Mageia", "10", "mageia-release-common", "1.mga10"),
    layout=Layout(folder="", options=("--general-compress-type=gz",)),
)


# As ABF publishes: files have the distribution's epoch in their names, which no header and no list has.
OPENMANDRIVA = Flavour(
    name="openmandriva-rome",
    suites=("rolling/repository/x86_64/main/release", "rolling/repository/x86_64/main/updates"),
    dist="1",
    signed="packages",
    recipe='extends = "openmandriva/rome"\n[archives.openmandriva]\nkeys = ["{key}"]\n' + _COMMON,
    packages=_heir("OpenMandriva", "26.90", "distro-release-OpenMandriva", "1"),
    layout=Layout(
        folder="",
        tail="-omv2690",
        options=("--no-database", "--simple-md-filenames", "--general-compress-type=xz"),
    ),
)

_SAY = """\
The stand-ins are served until Ctrl-C. In another terminal, as root:

    export TMPLBUILD_RECIPES={recipes}
"""


def main(words: Sequence[str] | None = None) -> None:
    """Publish the archives of AlmaLinux, Fedora, openSUSE, Mageia and OpenMandriva, say how to build from
    them, and serve them until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.rpmmd_standin", description=main.__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the archives and the recipes go")
    parser.add_argument("--serve", type=int, default=0, metavar="PORT", help="port (one that is free)")
    args = parser.parse_args(words)
    place = args.folder.resolve()
    recipes = place / "recipes"
    flavours = (ALMALINUX, FEDORA, fedora("45"), LEAP_15, LEAP_16, MAGEIA, OPENMANDRIVA)
    for name in [f"{one.name}-key" for one in flavours] + [one.role for one in flavours] + ["recipes"]:
        shutil.rmtree(place / name, ignore_errors=True)  # of an earlier run
    made = [Standin(flavour, place, place / "cache") for flavour in flavours]
    for one in made:
        one.publish([Rpm("tree-like", release=one.flavour.dist)])
        one.recipes(recipes)
    with made[0].serve(port=args.serve) as server, suppress(KeyboardInterrupt):
        sys.stdout.write(_SAY.format(recipes=recipes))
        for one in made:
            role = one.flavour.role
            sys.stdout.write(f"    make template DIST={one.flavour.name} MIRROR={role}={server.url}/{role}\n")
        sys.stdout.flush()
        server.released.wait()


if __name__ == "__main__":
    main()
