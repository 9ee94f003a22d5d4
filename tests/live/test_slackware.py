"""Slackware: its archive is not at hand here, so a stand-in in its true format is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import beside
from tests.conftest import Places
from tests.rpm_factory import File
from tests.slackware_standin import SlackwareStandin, Txz
from tests.small_system import Part
from tests.standin_shop import StandinShop
from tmplbuild.engine.steps import NAMES

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]


@pytest.fixture(scope="module")
def standin(places: Places, packages: Path) -> SlackwareStandin:
    made = SlackwareStandin(places("slackware"), packages)
    made.publish([app(1)])
    return made


@pytest.fixture(scope="module")
def slackware(standin: SlackwareStandin, packages: Path) -> Iterator[StandinShop]:
    recipes = standin.recipes(standin.place / "recipes")
    with standin.serve() as server:
        standin.lend([Txz(Part(beside.NEEDS))])
        tables = beside.LENT.format(url=server.url) + 'suites = ["tree"]\nsigned = "both"\n'
        tables += f'keys = ["{standin.key.fingerprint}"]\n'
        package = Txz(Part(beside.PACKAGE, files=(File("/usr/share/beside", b"beside\n"),)))
        beside.add(
            recipes / "slackware/15.0.toml", {package.filename: package.made()}, tables, [beside.NEEDS]
        )
        mirror = f"slackware={server.url}/slackware"
        made = StandinShop(standin.place, packages, "slackware-15.0", recipes, mirror)
        yield made
    assert made.shop.remains() == {}


def app(build: int) -> Txz:
    """A package that the recipe asks for, and that moves."""
    config = File("/etc/tree-like.conf", f"build = {build}\n".encode())
    return Txz(Part("tree-like", files=(config,), config=("/etc/tree-like.conf",)), build)


def test_a_template_that_boots_by_scripts_in_rc_d(slackware: StandinShop) -> None:
    first = slackware.shop.first
    assert first is not None
    assert first.ran == list(NAMES)
    versions = slackware.versions()
    assert {"aaa_base", "pkgtools", "sysvinit", "sysvinit-scripts", "tree-like"} <= versions.keys()
    assert versions["tree-like"] == "1.0-1"
    getty = [line for line in slackware.text("./etc/inittab").splitlines() if "getty" in line]
    assert getty
    assert all(line.startswith("#") for line in getty)
    assert slackware.text("./etc/slackpkg/mirrors") == (
        "http://mirrors.slackware.com/slackware/slackware64-15.0/\n"
    )
    names = slackware.members()
    assert names["./usr/bin/awk"].issym(), "its package's script made it"
    assert not names["./etc/rc.d/rc.udev"].mode & 0o111
    assert "./.tmplbuild" not in names


def test_packages_from_elsewhere(slackware: StandinShop) -> None:
    versions = slackware.versions()
    assert versions[beside.PACKAGE] == versions[beside.NEEDS] == "1.0-1"
    assert slackware.text("./usr/share/beside") == "beside\n"
    assert beside.ADDRESS not in slackware.text("./etc/slackpkg/mirrors")


def test_nothing_moved(slackware: StandinShop) -> None:
    assert slackware.build().unchanged


def test_a_patch_is_upgraded_to_and_its_configuration_taken(
    slackware: StandinShop, standin: SlackwareStandin
) -> None:
    standin.publish([app(2)])
    done = slackware.build()
    assert done.ran[0] == "upgrade"
    assert slackware.versions()["tree-like"] == "1.0-2"
    assert slackware.versions()[beside.PACKAGE] == "1.0-1"
    assert slackware.text("./etc/tree-like.conf") == "build = 2\n"


def test_a_package_whose_own_signature_is_missing_is_refused(
    slackware: StandinShop, standin: SlackwareStandin
) -> None:
    before = slackware.identity
    standin.publish([app(3)])
    folder = standin.place / "slackware/slackware64-15.0/patches/packages"
    signature = folder / f"{app(3).filename}.asc"
    good = signature.read_bytes()
    signature.write_bytes((folder / f"{app(2).filename}.asc").read_bytes())
    assert slackware.build(ok=False).status == 6
    assert slackware.identity == before
    signature.write_bytes(good)
    assert slackware.build().ran[-1] == "boot"
