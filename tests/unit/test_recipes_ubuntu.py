"""The shipped Ubuntu recipes: Debian's rules, Ubuntu's archives."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from tests.unit.recipe_files import KEY, faults, tiny
from tmplbuild.errors import RecipeError
from tmplbuild.recipes import LoadedRecipe, lint, load
from tmplbuild.recipes.catalogue import shipped_root
from tmplbuild.recipes.certificate import fingerprint_of

RELEASES = ("20.04", "22.04", "24.04", "26.04")
SUITES = {"20.04": "focal", "22.04": "jammy", "24.04": "noble", "26.04": "resolute"}
ARCHIVE_2018 = "F6ECB3762474EDA9D21B7022871920D1991BC93C"


@pytest.fixture(params=RELEASES)
def ubuntu(request: pytest.FixtureRequest) -> LoadedRecipe:
    return load(f"ubuntu-{request.param}", roots=[shipped_root()])


def test_lint_has_nothing_to_say_while_the_release_lives(ubuntu: LoadedRecipe) -> None:
    assert lint(ubuntu, today=datetime.date(2025, 1, 1)) == []


def test_three_pockets_of_one_archive(ubuntu: LoadedRecipe) -> None:
    suite = SUITES[ubuntu.recipe.image.release]
    (role,) = ubuntu.recipe.archives
    assert role == "ubuntu"
    archive = ubuntu.recipe.archives[role]
    assert archive.suites == (suite, f"{suite}-updates", f"{suite}-security")
    assert archive.components == ("main", "universe")
    assert archive.mirrors[0] == "host"


@pytest.mark.parametrize("release", RELEASES)
def test_other_architectures_have_the_ports_archive(release: str) -> None:
    found = load(f"ubuntu-{release}", arch="aarch64", roots=[shipped_root()])
    assert found.recipe.image.name == f"ubuntu-{release}-aarch64"
    (role,) = found.recipe.archives
    assert role == "ubuntu-ports"
    assert found.recipe.archives[role].public == "http://ports.ubuntu.com/ubuntu-ports"


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
@pytest.mark.parametrize("release", RELEASES)
def test_each_archive_has_its_pinned_certificates(release: str, arch: str) -> None:
    found = load(f"ubuntu-{release}", arch=arch, roots=[shipped_root()])
    assert all(ARCHIVE_2018 in archive.keys for archive in found.recipe.archives.values())
    pinned = [key for archive in found.recipe.archives.values() for key in archive.keys]
    assert [fingerprint_of(path.read_bytes()) for path in found.key_files()] == pinned


def test_no_debian_archive_and_no_debian_keyring(ubuntu: LoadedRecipe) -> None:
    assert "debian-archive-keyring" not in ubuntu.recipe.bootstrap.include
    assert "ubuntu-keyring" in ubuntu.recipe.bootstrap.include


def test_no_kernel_snap_cloud_or_netplan(ubuntu: LoadedRecipe) -> None:
    unwanted = {"linux-generic", "snapd", "cloud-init", "netplan.io", "udev", "initramfs-tools"}
    assert unwanted <= set(ubuntu.recipe.install.exclude)
    assert {"ifupdown", "net-tools"} <= set(ubuntu.recipe.install.packages)


def test_a_release_is_a_handful_of_lines() -> None:
    for release in RELEASES:
        text = (shipped_root() / f"ubuntu/{release}.toml").read_text()
        assert len([line for line in text.splitlines() if line.strip()]) <= 30


# -- archives by architecture -----------------------------------------------------------------------

OTHER = f"""
[archives.other]
arches = ["i386"]
mirrors = ["host"]
public = "http://tiny.example/other"
suites = ["{{suite}}"]
components = ["main"]
keys = ["{KEY}"]
"""


def test_an_archive_for_another_architecture_is_no_part_of_the_recipe(tmp_path: Path) -> None:
    assert list(tiny(tmp_path, OTHER).recipe.archives) == ["tiny"]
    assert list(tiny(tmp_path, OTHER, arch="i386").recipe.archives) == ["tiny", "other"]


def test_an_archive_of_an_architecture_that_the_recipe_has_not(tmp_path: Path) -> None:
    found = faults(tmp_path, OTHER.replace("i386", "i486"))
    assert found == ('1.toml:8: archives.other.arches[0]: the recipe has no "i486"; did you mean "i386"?',)


def test_an_architecture_without_an_archive(tmp_path: Path) -> None:
    only = '[archives.tiny]\narches = ["i386"]\n'
    with pytest.raises(RecipeError) as caught:
        tiny(tmp_path, only)
    assert "none is for amd64" in str(caught.value)
    assert list(tiny(tmp_path, only, arch="i386").recipe.archives) == ["tiny"]


# -- the flavour with systemd-networkd ----------------------------------------------------------------


@pytest.mark.parametrize("release", ["22.04", "24.04", "26.04"])
def test_the_networkd_flavour(release: str) -> None:
    plain, found = (load(f"ubuntu-{release}{end}", roots=[shipped_root()]) for end in ("", "-networkd"))
    assert lint(found, today=datetime.date(2025, 1, 1)) == []
    assert found.recipe.image.name == f"ubuntu-{release}-networkd-x86_64"
    image = found.recipe.image
    assert (image.suite, image.eol) == (plain.recipe.image.suite, plain.recipe.image.eol)
    assert found.recipe.archives == plain.recipe.archives
    assert found.recipe.configure.sources == plain.recipe.configure.sources
    assert not {"ifupdown", "net-tools"} & set(found.recipe.install.packages)
    assert "/etc/network/interfaces" not in found.recipe.configure.files
    assert found.recipe.check.network == "networkd"
