"""Arch: its archive is not at hand here, so a stand-in in its true format is, with a real pacman."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import beside
from tests.alpm_factory import AlpmRepository, MasterKeys, Pkg
from tests.arch_standin import ArchStandin
from tests.conftest import Places
from tests.rpm_factory import File
from tests.small_system import Part
from tests.standin_shop import StandinShop
from tmplbuild.engine.steps import NAMES

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]


@pytest.fixture(scope="module")
def standin(places: Places, packages: Path) -> Iterator[ArchStandin]:
    made = ArchStandin(places("arch"), packages)
    made.publish([app(1)])
    yield made
    made.keys.end()


@pytest.fixture(scope="module")
def lent(standin: ArchStandin) -> Iterator[Lent]:
    made = Lent(standin.place)
    yield made
    made.end()


@pytest.fixture(scope="module")
def arch(standin: ArchStandin, lent: Lent, packages: Path) -> Iterator[StandinShop]:
    recipes = standin.recipes(standin.place / "recipes")
    with standin.serve() as server:
        lent.publish(1)
        lent.ask(recipes / "archlinux/rolling.toml", server.url)
        mirror = f"archlinux={server.url}/archlinux"
        made = StandinShop(standin.place, packages, "archlinux-rolling", recipes, mirror)
        yield made
    assert made.shop.remains() == {}


class Lent:
    """Two archives with keys of their own, of which the template keeps one; a package beside the recipe."""

    def __init__(self, place: Path) -> None:
        self.keys = {name: MasterKeys(place / f"{name}-gnupg", 1, 1) for name in ("lent", "own")}
        self._places = {name: AlpmRepository(place / name, keys) for name, keys in self.keys.items()}

    def publish(self, release: int) -> None:
        """Each archive has one key: it signs the packages, or certifies whoever does."""
        signers = {"lent": self.keys["lent"].packager, "own": self.keys["own"].masters[0]}
        for name, place in self._places.items():
            # with an older one of the package that lies beside the recipe, which must not come back
            packages = [Pkg(Part(f"{name}-like"), release, "any"), Pkg(Part(beside.PACKAGE, "0.9"))]
            place.write(f"{name}/x86_64", packages, signer=signers[name])

    def ask(self, recipe: Path, url: str) -> None:
        files = (File("/usr/share/beside", b"beside\n"),)
        package = Pkg(Part(beside.PACKAGE, needs=(beside.NEEDS, "own-like"), files=files))
        tables = beside.LENT.format(url=url) + self._keys("lent", recipe)
        tables += f'[archives.own]\nmirrors = ["{url}/own"]\npublic = "http://own.example/own"\n'
        tables += f"own_keys = true\n{self._keys('own', recipe)}"
        beside.add(recipe, {package.filename: package.build()}, tables)

    def _keys(self, name: str, recipe: Path) -> str:
        (recipe.parent / f"keys/{name}.gpg").write_bytes(self.keys[name].keyring)
        return (
            f'suites = ["{name}/x86_64"]\nsigned = "packages"\nkeyring = "{name}.gpg"\n'
            f"certified_by = 1\nkeys = {self.keys[name].masters}\n"
        )

    def end(self) -> None:
        for keys in self.keys.values():
            keys.end()


def app(release: int, post: str = "") -> Pkg:
    """A package that the recipe asks for, and that moves."""
    config = File("/etc/tree-like.conf", f"release = {release}\n".encode())
    return Pkg(
        Part(
            "tree-like",
            files=(config,),
            config=("/etc/tree-like.conf",),
            scripts={"post": post} if post else {},
        ),
        release,
    )


def test_a_template_without_a_secret_key(arch: StandinShop) -> None:
    first = arch.shop.first
    assert first is not None
    assert first.ran == list(NAMES)
    versions = arch.versions()
    assert {"base", "pacman-package-manager", "systemd", "archlinux-keyring", "tree-like"} <= versions.keys()
    assert versions["tree-like"] == "1.0-1"
    names = arch.members()
    assert "./etc/systemd/system/pacman-init.service" in names
    unwanted = ("./etc/pacman.d/gnupg", "./var/lib/pacman/sync/", "./var/cache/pacman/pkg/", "./.tmplbuild")
    assert not [name for name in names if name.startswith(unwanted)]


def test_packages_from_elsewhere(arch: StandinShop) -> None:
    versions = arch.versions()
    assert versions[beside.PACKAGE] == versions[beside.NEEDS] == versions["own-like"] == "1.0-1"
    conf = arch.text("./etc/pacman.conf")
    assert "[lent]" not in conf
    assert "[own]\nServer = http://own.example/own/own/x86_64\n" in conf
    names = [name for name in arch.members() if "/var/lib/pacman/local/" not in name]
    assert {"./usr/share/beside", "./usr/share/pacman/keyrings/own.gpg"} <= set(names)
    assert not [name for name in names if "lent" in name]


def test_nothing_moved(arch: StandinShop) -> None:
    assert arch.build().unchanged


def test_a_package_that_moved_is_upgraded_by_the_trees_own_pacman(
    arch: StandinShop, standin: ArchStandin, lent: Lent
) -> None:
    """This time its signature lies beside it, and not in the database."""
    standin.publish([app(2)], database=False)
    lent.publish(2)
    done = arch.build()
    assert done.ran[0] == "upgrade"
    versions = arch.versions()
    assert versions["tree-like"] == versions[beside.NEEDS] == versions["own-like"] == "1.0-2"
    assert versions[beside.PACKAGE] == "1.0-1"


def test_a_package_that_nobody_of_the_web_signed_is_refused(arch: StandinShop, standin: ArchStandin) -> None:
    before = arch.identity
    stranger = standin.keys._made("stranger")
    place = standin.archive.root / "core/os/x86_64"
    pkg = app(3)
    (place / pkg.filename).write_bytes(pkg.build())
    (place / f"{pkg.filename}.sig").write_bytes(standin.keys.sign(pkg.build(), stranger))
    standin.publish([pkg])
    done = arch.build(ok=False)
    assert done.status == 6
    assert arch.identity == before
    standin.publish([app(4)])
    assert arch.build().ran[-1] == "boot"
