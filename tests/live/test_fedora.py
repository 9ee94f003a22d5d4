"""Fedora: nobody signs its list of packages, so each package is verified by its own signature. A stand-in in
the true format, with a real rpm, a real dnf (Debian's, which is dnf 4), and packages signed by rpmsign."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rpm_factory import build_rpm
from tests.rpmmd_shop import RpmMdShop, opened, why
from tests.rpmmd_standin import FEDORA

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]


@pytest.fixture(scope="module")
def fedora(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> Iterator[RpmMdShop]:
    with opened(FEDORA, tmp_path_factory.mktemp("fedora"), packages) as made:
        yield made


def test_a_template_from_the_archive(fedora: RpmMdShop) -> None:
    assert fedora.first.ran[-1] == "boot"
    assert {"rpm", "dnf5", "systemd", "fedora-release-container", "tree-like"} <= fedora.versions().keys()
    own = fedora.read("/etc/yum.repos.d/fedora.repo")
    # the packages' signatures are checked by the template's own dnf as well
    assert own.count("repo_gpgcheck=0\ngpgcheck=1\n") == 2
    assert not fedora.server.asked("repomd.xml.asc")


def test_a_mirror_that_changes_packages_changes_nothing(fedora: RpmMdShop) -> None:
    """What is listed is the mirror's word; a package that the release's key did not sign is not used."""
    template = fedora.shop.templates / f"{fedora.template}.tar.gz"
    before = template.stat()
    fedora.publish("2")
    suite = fedora.flavour.suites[-1]
    (path,) = (fedora.standin.archive.root / suite).glob("Packages/tree-like-2-*.rpm")
    good = path.read_bytes()
    path.write_bytes(build_rpm(fedora.app("2", post="echo pwned > /root/pwned\n")))
    fedora.standin.relist(suite)
    done = fedora.build(ok=False)
    assert done.status == 6
    assert "the package tree-like is not signed" in why(done)
    assert (template.stat().st_ino, template.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    path.write_bytes(good)
    fedora.standin.relist(suite)
    assert fedora.build().ran[0] == "upgrade"
    assert fedora.versions()["tree-like"] == f"2-{fedora.flavour.dist}"
