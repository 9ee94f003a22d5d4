"""Alpine: its archive is not at hand here, so a stand-in in its true format is. OpenRC in it is real, apk
is where TMPLBUILD_APK names one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.alpine_standin import AlpineStandin
from tests.apk_factory import Apk
from tests.rpm_factory import File
from tests.small_system import Part
from tests.standin_shop import StandinShop
from tmplbuild.engine.steps import NAMES

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> AlpineStandin:
    made = AlpineStandin(tmp_path_factory.mktemp("alpine"), packages)
    made.publish([app(1)])
    return made


@pytest.fixture(scope="module")
def alpine(standin: AlpineStandin, packages: Path) -> Iterator[StandinShop]:
    recipes = standin.recipes(standin.place / "recipes")
    with standin.serve() as server:
        mirror = f"alpine={server.url}/alpine"
        made = StandinShop(standin.place, packages, "alpine-3.22", recipes, mirror)
        yield made
    assert made.shop.remains() == {}


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
    assert "tree-like" in world
    assert "libc6" not in world, "it was only pulled in"
    address = "http://dl-cdn.alpinelinux.org/alpine/v3.22"
    assert alpine.text("./etc/apk/repositories") == f"{address}/main\n{address}/community\n"
    assert 'rc_sys="lxc"' in alpine.text("./etc/rc.conf")
    getty = [line for line in alpine.text("./etc/inittab").splitlines() if "getty" in line]
    assert all(line.startswith("#") for line in getty)


def test_nothing_moved(alpine: StandinShop) -> None:
    assert alpine.build().unchanged


def test_a_package_that_moved_is_upgraded_by_the_trees_own_apk(
    alpine: StandinShop, standin: AlpineStandin
) -> None:
    standin.publish([app(2)])
    done = alpine.build()
    assert done.ran[0] == "upgrade"
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
