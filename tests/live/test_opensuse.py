"""openSUSE: a stand-in in the true format, with a real rpm and a real zypper; and one release upgraded to the
next, as its users do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Places
from tests.rpmmd_shop import WithMore, with_more
from tests.rpmmd_standin import LEAP_15, LEAP_16, Standin

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]


@pytest.fixture(scope="module")
def leap(places: Places, packages: Path) -> Iterator[WithMore]:
    with with_more(LEAP_15, places("leap"), packages) as made:
        yield made


def test_a_template_from_the_archive(leap: WithMore) -> None:
    assert leap.first.ran[-1] == "boot"
    leap.look("1")
    assert {"rpm", "zypper", "systemd", "Leap-release", "tree-like"} <= leap.versions().keys()
    names = leap.names()
    assert not [name for name in names if name.startswith(("./var/cache/zypp/", "./var/log/zypp/"))]
    assert leap.read("/etc/zypp/repos.d/opensuse.repo").count("repo_gpgcheck=1\ngpgcheck=1\n") == 2
    assert leap.read("/etc/zypp/repos.d/repo-oss.repo").startswith("[repo-oss]\nenabled=0\n")
    # what was only pulled in is told to libzypp, so that it can be removed with what needed it
    pulled_in = leap.read("/var/lib/zypp/AutoInstalled").split()
    assert "libsystemd-shared" in pulled_in
    assert "zypper" not in pulled_in


def test_a_package_that_moved_is_upgraded_by_the_trees_own_zypper(leap: WithMore) -> None:
    leap.publish("2")
    assert leap.build().ran[0] == "upgrade"
    assert leap.versions()["tree-like"] == f"2-{leap.flavour.dist}"
    leap.look("2")
    # rpm put the package's new configuration beside the one that the recipe had edited, or the old one away
    assert leap.read("/etc/tree-like.conf") == "version = 2\nours = 1\n"
    assert not [name for name in leap.names() if name.endswith((".rpmnew", ".rpmsave", ".rpmorig"))]


def test_a_release_becomes_the_next_one(leap: WithMore, packages: Path) -> None:
    sixteen = Standin(LEAP_16, leap.standin.place, packages)
    sixteen.publish([leap.app("3")])
    done = leap.upgrade(sixteen)
    template = done.summary["template"]
    versions = leap.versions(template)
    assert versions["Leap-release"] == f"16.0-{LEAP_16.dist}"
    assert all(version.endswith((LEAP_16.dist, LEAP_15.dist)) for version in versions.values())
    assert versions["rpm"].endswith(LEAP_16.dist)
    text = leap.read("/etc/zypp/repos.d/opensuse.repo", template)
    assert "baseurl=http://download.opensuse.org/distribution/leap/16.0/repo/oss/x86_64/\n" in text
    assert "15.6" not in text
