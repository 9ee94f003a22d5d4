"""Enterprise Linux: the public archives are not at hand here, so a stand-in in their true format is, with
a real rpm and a real dnf."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.archive_server import ArchiveServer
from tests.el_packages import RELEASE
from tests.el_standin import ElStandin
from tests.rpm_factory import File, Rpm
from tests.workshop import Run, Workshop
from tmplbuild.archives.aptrpm.rpmfile import CONFIG

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]

NAME = "almalinux-9-x86_64"


class El:
    """A workshop with the stand-in's address, and the recipe that pins its key."""

    def __init__(self, place: Path, packages: Path, standin: ElStandin, server: ArchiveServer) -> None:
        self.shop = Workshop(place / "shop", packages)
        self.standin = standin
        recipes = standin.recipes(place / "recipes")
        self.options = ("--recipes", str(recipes), "--mirror", f"almalinux={server.url}/almalinux")

    def build(self, *words: str, ok: bool = True) -> Run:
        return self.shop.build("almalinux-9", *self.options, *words, ok=ok)

    def names(self) -> dict[str, tarfile.TarInfo]:
        with tarfile.open(self.shop.templates / f"{NAME}.tar.gz") as tar:
            return {member.name: member for member in tar}

    def manifest(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.shop.templates / f"{NAME}.manifest.json").read_text())
        return found


@pytest.fixture(scope="module")
def el(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> Iterator[El]:
    place = tmp_path_factory.mktemp("el")
    standin = ElStandin(place, packages)
    standin.publish([app("1")])
    with standin.serve() as server:
        made = El(place, packages, standin, server)
        made.shop.first = made.build()
        yield made
    assert made.shop.remains() == {}


def app(version: str, post: str = "") -> Rpm:
    """A package that the recipe asks for, and that moves."""
    return Rpm(
        "tree-like",
        version=version,
        release=RELEASE,
        files=(File("/etc/tree-like.conf", f"version = {version}\n".encode(), flags=CONFIG),),
        requires=("/bin/sh",) if post else (),
        scripts={"post": post} if post else {},
    )


def test_a_template_from_the_archive(el: El) -> None:
    first = el.shop.first
    assert first is not None
    assert first.ran[-1] == "boot"
    manifest = el.manifest()
    rows = {row["name"]: row for row in manifest["packages"]}  # type: ignore[attr-defined]
    assert {"rpm", "dnf", "systemd", "almalinux-release", "tree-like"} <= rows.keys()
    assert not {name for name in rows if name.startswith(("kernel", "dracut"))}
    names = el.names()
    assert not [name for name in names if name.startswith(("./boot/", "./var/cache/dnf/", "./.tmplbuild"))]
    assert "./etc/yum.repos.d/almalinux.repo" in names


def test_nothing_moved(el: El) -> None:
    assert el.build().unchanged


def test_a_package_that_moved_is_upgraded_by_the_trees_own_dnf(el: El) -> None:
    el.standin.publish([app("2")])
    done = el.build()
    assert done.ran[0] == "upgrade"
    rows = {row["name"]: row["version"] for row in el.manifest()["packages"]}  # type: ignore[attr-defined]
    assert rows["tree-like"] == f"2-{RELEASE}"


def test_a_script_that_fails_fails_the_build_and_keeps_the_template(el: El) -> None:
    before = (el.shop.templates / f"{NAME}.tar.gz").stat()
    el.standin.publish([app("3", post="echo this script fails >&2\nexit 3\n")])
    done = el.build(ok=False)
    assert done.status == 7
    assert "scriptlet" in next(event for event in done.events if event["event"] == "error")["why"]
    after = (el.shop.templates / f"{NAME}.tar.gz").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    el.standin.publish([replace(app("4"), arch="x86_64")])
    assert el.build().ran[-1] == "boot"
