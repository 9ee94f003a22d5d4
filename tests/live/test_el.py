"""Enterprise Linux: the public archives are not at hand here, so a stand-in in their true format is, with
a real rpm and a real dnf. Lists and packages are signed, and both are verified."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Places
from tests.rpm_factory import Rpm
from tests.rpmmd_shop import WithMore, why, with_more
from tests.rpmmd_standin import ALMALINUX

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]


@pytest.fixture(scope="module")
def el(places: Places, packages: Path) -> Iterator[WithMore]:
    with with_more(ALMALINUX, places("el"), packages) as made:
        yield made


def test_a_template_from_the_archive(el: WithMore) -> None:
    assert el.first.ran[-1] == "boot"
    el.look("1")
    rows = el.versions()
    assert {"rpm", "dnf", "systemd", "almalinux-release", "tree-like"} <= rows.keys()
    assert not {name for name in rows if name.startswith(("kernel", "dracut"))}
    names = el.names()
    assert not [name for name in names if name.startswith(("./boot/", "./var/cache/dnf/", "./.tmplbuild"))]
    assert "./etc/yum.repos.d/almalinux.repo" in names
    # it needs a file that no list of packages names; its stream is the enabled one, though another is newer
    assert rows["postgresql-server"] == "16.1-1.el9"
    assert "stream=16\nprofiles=\nstate=enabled\n" in el.read("/etc/dnf/modules.d/postgresql.module")


def test_nothing_moved(el: WithMore) -> None:
    asked = len(el.server.asked("filelists"))
    assert asked
    done = el.shop.run("plan", el.flavour.name, *el.options, "--json")
    assert json.loads(done.out)["modules"] == ["postgresql:16"]
    assert el.build().unchanged
    assert len(el.server.asked("filelists")) == asked


def test_a_package_that_moved_is_upgraded_by_the_trees_own_dnf(el: WithMore) -> None:
    newer = Rpm("postgresql-server", version="16.2", release=el.flavour.dist)
    el.standin.publish([el.app("2"), newer])
    el.lend("2")
    assert el.build().ran[0] == "upgrade"
    assert el.versions()["tree-like"] == f"2-{el.flavour.dist}"
    assert el.versions()["postgresql-server"] == "16.2-1.el9"
    el.look("2")
    assert el.read("/etc/tree-like.conf") == "version = 2\nours = 1\n"


def test_a_script_that_fails_fails_the_build_and_keeps_the_template(el: WithMore) -> None:
    template = el.shop.templates / f"{el.template}.tar.gz"
    before = template.stat()
    el.publish("3", post="echo this script fails >&2\nexit 3\n")
    done = el.build(ok=False)
    assert done.status == 7
    assert "scriptlet" in why(done)
    after = template.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    el.publish("4")
    assert el.build().ran[-1] == "boot"
