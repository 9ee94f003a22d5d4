"""A workshop with a stand-in's address, and the recipe that pins its keys."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests import beside
from tests.aptrpm_factory import publish_key, throw_away_key
from tests.archive_server import ArchiveServer
from tests.rpm_factory import WHEN, File, Rpm, build_rpm
from tests.rpmmd_factory import RpmMd
from tests.rpmmd_standin import Flavour, Standin
from tests.workshop import Run, Workshop
from tmplbuild.archives.aptrpm.rpmfile import CONFIG

Shop = TypeVar("Shop", bound="RpmMdShop")


class RpmMdShop:
    """Builds of one flavour."""

    def __init__(self, place: Path, packages: Path, standin: Standin, server: ArchiveServer) -> None:
        self.shop = Workshop(place / "shop", packages)
        self.standin = standin
        self.server = server
        self.flavour = flavour = standin.flavour
        self.template = f"{flavour.name}-x86_64"
        recipes = standin.recipes(place / "recipes")
        self.options = (
            "--recipes",
            str(recipes),
            "--mirror",
            f"{flavour.role}={server.url}/{flavour.role}",
        )

    @property
    def first(self) -> Run:
        """The first build."""
        assert self.shop.first is not None
        return self.shop.first

    def build(self, *words: str, ok: bool = True) -> Run:
        return self.shop.build(self.flavour.name, *self.options, *words, ok=ok)

    def upgrade(self, to: Standin) -> Run:
        """Make the template of a later release out of this one's; its archive is beside this one's."""
        to.recipes(Path(self.options[1]))
        words = ("upgrade", self.flavour.name, "--to", to.flavour.name, "--json", *self.options)
        done = self.shop.run(*words)
        assert done.status == 0, f"{done.err}\n{done.out[-2000:]}"
        return done

    def app(self, version: str, post: str = "", conf: str = "") -> Rpm:
        """A package that the recipe asks for, and that moves."""
        text = conf or f"version = {version}\n"
        return Rpm(
            "tree-like",
            version=version,
            release=self.flavour.dist,
            files=(File("/etc/tree-like.conf", text.encode(), flags=CONFIG),),
            requires=("/bin/sh",) if post else (),
            scripts={"post": post} if post else {},
        )

    def publish(self, version: str, **options: str) -> None:
        self.standin.publish([self.app(version, **options)])

    def names(self) -> dict[str, tarfile.TarInfo]:
        """The members of the template."""
        with tarfile.open(self.shop.templates / f"{self.template}.tar.gz") as tar:
            return {member.name: member for member in tar}

    def read(self, path: str, template: str = "") -> str:
        """A file of the template, or of another one."""
        with tarfile.open(self.shop.templates / f"{template or self.template}.tar.gz") as tar:
            file = tar.extractfile(f".{path}")
            assert file is not None
            return file.read().decode()

    def versions(self, template: str = "") -> dict[str, str]:
        """Version by package of the template, or of another one."""
        path = self.shop.templates / f"{template or self.template}.manifest.json"
        return {row["name"]: row["version"] for row in json.loads(path.read_text())["packages"]}


class WithMore(RpmMdShop):
    """A shop whose recipe has an archive for the build alone, and a package beside it."""

    def __init__(self, place: Path, packages: Path, standin: Standin, server: ArchiveServer) -> None:
        super().__init__(place, packages, standin, server)
        key = throw_away_key("lent")
        self._lent = RpmMd(standin.place / "lent", key)
        recipe = next(Path(self.options[1]).glob("*/*.toml"))
        tables = beside.LENT.format(url=server.url) + 'suites = ["x86_64"]\n'
        tables += f'keys = ["{publish_key(key, recipe.parent / "keys")}"]\n'
        files = (File("/usr/share/beside", b"beside\n"),)
        one = Rpm(beside.PACKAGE, release=self.flavour.dist, requires=(beside.NEEDS,), files=files)
        beside.add(recipe, {"beside.rpm": build_rpm(one)}, tables)

    def publish(self, version: str, **options: str) -> None:
        super().publish(version, **options)
        self.lend(version)

    def lend(self, version: str) -> None:
        """Write the archive for the build alone."""
        # an older one of the package that lies beside the recipe, which must not come back
        self._lent.add(Rpm(beside.PACKAGE, version="0.9", release=self.flavour.dist))
        self._lent.add(Rpm(beside.NEEDS, version=version, release=self.flavour.dist, arch="noarch"))
        self._lent.write("x86_64", date=WHEN + int(version))

    def look(self, version: str) -> None:
        """See that the template has these packages, and no trace of the archive."""
        dist = self.flavour.dist
        versions = self.versions()
        assert (versions[beside.PACKAGE], versions[beside.NEEDS]) == (f"1.0-{dist}", f"{version}-{dist}")
        assert self.read("/usr/share/beside") == "beside\n"
        names = self.names()
        assert not [name for name in names if "borrowed" in name or "/lent" in name]
        assert "./etc/zypp/locks" not in names
        for name in names:
            if name.endswith(".repo"):
                assert beside.ADDRESS not in self.read(name[1:])


@contextmanager
def opened(flavour: Flavour, place: Path, packages: Path) -> Iterator[RpmMdShop]:
    """A shop whose first build is done; nothing of it may be left at the end."""
    yield from _opened(RpmMdShop, flavour, place, packages)


@contextmanager
def with_more(flavour: Flavour, place: Path, packages: Path) -> Iterator[WithMore]:
    """The same with packages from elsewhere."""
    yield from _opened(WithMore, flavour, place, packages)


def _opened(kind: type[Shop], flavour: Flavour, place: Path, packages: Path) -> Iterator[Shop]:
    standin = Standin(flavour, place, packages)
    with standin.serve() as server:
        made = kind(place, packages, standin, server)
        made.publish("1")
        made.shop.first = made.build()
        yield made
    assert made.shop.remains() == {}


def why(done: Run) -> str:
    """What the run's error says."""
    error = next(event for event in done.events if event["event"] == "error")
    return f"{error['what']} {error.get('why', '')}"
