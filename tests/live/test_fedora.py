"""Fedora: nobody signs its list of packages, so each package is verified by its own signature. A stand-in in
the true format, with a real rpm, a real dnf (Debian's, which is dnf 4), and packages signed by rpmsign."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Places
from tests.rpm_factory import build_rpm
from tests.rpmmd_shop import WithMore, why, with_more
from tests.rpmmd_standin import FEDORA, Standin, fedora

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]


@pytest.fixture(scope="module")
def f44(places: Places, packages: Path) -> Iterator[WithMore]:
    with with_more(FEDORA, places("fedora"), packages) as made:
        yield made


def test_a_template_from_the_archive(f44: WithMore) -> None:
    assert f44.first.ran[-1] == "boot"
    f44.look("1")
    assert {"rpm", "dnf5", "systemd", "fedora-release-container", "tree-like"} <= f44.versions().keys()
    own = f44.read("/etc/yum.repos.d/fedora.repo")
    # the packages' signatures are checked by the template's own dnf as well
    assert own.count("repo_gpgcheck=0\ngpgcheck=1\n") == 2
    asked = {seen.path for seen in f44.server.asked("repomd.xml.asc")}
    assert asked == {"/lent/x86_64/repodata/repomd.xml.asc"}, "the distribution has no such file"


def test_a_mirror_that_changes_packages_changes_nothing(f44: WithMore) -> None:
    """What is listed is the mirror's word; a package that the release's key did not sign is not used."""
    template = f44.shop.templates / f"{f44.template}.tar.gz"
    before = template.stat()
    f44.publish("2")
    suite = f44.flavour.suites[-1]
    (path,) = (f44.standin.archive.root / suite).glob("Packages/tree-like-2-*.rpm")
    good = path.read_bytes()
    path.write_bytes(build_rpm(f44.app("2", post="echo pwned > /root/pwned\n")))
    f44.standin.relist(suite)
    done = f44.build(ok=False)
    assert done.status == 6
    assert "the package tree-like is not signed" in why(done)
    assert (template.stat().st_ino, template.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    path.write_bytes(good)
    f44.standin.relist(suite)
    assert f44.build().ran[0] == "upgrade"
    assert f44.versions()["tree-like"] == f"2-{f44.flavour.dist}"
    f44.look("2")


def test_a_release_becomes_the_next_one(f44: WithMore, packages: Path) -> None:
    next_one = fedora("45")
    standin = Standin(next_one, f44.standin.place, packages)
    standin.publish([f44.app("3")])
    template = f44.upgrade(standin).summary["template"]
    versions = f44.versions(template)
    assert versions["fedora-release-container"] == f"45-{next_one.dist}"
    assert versions["rpm"].endswith(next_one.dist)
    assert "/releases/44/" not in f44.read("/etc/yum.repos.d/fedora.repo", template)
