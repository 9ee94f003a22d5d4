"""Mandriva's heirs through rpm-md: Mageia, and OpenMandriva, whose files are called otherwise than their
packages. Stand-ins in the true formats, each package signed, with a real rpm and a real dnf."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Places
from tests.rpmmd_shop import RpmMdShop, opened
from tests.rpmmd_standin import MAGEIA, OPENMANDRIVA, Flavour

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]


@pytest.fixture(scope="module", params=[MAGEIA, OPENMANDRIVA], ids=lambda flavour: flavour.role)
def heir(request: pytest.FixtureRequest, places: Places, packages: Path) -> Iterator[RpmMdShop]:
    flavour: Flavour = request.param
    with opened(flavour, places(flavour.role), packages) as made:
        yield made


def test_a_template_from_the_archive(heir: RpmMdShop) -> None:
    assert heir.first.ran[-1] == "boot"
    own = {"mageia": "mageia-release-common", "openmandriva": "distro-release-OpenMandriva"}
    role = heir.flavour.role
    assert {"rpm", "dnf", "systemd", "basesystem-minimal", "tree-like", own[role]} <= heir.versions().keys()
    repos = heir.read(f"/etc/yum.repos.d/{role}.repo")
    assert repos.count("repo_gpgcheck=0\ngpgcheck=1\n") == 2
    assert not heir.server.asked("repomd.xml.asc")


def test_a_package_that_moved_is_upgraded_by_the_trees_own_dnf(heir: RpmMdShop) -> None:
    heir.publish("2")
    done = heir.build()
    assert done.ran[0] == "upgrade"
    assert done.ran[-1] == "boot"
    assert heir.versions()["tree-like"] == f"2-{heir.flavour.dist}"
    assert heir.read("/etc/tree-like.conf") == "version = 2\nours = 1\n"
