"""Slackware: its archive is not at hand here, so a stand-in in its true format is."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive_server import ArchiveServer
from tests.rpm_factory import File
from tests.slackware_standin import SlackwareStandin, Txz
from tests.small_system import Part
from tests.workshop import Run, Workshop
from tmplbuild.engine.steps import NAMES

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]

NAME = "slackware-15.0-x86_64"


class Slackware:
    """A workshop with the stand-in's address, and the recipe that pins its key."""

    def __init__(self, place: Path, packages: Path, standin: SlackwareStandin, server: ArchiveServer) -> None:
        self.shop = Workshop(place / "shop", packages)
        self.standin = standin
        recipes = standin.recipes(place / "recipes")
        self.options = ("--recipes", str(recipes), "--mirror", f"slackware={server.url}/slackware")

    def build(self, *words: str, ok: bool = True) -> Run:
        return self.shop.build("slackware-15.0", *self.options, *words, ok=ok)

    def versions(self) -> dict[str, str]:
        manifest = json.loads((self.shop.templates / f"{NAME}.manifest.json").read_text())
        return {row["name"]: row["version"] for row in manifest["packages"]}

    def text(self, name: str) -> str:
        with tarfile.open(self.shop.templates / f"{NAME}.tar.gz") as tar:
            file = tar.extractfile(name)
            assert file is not None
            return file.read().decode()


@pytest.fixture(scope="module")
def slackware(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> Iterator[Slackware]:
    place = tmp_path_factory.mktemp("slackware")
    standin = SlackwareStandin(place, packages)
    standin.publish([app(1)])
    with standin.serve() as server:
        made = Slackware(place, packages, standin, server)
        made.shop.first = made.build()
        yield made
    assert made.shop.remains() == {}


def app(build: int) -> Txz:
    """A package that the recipe asks for, and that moves."""
    config = File("/etc/tree-like.conf", f"build = {build}\n".encode())
    return Txz(Part("tree-like", files=(config,), config=("/etc/tree-like.conf",)), build)


def test_a_template_that_boots_by_scripts_in_rc_d(slackware: Slackware) -> None:
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
    with tarfile.open(slackware.shop.templates / f"{NAME}.tar.gz") as tar:
        names = {member.name: member for member in tar}
    assert names["./usr/bin/awk"].issym(), "its package's script made it"
    assert not names["./etc/rc.d/rc.udev"].mode & 0o111
    assert "./.tmplbuild" not in names


def test_nothing_moved(slackware: Slackware) -> None:
    assert slackware.build().unchanged


def test_a_patch_is_upgraded_to_and_its_configuration_taken(slackware: Slackware) -> None:
    slackware.standin.publish([app(2)])
    done = slackware.build()
    assert done.ran[0] == "upgrade"
    assert slackware.versions()["tree-like"] == "1.0-2"
    assert slackware.text("./etc/tree-like.conf") == "build = 2\n"


def test_a_package_whose_own_signature_is_missing_is_refused(slackware: Slackware) -> None:
    before = (slackware.shop.templates / f"{NAME}.tar.gz").stat()
    slackware.standin.publish([app(3)])
    folder = slackware.standin.place / "slackware/slackware64-15.0/patches/packages"
    signature = folder / f"{app(3).filename}.asc"
    good = signature.read_bytes()
    signature.write_bytes((folder / f"{app(2).filename}.asc").read_bytes())
    assert slackware.build(ok=False).status == 6
    after = (slackware.shop.templates / f"{NAME}.tar.gz").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    signature.write_bytes(good)
    assert slackware.build().ran[-1] == "boot"
