"""Arch: its archive is not at hand here, so a stand-in in its true format is, with a real pacman."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.alpm_factory import Pkg
from tests.arch_standin import ArchStandin
from tests.archive_server import ArchiveServer
from tests.rpm_factory import File
from tests.small_system import Part
from tests.workshop import Run, Workshop
from tmplbuild.engine.steps import NAMES

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]

NAME = "archlinux-rolling-x86_64"


class Arch:
    """A workshop with the stand-in's address, and the recipe that pins its master keys."""

    def __init__(self, place: Path, packages: Path, standin: ArchStandin, server: ArchiveServer) -> None:
        self.shop = Workshop(place / "shop", packages)
        self.standin = standin
        recipes = standin.recipes(place / "recipes")
        self.options = ("--recipes", str(recipes), "--mirror", f"archlinux={server.url}/archlinux")

    def build(self, *words: str, ok: bool = True) -> Run:
        return self.shop.build("archlinux-rolling", *self.options, *words, ok=ok)

    def versions(self) -> dict[str, str]:
        manifest = json.loads((self.shop.templates / f"{NAME}.manifest.json").read_text())
        return {row["name"]: row["version"] for row in manifest["packages"]}

    def names(self) -> set[str]:
        with tarfile.open(self.shop.templates / f"{NAME}.tar.gz") as tar:
            return set(tar.getnames())


@pytest.fixture(scope="module")
def arch(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> Iterator[Arch]:
    place = tmp_path_factory.mktemp("arch")
    standin = ArchStandin(place, packages)
    standin.publish([app(1)])
    with standin.serve() as server:
        made = Arch(place, packages, standin, server)
        made.shop.first = made.build()
        yield made
    standin.keys.end()
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


def test_a_template_without_a_secret_key(arch: Arch) -> None:
    first = arch.shop.first
    assert first is not None
    assert first.ran == list(NAMES)
    versions = arch.versions()
    assert {"base", "pacman-package-manager", "systemd", "archlinux-keyring", "tree-like"} <= versions.keys()
    assert versions["tree-like"] == "1.0-1"
    names = arch.names()
    assert "./etc/systemd/system/pacman-init.service" in names
    unwanted = ("./etc/pacman.d/gnupg", "./var/lib/pacman/sync/", "./var/cache/pacman/pkg/", "./.tmplbuild")
    assert not [name for name in names if name.startswith(unwanted)]


def test_nothing_moved(arch: Arch) -> None:
    assert arch.build().unchanged


def test_a_package_that_moved_is_upgraded_by_the_trees_own_pacman(arch: Arch) -> None:
    """This time its signature lies beside it, and not in the database."""
    arch.standin.publish([app(2)], database=False)
    done = arch.build()
    assert done.ran[0] == "upgrade"
    assert arch.versions()["tree-like"] == "1.0-2"


def test_a_package_that_nobody_of_the_web_signed_is_refused(arch: Arch) -> None:
    before = (arch.shop.templates / f"{NAME}.tar.gz").stat()
    stranger = arch.standin.keys._made("stranger")
    place = arch.standin.archive.root / "core/os/x86_64"
    pkg = app(3)
    (place / pkg.filename).write_bytes(pkg.build())
    (place / f"{pkg.filename}.sig").write_bytes(arch.standin.keys.sign(pkg.build(), stranger))
    arch.standin.publish([pkg])
    done = arch.build(ok=False)
    assert done.status == 6
    after = (arch.shop.templates / f"{NAME}.tar.gz").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    arch.standin.publish([app(4)])
    assert arch.build().ran[-1] == "boot"
