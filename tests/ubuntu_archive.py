"""Ubuntu's archive as far as tests need it: Debian's packages republished in Ubuntu's layout.

    archive = UbuntuArchive(tmp_path, cache)
    archive.publish("24.04", names)
    with archive.serve() as server:
        f"ubuntu={server.url}/ubuntu"                       # for --mirror
    archive.recipe("24.04")                                # a recipe that pins the throw-away key

Each release has its three pockets: NOBLE holds all packages, NOBLE-updates a later base-files,
NOBLE-security a later tzdata; some packages are in universe. Packages and Release files are made by
Debian's apt-ftparchive, and signed by a throw-away key. `python -m tests.ubuntu_archive DIR
--serve PORT` publishes all that the shipped recipes ask for, says how to build from it, and serves it.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests import ubuntu_debs
from tests.archive_factory import Key
from tests.archive_server import ArchiveServer
from tests.debian import debian_archives, debian_keys
from tmplbuild.archives import deb, mirrors
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.model import Package
from tmplbuild.archives.wishes import Wishes
from tmplbuild.recipes import load
from tmplbuild.recipes.catalogue import shipped_root

SMALL = (
    "systemd-sysv",
    "dbus",
    "ifupdown",
    "net-tools",
    "iproute2",
    "procps",
    "tzdata",
)
"""Packages of a recipe that a test builds."""


@dataclass(frozen=True)
class Release:
    """An Ubuntu release, and the Debian release whose packages stand in for its own. `dated` is when
    its first pocket was closed."""

    number: str
    codename: str
    debian: str
    dated: str


RELEASES = {
    "22.04": Release("22.04", "jammy", "bookworm", "Thu, 21 Apr 2022 17:16:08 UTC"),
    "24.04": Release("24.04", "noble", "trixie", "Thu, 25 Apr 2024 15:10:33 UTC"),
}
_UNIVERSE = frozenset({"ifupdown", "isc-dhcp-client", "traceroute", "tree"})
_LEFT_OUT = frozenset({"debian-archive-keyring"})
_FTPARCHIVE = """
Dir {{ ArchiveDir "{root}"; CacheDir "{cache}"; OverrideDir "{lists}"; FileListDir "{lists}"; }};
Default {{ Packages::Compress ". gzip xz"; Packages::Extensions ".deb"; }};
TreeDefault {{ FileList "$(DIST)_$(SECTION)"; BinOverride "override"; Directory "pool/none"; }};
"""
_TREE = """
Tree "dists/{pocket}" {{ Sections "main universe"; Architectures "amd64"; FileList "{pocket}_$(SECTION)"; }};
"""


class UbuntuArchive:
    """An archive below `place`/ubuntu.

    Parameters:
        cache: a package cache for what comes from Debian.
    """

    def __init__(self, place: Path, cache: Path) -> None:
        self.place = place
        self.root = place / "ubuntu"
        self.key = Key()
        self._cache = PackageCache(cache)
        self._lists = place / "lists"
        for folder in (self.root, self._lists, place / "ftparchive"):
            folder.mkdir(parents=True, exist_ok=True)

    def publish(self, number: str, names: Iterable[str] = SMALL) -> None:
        """Write the three pockets of a release with these packages, all that they need, and `hello`."""
        release = RELEASES[number]
        packages = self._choose(release, (*names, "libyaml-0-2"))
        pockets: dict[str, list[tuple[Package, bytes]]] = {
            release.codename: [],
            f"{release.codename}-updates": [],
            f"{release.codename}-security": [],
        }
        with ThreadPoolExecutor(2) as pool:
            for pocket, package, data in pool.map(lambda job: job(), self._jobs(release, packages)):
                pockets[pocket].append((package, data))
        overrides = self._override(packages)
        for pocket, rows in pockets.items():
            self._fill(pocket, rows)
        ring = ubuntu_debs.keyring(self.key, f"20{number}")
        self._put(
            release.codename, "main", f"pool/main/u/ubuntu-keyring/{Path(ring.filename).name}", ring.build()
        )
        (self._lists / "override").write_text(overrides)
        self._index(release, pockets)

    def serve(self, port: int = 0) -> ArchiveServer:
        """A server whose address with /ubuntu is the archive's (a context manager)."""
        return ArchiveServer(self.place, port=port)

    def recipe(self, number: str, *, extra: str = "", packages: Iterable[str] | None = SMALL) -> str:
        """The text of a recipe like the shipped one, but for the key that it pins.

        Parameters:
            extra: further lines, beginning with a table.
            packages: instead of the shipped ones; None: the shipped ones.
        """
        lines = [
            f'extends = "ubuntu/{number}"',
            f'[archives.ubuntu]\nkeys = ["{self.key.fingerprint}"]',
        ]
        if RELEASES[number].debian == "bookworm":
            # what stands in for jammy's packages has the new name for an old one's purpose
            lines.append('[bootstrap]\nadd.include = ["usr-is-merged"]')
        else:
            # and what stands in for noble's keeps the locale elsewhere, as Ubuntu came to do later
            lines.append('[configure.files]\n"/etc/locale.conf".text = "LANG=C.UTF-8\\n"')
            lines.append('[configure]\ndrop.files = ["/etc/default/locale"]')
        if packages is not None:
            lines.append(f"[install]\npackages = {list(packages)}")
        return "\n".join([*lines, extra, ""])

    # -- packages ------------------------------------------------------------------------------------

    def _choose(self, release: Release, names: Iterable[str]) -> list[Package]:
        archives = debian_archives(release.debian)
        fetcher = Fetcher(mirrors.table(archives))
        states = deb.read_archives(
            archives, "amd64", fetcher=fetcher, cache=self._cache, keys_dir=debian_keys()
        )
        found = deb.closure(
            deb.open_pool(states, "amd64"),
            Wishes(
                include=("apt", "usr-is-merged", "tzdata"),
                packages=tuple(dict.fromkeys(names)),
                exclude=_excluded(),
            ),
        )
        packages = [package for package in found.packages if package.name not in _LEFT_OUT]
        deb.download(packages, fetcher=fetcher, cache=self._cache)
        return packages

    def _jobs(
        self, release: Release, packages: Iterable[Package]
    ) -> Iterable[Callable[[], tuple[str, Package, bytes]]]:
        for package in packages:
            pockets: dict[str, ubuntu_debs.Change | None] = {release.codename: None}
            version = package.version
            if package.name == "base-files":
                pockets = {
                    pocket: ubuntu_debs.base_files(
                        f"{version}ubuntu{count}",
                        release.number,
                        release.codename,
                        f"{release.number}.{count}",
                    )
                    for count, pocket in enumerate((release.codename, f"{release.codename}-updates"), 1)
                }
            elif package.name == "apt":
                pockets = {release.codename: ubuntu_debs.apt()}
            elif package.name == "tzdata":
                later = ubuntu_debs.with_version(f"{version}ubuntu0.{release.number}.1")
                pockets[f"{release.codename}-security"] = later
            for pocket, change in pockets.items():
                yield self._job(pocket, package, change)

    def _job(
        self, pocket: str, package: Package, change: ubuntu_debs.Change | None
    ) -> Callable[[], tuple[str, Package, bytes]]:
        path = self._cache.path(package.sha256)
        return lambda: (pocket, package, ubuntu_debs.repacked(path, change))

    def _fill(self, pocket: str, rows: Iterable[tuple[Package, bytes]]) -> None:
        for component in ("main", "universe"):
            (self._lists / f"{pocket}_{component}").touch()
        for package, data in rows:
            component = "universe" if package.name in _UNIVERSE else "main"
            folder, name = package.filename.removeprefix("pool/").rsplit("/", 1)
            folder = folder.removeprefix("updates/").removeprefix("main/")
            if package.name in ("base-files", "tzdata"):  # in several versions
                name = f"{package.name}_{pocket}_{package.arch}.deb"
            self._put(pocket, component, f"pool/{component}/{folder}/{name}", data)

    def _put(self, pocket: str, component: str, path: str, data: bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        with (self._lists / f"{pocket}_{component}").open("a") as listing:
            listing.write(f"{path}\n")

    def _override(self, packages: Iterable[Package]) -> str:
        """What an archive says of its packages whatever they say themselves: apt-ftparchive(1)."""
        rows = [f"{package.name}\t{package.priority}\tmisc\n" for package in packages]
        return "".join([*rows, "ubuntu-keyring\timportant\tmisc\n"])

    # -- indexes -------------------------------------------------------------------------------------

    def _index(self, release: Release, pockets: Iterable[str]) -> None:
        config = self.place / "ftparchive.conf"
        text = _FTPARCHIVE.format(root=self.root, cache=self.place / "ftparchive", lists=self._lists)
        config.write_text(text + "".join(_TREE.format(pocket=pocket) for pocket in pockets))
        for pocket in pockets:
            for component in ("main", "universe"):
                (self.root / f"dists/{pocket}/{component}/binary-amd64").mkdir(parents=True, exist_ok=True)
        options = ("Contents=false", "MD5=false", "SHA1=false")
        _ftparchive(*(f"--option=APT::FTPArchive::{option}" for option in options), "generate", str(config))
        for pocket in pockets:
            # the first pocket is closed on the day of the release; the others are signed every few hours
            fields = {
                "Origin": "Ubuntu",
                "Label": "Ubuntu",
                "Suite": pocket,
                "Version": release.number,
                "Codename": release.codename,
                "Architectures": "amd64 arm64 armhf i386 ppc64el riscv64 s390x",
                "Components": "main restricted universe multiverse",
                "Acquire-By-Hash": "yes",
            }
            if pocket == release.codename:
                fields["Date"] = release.dated
            options = [f"--option=APT::FTPArchive::Release::{key}={value}" for key, value in fields.items()]
            folder = self.root / "dists" / pocket
            _by_hash(folder)
            made = _ftparchive(*options, "release", str(folder))
            made = b"".join(line for line in made.splitlines(True) if b"by-hash" not in line)
            for plain in folder.glob("*/binary-*/Packages"):
                plain.unlink()  # the Release names its hash, and the archive has only compressed ones
            (folder / "Release").write_bytes(made)
            (folder / "InRelease").write_bytes(self.key.clear(made))
            (folder / "Release.gpg").write_bytes(self.key.detached(made))


def _excluded() -> tuple[str, ...]:
    """What no recipe takes, and so need not be in the archive; the networkd flavour does take one."""
    names = load("ubuntu-24.04", roots=[shipped_root()]).recipe.install.exclude
    return tuple(name for name in names if name != "systemd-resolved")


def _by_hash(folder: Path) -> None:
    for index in sorted(folder.glob("*/binary-*/Packages.*")):
        name = index.parent / "by-hash/SHA256" / hashlib.sha256(index.read_bytes()).hexdigest()
        name.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(index, name)


def _ftparchive(*words: str) -> bytes:
    program = shutil.which("apt-ftparchive")
    assert program, "apt-ftparchive is missing: apt-get install apt-utils"
    done = subprocess.run([program, *words], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


SAY = """\
The stand-in for Ubuntu's archive is served at {url} until Ctrl-C. In another terminal, as root:

    export TMPLBUILD_RECIPES={recipes} MIRROR={url}
    make template DIST=ubuntu-24.04
    make template DIST=ubuntu-22.04
    .venv/bin/tmplbuild upgrade ubuntu-22.04 --to ubuntu-24.04 --mirror $MIRROR

The recipes there pin the throw-away key; templates go where they always do (CACHE=DIR for another place).
"""


def main(words: Sequence[str] | None = None) -> None:
    """Publish what the shipped recipes ask for, say how to build from it, and serve it until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.ubuntu_archive", description=main.__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the archive and the recipes go")
    parser.add_argument("--serve", type=int, default=0, metavar="PORT", help="port (one that is free)")
    args = parser.parse_args(words)
    place = args.folder.resolve()
    archive = UbuntuArchive(place, place / "debian")
    recipes = place / "recipes/ubuntu"
    archive.key.export(recipes / "keys")
    for number in RELEASES:
        archive.publish(number, load(f"ubuntu-{number}", roots=[shipped_root()]).recipe.install.packages)
        (recipes / f"{number}.toml").write_text(archive.recipe(number, packages=None))
    with archive.serve(args.serve) as server, suppress(KeyboardInterrupt):
        sys.stdout.write(SAY.format(url=f"{server.url}/ubuntu", recipes=recipes.parent))
        sys.stdout.flush()
        server.released.wait()


if __name__ == "__main__":
    main()
