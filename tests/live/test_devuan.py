"""Devuan: its archive is not at hand, so Debian's packages stand in for its own; sysvinit is the init."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.derived_archive import DEVUAN, DerivedArchive
from tests.workshop import Workshop
from tmplbuild.engine.steps import NAMES

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]

NAME = "devuan-5-x86_64"


def test_a_recipe_of_devuan_becomes_a_template_that_sysvinit_boots(tmp_path: Path, packages: Path) -> None:
    archive = DerivedArchive(DEVUAN, tmp_path, packages)
    shop = Workshop(tmp_path / "shop", packages)
    archive.export_key(shop.recipe("devuan", archive.recipe()))
    with archive.serve() as server:
        options = ("--recipes", str(shop.place / "recipes"), "--mirror", f"devuan={server.url}")
        done = shop.build("test-devuan", *options)
        assert done.ran == list(NAMES)
        assert shop.build("test-devuan", *options).unchanged
    manifest = json.loads((shop.templates / f"{NAME}.manifest.json").read_text())
    names = {row["name"] for row in manifest["packages"]}
    assert {"sysvinit-core", "devuan-keyring", "openssh-server"} <= names
    assert not names & {"systemd", "systemd-sysv", "udev", "debian-archive-keyring"}
    with shop.tree(NAME, "clean-again") as tree:
        assert "ID=devuan\n" in tree.read_text("/usr/lib/os-release")
        lines = tree.read_text("/etc/apt/sources.list").splitlines()
        assert lines[0] == "deb http://deb.devuan.org/merged daedalus main"
        getty = [line for line in tree.read_text("/etc/inittab").splitlines() if "getty" in line]
        assert getty
        assert all(line.startswith("#") for line in getty)
        assert "ssh-keygen -A" in tree.read_text("/etc/default/ssh")
        assert not tree.glob("/etc/ssh/ssh_host_*")
    assert shop.remains() == {}
