"""Arch: its archive is not at hand here, so a stand-in in its true format is, with a real pacman."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.alpm_factory import Pkg
from tests.arch_standin import ArchStandin
from tests.rpm_factory import File
from tests.small_system import Part
from tests.standin_shop import StandinShop
from tmplbuild.engine.steps import NAMES

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> Iterator[ArchStandin]:
    made = ArchStandin(tmp_path_factory.mktemp("arch"), packages)
    made.publish([app(1)])
    yield made
    made.keys.end()


@pytest.fixture(scope="module")
def arch(standin: ArchStandin, packages: Path) -> Iterator[StandinShop]:
    recipes = standin.recipes(standin.place / "recipes")
    with standin.serve() as server:
        mirror = f"archlinux={server.url}/archlinux"
        made = StandinShop(standin.place, packages, "archlinux-rolling", recipes, mirror)
        yield made
    assert made.shop.remains() == {}


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


def test_nothing_moved(arch: StandinShop) -> None:
    assert arch.build().unchanged


def test_a_package_that_moved_is_upgraded_by_the_trees_own_pacman(
    arch: StandinShop, standin: ArchStandin
) -> None:
    """This time its signature lies beside it, and not in the database."""
    standin.publish([app(2)], database=False)
    done = arch.build()
    assert done.ran[0] == "upgrade"
    assert arch.versions()["tree-like"] == "1.0-2"


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
