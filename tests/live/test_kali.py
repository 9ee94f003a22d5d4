"""Kali: its archive is not at hand, so Debian's packages stand in for its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.derived_archive import KALI, DerivedArchive
from tests.workshop import Workshop
from tmplbuild.engine.steps import NAMES

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]


def test_a_recipe_of_kali_becomes_a_template(tmp_path: Path, packages: Path) -> None:
    archive = DerivedArchive(KALI, tmp_path, packages)
    shop = Workshop(tmp_path / "shop", packages)
    archive.export_key(shop.recipe("kali", archive.recipe()))
    with archive.serve() as server:
        mirror = ("--mirror", f"kali={server.url}")
        done = shop.build("test-kali", "--recipes", str(shop.place / "recipes"), *mirror)
    assert done.ran == list(NAMES)
    with shop.tree("kali-rolling-x86_64", "clean-again") as tree:
        assert "ID=kali\n" in tree.read_text("/usr/lib/os-release")
        text = tree.read_text("/etc/apt/sources.list.d/kali.sources")
        assert "URIs: http://http.kali.org/kali\nSuites: kali-rolling\n" in text
        assert "Signed-By: /usr/share/keyrings/kali-archive-keyring.gpg\n" in text
        assert tree.read_text("/etc/locale.conf") == "LANG=C.UTF-8\n"
        assert not tree.exists("/etc/default/locale")
    assert shop.remains() == {}
