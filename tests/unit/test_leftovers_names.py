"""Names of leftovers, and which side they hold."""

from __future__ import annotations

import pytest

from tmplbuild.checks import rules_remains
from tmplbuild.leftovers.intent import Intent, matches
from tmplbuild.leftovers.suffixes import MANAGERS, Names, known

HEX = "0123456789abcdef0123"

SIDES = [
    ("dpkg", "/etc/a.dpkg-dist", "/etc/a", "new"),
    ("dpkg", "/etc/a.dpkg-old", "/etc/a", "old"),
    ("dpkg", "/etc/a.dpkg-bak", "/etc/a", "old"),
    ("dpkg", "/etc/a.dpkg-backup", "/etc/a", "old"),
    ("dpkg", "/etc/a.dpkg-remove", "/etc/a", "old"),
    ("dpkg", "/usr/bin/a.dpkg-new", "/usr/bin/a", "unfinished"),
    ("dpkg", "/usr/bin/a.dpkg-tmp", "/usr/bin/a", "unfinished"),
    ("ucf", "/etc/a.ucf-dist", "/etc/a", "new"),
    ("ucf", "/etc/a.ucf-old", "/etc/a", "old"),
    ("ucf", "/etc/a.merge-error", "/etc/a", "waste"),
    ("ucf", "/etc/a.ucf-new", "/etc/a", "unfinished"),
    ("rpm", "/etc/a.rpmnew", "/etc/a", "new"),
    ("rpm", "/etc/a.rpmsave", "/etc/a", "old"),
    ("rpm", "/etc/a.rpmorig", "/etc/a", "old"),
    ("rpm", "/etc/a;5f3a1c0d", "/etc/a", "unfinished"),
    ("pacman", "/etc/a.pacnew", "/etc/a", "new"),
    ("pacman", "/etc/a.pacsave", "/etc/a", "old"),
    ("pacman", "/etc/a.pacsave.12", "/etc/a", "old"),
    ("pacman", "/etc/a.pacorig", "/etc/a", "old"),
    (
        "pacman",
        "/var/cache/pacman/pkg/a.pkg.tar.zst.part",
        "/var/cache/pacman/pkg/a.pkg.tar.zst",
        "unfinished",
    ),
    ("apk", "/etc/a.apk-new", "/etc/a", "new"),
    ("apk", f"/usr/bin/.apk.{HEX}", "/usr/bin/", "unfinished"),
    ("slackware", "/etc/a.new", "/etc/a", "new"),
    ("slackware", "/etc/a.orig", "/etc/a", "old"),
]


@pytest.mark.parametrize(("manager", "path", "base", "side"), SIDES)
def test_a_name_tells_its_side(manager: str, path: str, base: str, side: str) -> None:
    found = Names([manager]).read(path)
    assert found is not None
    assert (found.base, found.side, found.manager) == (base, side, manager)
    assert found.base + found.suffix == path
    others = [name for name in MANAGERS if name != manager]
    assert Names(others).read(path) is None


@pytest.mark.parametrize(
    "path",
    ["/etc/a", "/etc/.rpmnew", "/etc/rpmnew", "/etc/a.rpmnew.bz2", "/home/a.part", "/etc/a;5f3a1c0", "/"],
)
def test_an_ordinary_name_is_none(path: str) -> None:
    assert Names(MANAGERS).read(path) is None


def test_the_check_knows_the_same_names() -> None:
    """Those that a lint can tell without the package database: Slackware's are ordinary words."""
    for manager, path, _, side in SIDES:
        name = path.rpartition("/")[2]
        if manager == "slackware" or name.endswith(".part"):
            continue
        pattern = rules_remains.UNFINISHED if side == "unfinished" else rules_remains.LEFTOVERS
        assert pattern.fullmatch(name), path


def test_further_endings() -> None:
    names = Names([], suffixes=[".rpmnew", "~"], unfinished=[".half"])
    sides = {
        path: found.side for path in ("/etc/a.rpmnew", "/etc/a~", "/b.half") if (found := names.read(path))
    }
    assert sides == {"/etc/a.rpmnew": "new", "/etc/a~": "waste", "/b.half": "unfinished"}
    assert known(".pacsave.3") == ("pacman", "old")


@pytest.mark.parametrize(
    ("pattern", "path", "wanted"),
    [
        ("/etc/a", "/etc/a", True),
        ("/etc/*", "/etc/a/b", False),
        ("/etc/**", "/etc/a/b", True),
        ("/etc/**/*key*", "/etc/ssh/ssh_host_key", True),
        ("/etc/**/*key*", "/etc/key", True),
        ("/etc/*", "/etc/.a", False),
        ("/etc/.*", "/etc/.a", True),
        ("/etc/[ab]?", "/etc/b1", True),
    ],
)
def test_patterns(pattern: str, path: str, wanted: bool) -> None:
    assert matches(path, (pattern,)) is wanted


def test_what_lies_below_a_removed_directory_is_removed() -> None:
    intent = Intent(removed=("/etc/udev", "/var/cache/x/**"))
    assert intent.removes("/etc/udev/rules.d/1.rules")
    assert intent.removes("/var/cache/x/y")
    assert not intent.removes("/etc/udevil")
