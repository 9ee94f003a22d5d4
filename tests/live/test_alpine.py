"""Alpine: its archive is not at hand here, so a stand-in in its true format is. OpenRC in it is real, apk
is where TMPLBUILD_APK names one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import beside
from tests.alpine_standin import AlpineStandin
from tests.apk_factory import Apk, ApkRepository, RsaKey
from tests.conftest import Places
from tests.rpm_factory import WHEN, File
from tests.small_system import Part
from tests.standin_shop import StandinShop
from tmplbuild.engine.steps import NAMES

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]


@pytest.fixture(scope="module")
def standin(places: Places, packages: Path) -> AlpineStandin:
    made = AlpineStandin(places("alpine"), packages)
    made.publish([app(1)])
    return made


@pytest.fixture(scope="module")
def lent(standin: AlpineStandin) -> Lent:
    return Lent(standin.place)


@pytest.fixture(scope="module")
def alpine(standin: AlpineStandin, lent: Lent, packages: Path) -> Iterator[StandinShop]:
    recipes = standin.recipes(standin.place / "recipes")
    with standin.serve() as server:
        lent.publish(1)
        lent.ask(recipes / "alpine/3.22.toml", server.url)
        mirror = f"alpine={server.url}/alpine"
        made = StandinShop(standin.place, packages, "alpine-3.22", recipes, mirror)
        yield made
    assert made.shop.remains() == {}


class Lent:
    """Two archives with keys of their own, of which the template keeps one; a package beside the recipe."""

    def __init__(self, place: Path) -> None:
        self.keys = {name: RsaKey.made(place / "secret", name) for name in ("lent", "own", "stranger")}
        self._places = {name: ApkRepository(place / name, self.keys[name]) for name in ("lent", "own")}

    def publish(self, revision: int) -> None:
        for name, place in self._places.items():
            # with an older one of the package that lies beside the recipe, which must not come back
            packages = [Apk(Part(f"{name}-like"), revision), Apk(Part(beside.PACKAGE, "0.9"))]
            place.write("x86_64", packages, date=WHEN + revision)

    def package(self, revision: int) -> bytes:
        """A package that nobody whom apk knows has signed."""
        files = (File("/usr/share/beside", f"revision = {revision}\n".encode()),)
        needs = (beside.NEEDS, "own-like")
        return Apk(Part(beside.PACKAGE, needs=needs, files=files), revision).build(self.keys["stranger"])

    def ask(self, recipe: Path, url: str) -> None:
        tables = beside.LENT.format(url=url)
        tables += f'suites = ["x86_64"]\nkeys = ["{self._key("lent", recipe)}"]\nvendor = "lent.rsa.pub"\n'
        tables += f'[archives.own]\nmirrors = ["{url}/own"]\npublic = "http://own.example/own"\n'
        tables += f'suites = ["x86_64"]\nkeys = ["{self._key("own", recipe)}"]\nvendor = "own.rsa.pub"\n'
        beside.add(recipe, {"beside.apk": self.package(1)}, tables + "own_keys = true\n")

    def _key(self, name: str, recipe: Path) -> str:
        self.keys[name].publish(recipe.parent / "keys")
        return self.keys[name].fingerprint


def app(revision: int, post: str = "") -> Apk:
    """A package that the recipe asks for, and that moves."""
    config = File("/etc/tree-like.conf", f"revision = {revision}\n".encode())
    part = Part("tree-like", files=(config,), scripts={"post": post} if post else {})
    return Apk(part, revision)


def test_a_template_that_openrc_boots(alpine: StandinShop) -> None:
    first = alpine.shop.first
    assert first is not None
    assert first.ran == list(NAMES)
    versions = alpine.versions()
    assert {"alpine-base", "apk-tools", "openrc", "ifupdown", "tree-like"} <= versions.keys()
    assert versions["tree-like"] == "1.0-r1"
    world = alpine.text("./etc/apk/world").split()
    assert {"tree-like", beside.PACKAGE} <= set(world)
    assert "libc6" not in world, "it was only pulled in"
    address = "http://dl-cdn.alpinelinux.org/alpine/v3.22"
    own = "http://own.example/own"
    assert alpine.text("./etc/apk/repositories") == f"{address}/main\n{address}/community\n{own}\n"
    assert 'rc_sys="lxc"' in alpine.text("./etc/rc.conf")
    getty = [line for line in alpine.text("./etc/inittab").splitlines() if "getty" in line]
    assert all(line.startswith("#") for line in getty)


def test_packages_from_elsewhere(alpine: StandinShop) -> None:
    assert alpine.versions()[beside.PACKAGE] == "1.0-r1"
    assert {beside.NEEDS, "own-like"} <= alpine.versions().keys()
    assert alpine.text("./usr/share/beside") == "revision = 1\n"
    assert {"lent.rsa.pub", "own.rsa.pub"} & {
        name.rpartition("/")[2] for name in alpine.members() if name.startswith("./etc/apk/keys/")
    } == {"own.rsa.pub"}


def test_nothing_moved(alpine: StandinShop) -> None:
    assert alpine.build().unchanged


def test_a_package_that_moved_is_upgraded_by_the_trees_own_apk(
    alpine: StandinShop, standin: AlpineStandin, lent: Lent
) -> None:
    standin.publish([app(2)])
    lent.publish(2)
    done = alpine.build()
    assert done.ran[0] == "upgrade"
    assert alpine.versions()[beside.NEEDS] == "1.0-r2"
    assert alpine.versions()["own-like"] == "1.0-r2"
    assert alpine.versions()[beside.PACKAGE] == "1.0-r1"
    assert alpine.versions()["tree-like"] == "1.0-r2"
    assert alpine.text("./etc/tree-like.conf") == "revision = 2\n"


def test_a_script_that_fails_fails_the_build_and_keeps_the_template(
    alpine: StandinShop, standin: AlpineStandin
) -> None:
    before = alpine.identity
    standin.publish([app(3, post="exit 3\n")])
    assert alpine.build(ok=False).status == 7
    assert alpine.identity == before
    standin.publish([app(4)])
    assert alpine.build().ran[-1] == "boot"
