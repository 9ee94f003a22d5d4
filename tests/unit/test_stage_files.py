"""configure, strip, clean: rules of a recipe, applied to trees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec import structs

from tests.unit.fake_bench import FakeBench, UserTree, make_tree
from tmplbuild.errors import RecipeError
from tmplbuild.managers import manager
from tmplbuild.recipes.model import Archive, Clean, Configure, Edit, File, Strip
from tmplbuild.stages import clean, configure, files, strip

ARCHIVES = {
    "debian": Archive(
        mirrors=("host", "http://mirror.example/debian"),
        public="http://deb.example/debian",
        suites=("bookworm", "bookworm-updates"),
        components=("main", "contrib"),
        keys=("A" * 40,),
    ),
    "debian-security": Archive(
        mirrors=("host",),
        public="http://deb.example/debian-security",
        suites=("bookworm-security",),
        components=("main",),
        keys=("A" * 40,),
    ),
}

STATUS = """\
Package: udev
Status: install ok installed
Architecture: amd64
Version: 252

Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2
"""


@pytest.mark.parametrize(
    ("text", "rule", "want"),
    [
        ("a=1\nb=2\n", Edit(path="/f", match="^a=", replace="a=9"), "a=91\nb=2\n"),
        ("a=1\n", Edit(path="/f", match=r"^a=(\d)", replace=r"a=\g<1>0"), "a=10\n"),
        ("a\nb\n", Edit(path="/f", match="^a$", delete=True), "b\n"),
        ("1:getty\n# 2:getty\n", Edit(path="/f", match="getty", comment=True), "#1:getty\n# 2:getty\n"),
        ("a", Edit(path="/f", match="z", delete=True), "a"),
        ("a\n", Edit(path="/f", append="b"), "a\nb\n"),
        ("b\n", Edit(path="/f", append="b"), "b\n"),
        ("a\n", Edit(path="/f", match="a", delete=True), ""),
    ],
)
def test_edit(text: str, rule: Edit, want: str) -> None:
    assert files.edited(text, rule) == want


def test_an_edit_follows_a_link_and_keeps_it(tmp_path: Path) -> None:
    make_tree(tmp_path, {"etc/real": "x=1\n", "etc/link": "-> real"})
    with UserTree(tmp_path) as tree:
        changed = files.edit(tree, [Edit(path="/etc/link", match="x=1", replace="x=2")])
    assert changed == ["/etc/link"]
    assert (tmp_path / "etc/link").is_symlink()
    assert (tmp_path / "etc/real").read_text() == "x=2\n"


def test_configure_writes_public_sources_only(tmp_path: Path) -> None:
    make_tree(tmp_path, {"etc/apt/sources.list": "deb http://build.example x main\n"})
    make_tree(tmp_path, {"etc/apt/sources.list.d/old.list": "deb http://old.example x main\n"})
    bench = FakeBench(tmp_path)
    configure.run(bench, Configure(sources="list"), ARCHIVES)
    assert (tmp_path / "etc/apt/sources.list").read_text() == (
        "deb http://deb.example/debian bookworm main contrib\n"
        "deb http://deb.example/debian bookworm-updates main contrib\n"
        "deb http://deb.example/debian-security bookworm-security main\n"
    )
    assert os.listdir(tmp_path / "etc/apt/sources.list.d") == []


def test_configure_deb822_names_the_keyring_of_the_tree(tmp_path: Path) -> None:
    make_tree(tmp_path, {"usr/share/keyrings/debian-archive-keyring.gpg": "k", "etc/apt/sources.list": "x"})
    configure.run(FakeBench(tmp_path), Configure(sources="deb822"), ARCHIVES)
    text = (tmp_path / "etc/apt/sources.list.d/debian.sources").read_text()
    assert text.count("Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n") == 2
    assert "Suites: bookworm bookworm-updates\n" in text
    assert not (tmp_path / "etc/apt/sources.list").exists()


@pytest.mark.parametrize("form", ["list", "deb822"])
def test_an_archive_with_keys_of_its_own(form: str, tmp_path: Path) -> None:
    make_tree(tmp_path / "recipe", {f"keys/{'A' * 40}.asc": "certificate"})
    tree = tmp_path / "tree"
    tree.mkdir()
    archive = structs.replace(ARCHIVES["debian"], own_keys=True)
    bench = FakeBench(tree, recipe_dir=tmp_path / "recipe")
    done = configure.run(bench, Configure(sources=form), {"local": archive})  # type: ignore[arg-type]
    path = f"/etc/apt/keyrings/local-{'A' * 40}.asc"
    assert (tree / path.lstrip("/")).read_text() == "certificate"
    text = (tree / done["sources"][0].lstrip("/")).read_text()
    assert path in text


def test_configure_makes_files_and_runs_commands(tmp_path: Path) -> None:
    beside = tmp_path / "recipe"
    make_tree(beside, {"files/motd": "hello\n"})
    tree = tmp_path / "tree"
    tree.mkdir()
    bench = FakeBench(tree, recipe_dir=beside)
    section = Configure(
        files={
            "/etc/motd": File(source="files/motd", mode="600"),
            "/etc/mtab": File(link="/proc/mounts"),
            "/etc/empty": File(directory=True, mode="1777"),
            "/etc/fstab": File(text="# none\n"),
        },
        commands=(("true", "x"),),
    )
    done = configure.run(bench, section, ARCHIVES)
    assert (tree / "etc/motd").read_text() == "hello\n"
    assert (tree / "etc/motd").stat().st_mode & 0o777 == 0o600
    assert os.readlink(tree / "etc/mtab") == "/proc/mounts"
    assert (tree / "etc/empty").stat().st_mode & 0o7777 == 0o1777
    assert bench.shell.ran == [("true", "x")]
    assert "/etc/fstab" in done["files"]


def test_configure_missing_source_is_the_recipes_fault(tmp_path: Path) -> None:
    section = Configure(files={"/etc/motd": File(source="files/none")})
    with pytest.raises(RecipeError, match="cannot be read"):
        configure.run(FakeBench(tmp_path, recipe_dir=tmp_path), section, ARCHIVES)


def test_strip(tmp_path: Path) -> None:
    make_tree(
        tmp_path,
        {
            "var/lib/dpkg/status": STATUS,
            "var/lib/dpkg/info/format": "1\n",
            "usr/lib/systemd/systemd": "x",
            "etc/systemd/system/getty.target.wants/getty@tty1.service": "-> /lib/getty@.service",
            "etc/systemd/system/dbus-x.service": "-> /lib/systemd/system/getty@tty1.service",
            "etc/rc2.d/S02hwclock.sh": "-> ../init.d/hwclock.sh",
            "etc/rc0.d/K01hwclock.sh": "-> ../init.d/hwclock.sh",
            "boot/vmlinuz-6.1": "k",
            "boot/grub/grub.cfg": "g",
            "etc/inittab": "1:2345:respawn:/sbin/getty 38400 tty1\nca:12345:ctrlaltdel:/sbin/shutdown\n",
        },
    )
    section = Strip(
        purge=("udev", "linux-image"),
        mask=("systemd-udevd.service",),
        disable=("getty@tty1.service", "none.service"),
        rc_disable=("hwclock.sh",),
        remove=("/boot/*", "/lib/modules"),
        edits=(Edit(path="/etc/inittab", match="getty", comment=True),),
    )
    bench = FakeBench(tmp_path)
    done = strip.run(bench, section, manager("apt-deb"))
    assert bench.shell.ran == [("dpkg", "--purge", "udev")]
    assert done["purged"] == ["udev"]
    assert os.readlink(tmp_path / "etc/systemd/system/systemd-udevd.service") == "/dev/null"
    assert os.listdir(tmp_path / "etc/systemd/system/getty.target.wants") == []
    assert not (tmp_path / "etc/systemd/system/dbus-x.service").is_symlink()
    assert done["disabled"] == ["getty@tty1.service", "hwclock.sh"]
    assert os.listdir(tmp_path / "etc/rc2.d") == ["K01hwclock.sh"]
    assert os.listdir(tmp_path / "boot") == []
    assert (tmp_path / "etc/inittab").read_text().startswith("#1:2345")


def test_strip_masks_nothing_without_systemd(tmp_path: Path) -> None:
    make_tree(tmp_path, {"var/lib/dpkg/status": STATUS})
    strip.run(FakeBench(tmp_path), Strip(mask=("udev.service",)), manager("apt-deb"))
    assert not (tmp_path / "etc").exists()


def test_clean(tmp_path: Path) -> None:
    make_tree(
        tmp_path,
        {
            "var/log/syslog": "text",
            "var/log/apt/history.log": "text",
            "var/cache/apt/archives/x.deb": "d",
            "var/cache/apt/archives/partial/y": "d",
            "etc/passwd-": "old",
            "etc/machine-id": "0123",
            "tmp": "-> /var/tmp",
            "var/tmp/keep": "x",
        },
    )
    os.chmod(tmp_path / "var/log/syslog", 0o640)
    section = Clean(
        truncate=("/var/log/**",),
        empty=("/var/cache/apt/archives", "/tmp"),
        remove=("/etc/*-",),
        files={"/etc/machine-id": File(text="", mode="444")},
    )
    clean.run(FakeBench(tmp_path), section)
    assert (tmp_path / "var/log/syslog").read_text() == ""
    assert (tmp_path / "var/log/syslog").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "var/log/apt/history.log").read_text() == ""
    assert os.listdir(tmp_path / "var/cache/apt/archives") == []
    assert not (tmp_path / "etc/passwd-").exists()
    assert (tmp_path / "etc/machine-id").read_text() == ""
    # a link is no directory of the tree's own: what it leads to has its own rule
    assert (tmp_path / "var/tmp/keep").exists()
