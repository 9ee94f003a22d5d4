"""Alpine: its archive is not at hand here, so a stand-in in its true format is. OpenRC in it is real, apk
is where TMPLBUILD_APK names one."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.alpine_standin import AlpineStandin
from tests.apk_factory import Apk
from tests.archive_server import ArchiveServer
from tests.rpm_factory import File
from tests.small_system import Part
from tests.workshop import Run, Workshop
from tmplbuild.engine.steps import NAMES

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]

NAME = "alpine-3.22-x86_64"


class Alpine:
    """A workshop with the stand-in's address, and the recipe that pins its key."""

    def __init__(self, place: Path, packages: Path, standin: AlpineStandin, server: ArchiveServer) -> None:
        self.shop = Workshop(place / "shop", packages)
        self.standin = standin
        recipes = standin.recipes(place / "recipes")
        self.options = ("--recipes", str(recipes), "--mirror", f"alpine={server.url}/alpine")

    def build(self, *words: str, ok: bool = True) -> Run:
        return self.shop.build("alpine-3.22", *self.options, *words, ok=ok)

    def versions(self) -> dict[str, str]:
        manifest = json.loads((self.shop.templates / f"{NAME}.manifest.json").read_text())
        return {row["name"]: row["version"] for row in manifest["packages"]}

    def text(self, name: str) -> str:
        with tarfile.open(self.shop.templates / f"{NAME}.tar.gz") as tar:
            file = tar.extractfile(name)
            assert file is not None
            return file.read().decode()


@pytest.fixture(scope="module")
def alpine(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> Iterator[Alpine]:
    place = tmp_path_factory.mktemp("alpine")
    standin = AlpineStandin(place, packages)
    standin.publish([app(1)])
    with standin.serve() as server:
        made = Alpine(place, packages, standin, server)
        made.shop.first = made.build()
        yield made
    assert made.shop.remains() == {}


def app(revision: int, post: str = "") -> Apk:
    """A package that the recipe asks for, and that moves."""
    config = File("/etc/tree-like.conf", f"revision = {revision}\n".encode())
    part = Part("tree-like", files=(config,), scripts={"post": post} if post else {})
    return Apk(part, revision)


def test_a_template_that_openrc_boots(alpine: Alpine) -> None:
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


def test_nothing_moved(alpine: Alpine) -> None:
    assert alpine.build().unchanged


def test_a_package_that_moved_is_upgraded_by_the_trees_own_apk(alpine: Alpine) -> None:
    alpine.standin.publish([app(2)])
    done = alpine.build()
    assert done.ran[0] == "upgrade"
    assert alpine.versions()["tree-like"] == "1.0-r2"
    assert alpine.text("./etc/tree-like.conf") == "revision = 2\n"


def test_a_script_that_fails_fails_the_build_and_keeps_the_template(alpine: Alpine) -> None:
    before = (alpine.shop.templates / f"{NAME}.tar.gz").stat()
    alpine.standin.publish([app(3, post="exit 3\n")])
    assert alpine.build(ok=False).status == 7
    after = (alpine.shop.templates / f"{NAME}.tar.gz").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    alpine.standin.publish([app(4)])
    assert alpine.build().ran[-1] == "boot"
