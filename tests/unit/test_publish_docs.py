"""The examples of docs/publish.md are settings and recipes that are read; the variant is what WSL wants."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tmplbuild.config import load_settings
from tmplbuild.recipes import load, recipe_roots

ROOT = Path(__file__).resolve().parents[2]


def blocks() -> list[str]:
    """The TOML examples of the page."""
    text = (ROOT / "docs/publish.md").read_text()
    found = re.findall(r"(?:^ {4}\S.*\n|^ {4,}\S.*\n|^\n(?= {4}))+", text, re.MULTILINE)
    lines = [re.sub(r"^ {4}", "", block, flags=re.MULTILINE).strip() for block in found]
    return [block for block in lines if re.search(r"^\[publish", block, re.MULTILINE)]


def test_every_toml_example_is_read(tmp_path: Path) -> None:
    kinds = set()
    for block in blocks():
        table = tomllib.loads(block)["publish"]
        if "proxmox" in table:
            kinds.add("recipe")
            (tmp_path / "own").mkdir()
            (tmp_path / "own/12.toml").write_text(
                f'extends = "debian/12"\n[image]\ndistro = "own"\n{block}\n'
            )
            loaded = load("own-12", roots=[tmp_path, *recipe_roots(())])
            assert loaded.recipe.publish.proxmox.files["/etc/appliance.info"].text == "Name: own-12\n"
            assert loaded.recipe.publish.wsl.remove == ("/etc/resolv.conf",)
        else:
            kinds.add("settings")
            config = tmp_path / "tmplbuild.toml"
            config.write_text(block)
            load_settings(config, environ={"HOME": str(tmp_path)}, vz_conf=tmp_path / "none")
    assert kinds == {"recipe", "settings"}


@pytest.mark.parametrize("name", ["debian-12-wsl", "debian-13-wsl", "ubuntu-24.04-wsl"])
def test_the_variant_for_wsl(name: str) -> None:
    """MicrosoftDocs/WSL, build-custom-distro.md: systemd, units that are Windows' work, the first start."""
    loaded = load(name, roots=recipe_roots(()))
    recipe = loaded.recipe
    assert recipe.image.name == f"{name}-x86_64"
    assert set(recipe.image.arches) <= {"amd64", "arm64"}
    files = recipe.configure.files
    assert "systemd=true" in (files["/etc/wsl.conf"].text or "").split()
    conf = files["/etc/wsl-distribution.conf"].text or ""
    assert f"defaultName = {recipe.image.distro}-{recipe.image.release}\n" in conf
    program = re.search(r"^command = (/usr/lib(?:exec)?/wsl/\S+)$", conf, re.MULTILINE)
    assert program is not None
    assert files[program[1]].mode == "0755"
    masked = {
        "systemd-resolved.service",
        "systemd-networkd.service",
        "NetworkManager.service",
        "networking.service",
        "console-getty.service",
        "systemd-tmpfiles-setup.service",
        "systemd-tmpfiles-clean.timer",
        "tmp.mount",
    }
    assert masked <= set(recipe.strip.mask)
    assert "/etc/resolv.conf" in recipe.publish.wsl.remove


def test_only_where_systemd_is_the_init() -> None:
    from tmplbuild.recipes import entries

    names = {entry.name for entry in entries(recipe_roots(()), variants=True)}
    assert "debian-12-wsl" in names
    assert not {"devuan-5-wsl", "devuan-6-wsl"} & names
