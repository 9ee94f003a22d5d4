"""The shipped Debian recipes: each a few lines, valid, and as the rules of a container want them."""

from __future__ import annotations

import datetime

import pytest

from tmplbuild.recipes import LoadedRecipe, lint, load
from tmplbuild.recipes.catalogue import shipped_root
from tmplbuild.recipes.certificate import fingerprint_of

RELEASES = ("11", "12", "13")


@pytest.fixture(params=RELEASES)
def debian(request: pytest.FixtureRequest) -> LoadedRecipe:
    return load(f"debian-{request.param}", roots=[shipped_root()])


def test_lint_has_nothing_to_say_while_the_release_lives(debian: LoadedRecipe) -> None:
    assert lint(debian, today=datetime.date(2026, 1, 1)) == []


@pytest.mark.parametrize("arch", ["amd64", "arm64", "i386"])
@pytest.mark.parametrize("release", RELEASES)
def test_templates_have_openvz_names(release: str, arch: str) -> None:
    word = {"amd64": "x86_64", "arm64": "aarch64", "i386": "x86"}[arch]
    assert (
        load(f"debian-{release}", arch=arch, roots=[shipped_root()]).recipe.image.name
        == f"debian-{release}-{word}"
    )


def test_a_release_is_a_handful_of_lines() -> None:
    for release in RELEASES:
        text = (shipped_root() / f"debian/{release}.toml").read_text()
        assert len([line for line in text.splitlines() if line.strip()]) <= 30


def test_each_archive_has_its_pinned_certificates(debian: LoadedRecipe) -> None:
    pinned = [key for archive in debian.recipe.archives.values() for key in archive.keys]
    assert [fingerprint_of(path.read_bytes()) for path in debian.key_files()] == pinned


def test_no_certificate_lies_about_that_no_recipe_pins() -> None:
    pinned = {
        key
        for release in RELEASES
        for archive in load(f"debian-{release}", roots=[shipped_root()]).recipe.archives.values()
        for key in archive.keys
    }
    assert {path.stem for path in (shipped_root() / "debian/keys").iterdir()} == pinned


def test_mirrors_begin_with_the_host_s_own(debian: LoadedRecipe) -> None:
    assert {archive.mirrors[0] for archive in debian.recipe.archives.values()} == {"host"}
    assert all(
        archive.public.startswith("http://deb.debian.org/") for archive in debian.recipe.archives.values()
    )


def test_network_is_what_openvz_and_proxmox_write(debian: LoadedRecipe) -> None:
    assert {"ifupdown", "net-tools", "iproute2"} <= set(debian.recipe.install.packages)
    files = debian.recipe.configure.files
    assert files["/etc/network/interfaces"].text == "auto lo\niface lo inet loopback\n"
    assert files["/etc/systemd/system/getty.target.wants"].directory
    neutral = debian.recipe.clean.files
    assert (
        neutral["/etc/resolv.conf"].text
        == neutral["/etc/hostname"].text
        == neutral["/etc/machine-id"].text
        == ""
    )
    assert neutral["/etc/machine-id"].mode == "0444"


def test_no_kernel_and_no_udev(debian: LoadedRecipe) -> None:
    unwanted = ("linux-image", "grub", "udev", "initramfs", "plymouth", "console-setup")
    assert not [name for name in debian.recipe.install.packages if name.startswith(unwanted)]
    assert "systemd-udevd.service" in debian.recipe.strip.mask


def test_gettys_that_managers_start_are_left_to_them(debian: LoadedRecipe) -> None:
    touched = {*debian.recipe.strip.mask, *debian.recipe.strip.disable}
    assert (
        not {"console-getty.service", "container-getty@.service", "getty@.service", "getty.target"} & touched
    )


def test_host_keys_are_made_before_the_first_ssh(debian: LoadedRecipe) -> None:
    files = debian.recipe.configure.files
    unit = files["/etc/systemd/system/ssh-host-keys.service"].text or ""
    assert "ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key" in unit
    assert "Before=ssh.service" in unit
    assert "/etc/ssh/ssh_host_*" in debian.recipe.clean.remove


def test_only_the_releases_that_differ_say_so() -> None:
    by_release = {release: load(f"debian-{release}", roots=[shipped_root()]).recipe for release in RELEASES}
    assert [by_release[release].configure.sources for release in RELEASES] == ["list", "list", "deb822"]
    assert [("rsyslog" in by_release[release].install.packages) for release in RELEASES] == [
        True,
        False,
        False,
    ]
    assert "/etc/locale.conf" in by_release["13"].configure.files
    assert by_release["11"].strip == by_release["12"].strip == by_release["13"].strip
    assert by_release["11"].clean == by_release["13"].clean
