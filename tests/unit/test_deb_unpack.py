"""Unpacking packages: whose a path is, what dpkg keeps, and the database that is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.deb_factory import UID, understood
from tmplbuild.core.tree import Tree
from tmplbuild.errors import StageError, StoreError, VerifyError
from tmplbuild.managers import dpkg, dpkgdb
from tmplbuild.managers.deborder import configured_first
from tmplbuild.managers.debpackage import DebPackage
from tmplbuild.managers.debplan import settle
from tmplbuild.managers.debunpack import Installed, Outcome, Rules, unpack

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes files of root's: run `make test` as root")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory for package files."""
    (tmp_path / "debs").mkdir()
    return tmp_path / "debs"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty tree."""
    (tmp_path / "tree").mkdir()
    return Tree(tmp_path / "tree")


def fill(
    tree: Tree,
    packages: Sequence[DebPackage],
    *,
    rules: Rules | None = None,
    installed: Installed | None = None,
) -> Outcome:
    """Settle and unpack."""
    plan = settle(packages, {})
    return unpack(tree.fd, packages, plan, rules=rules, installed=lambda: installed or Installed())


def test_all_kinds_of_entries(place: Path, tree: Tree) -> None:
    files = {
        "usr": None,
        "usr/bin": None,
        "usr/bin/a": b"A" * 3_000_000,
        "usr/bin/b": ("hard", "usr/bin/a"),
        "usr/bin/c": ("link", "/usr/bin/a"),
        "usr/pipe": ("fifo", ""),
    }
    fill(tree, [understood(place, "one", files, modes={"usr/bin/a": 0o4755, "usr/bin": 0o1777})])
    state = tree.lstat("/usr/bin/a")
    assert state is not None
    assert (state.st_mode & 0o7777, state.st_nlink, state.st_mtime) == (0o4755, 2, 1_000_000_000)
    assert tree.readlink("/usr/bin/c") == "/usr/bin/a"
    folder = tree.lstat("/usr/bin")
    assert folder is not None
    assert folder.st_mode & 0o7777 == 0o1777


def test_the_first_package_of_a_directory_gives_its_mode(place: Path, tree: Tree) -> None:
    first = understood(place, "a", {"d": None, "d/a": b""}, modes={"d": 0o700})
    second = understood(place, "b", {"d": None, "d/b": b""}, modes={"d": 0o755})
    fill(tree, [first, second])
    state = tree.lstat("/d")
    assert state is not None
    assert state.st_mode & 0o777 == 0o700


def test_a_directory_where_a_link_to_one_is_keeps_the_link(place: Path, tree: Tree) -> None:
    tree.mkdir("/usr/lib")
    tree.symlink("usr/lib", "/lib")
    fill(tree, [understood(place, "a", {"lib": None, "lib/x": b"1", "lib/y": None, "lib/y/z": b"2"})])
    assert tree.readlink("/lib") == "usr/lib"
    assert tree.read_bytes("/usr/lib/y/z") == b"2"


def test_a_link_never_replaces_a_directory(place: Path, tree: Tree) -> None:
    tree.mkdir("/d")
    fill(tree, [understood(place, "a", {"d": ("link", "e")})])
    assert not tree.is_link("/d")


def test_links_of_the_tree_lead_nowhere_but_into_it(place: Path, tree: Tree, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    tree.symlink(str(outside), "/way")
    with pytest.raises(StoreError):
        fill(tree, [understood(place, "a", {"way/x": b"!"})])
    assert list(outside.iterdir()) == []


def test_two_packages_with_the_same_file_are_refused(place: Path, tree: Tree) -> None:
    one, other = understood(place, "a", {"x": b"1"}), understood(place, "b", {"x": b"2"})
    with pytest.raises(StageError, match="package b would overwrite a file of package a"):
        fill(tree, [one, other])
    assert tree.listdir("/") == []


@pytest.mark.parametrize("swapped", [False, True])
def test_replaces_decides_whatever_the_order(place: Path, tree: Tree, swapped: bool) -> None:
    old = understood(place, "old", {"x": b"old", "y": b"old"})
    new = understood(place, "new", {"x": b"new"}, Replaces="other, old (<< 2)")
    order = [new, old] if swapped else [old, new]
    plan = settle(order, {})
    unpack(tree.fd, order, plan)
    assert (tree.read_bytes("/x"), tree.read_bytes("/y")) == (b"new", b"old")
    assert plan.lost[order.index(old)] == {"x"}
    assert plan.lost[order.index(new)] == set()


def test_a_diverted_file_is_nobodys_to_overwrite(place: Path, tree: Tree) -> None:
    one = understood(place, "a", {"x": b"1"})
    other = understood(place, "b", {"x": b"2"})
    diverted = {"x": ("x.real", "b")}
    plan = settle([one, other], {}, diverted)
    unpack(tree.fd, [one, other], plan, rules=Rules(diverted, {}))
    assert (tree.read_bytes("/x"), tree.read_bytes("/x.real")) == (b"2", b"1")


def test_replaces_of_another_version_does_not(place: Path, tree: Tree) -> None:
    old = understood(place, "old", {"x": b"old"}, Version="3")
    new = understood(place, "new", {"x": b"new"}, Replaces="old (<< 2)")
    with pytest.raises(StageError):
        fill(tree, [old, new])


def test_one_file_in_two_spellings_is_the_later_packages(place: Path, tree: Tree) -> None:
    tree.mkdir("/usr/bin")
    tree.symlink("usr/bin", "/bin")
    one = understood(place, "a", {"bin": None, "bin/x": b"1"})
    other = understood(place, "b", {"usr/bin/x": b"2"})
    plan = settle([one, other], {"bin": "usr/bin"})
    unpack(tree.fd, [one, other], plan)
    assert tree.read_bytes("/bin/x") == b"2"
    assert plan.lost == (frozenset(), frozenset())


@needs_root
def test_a_file_of_an_installed_package_is_not_overwritten(place: Path, tree: Tree) -> None:
    tree.write("/x", "old")
    held = Installed({"x": "old"}, {"old": "1"})
    with pytest.raises(StageError, match="would overwrite a file of package old"):
        fill(tree, [understood(place, "new", {"x": b"new"})], installed=held)
    assert tree.read_text("/x") == "old"
    replacing = understood(place, "newer", {"x": b"new"}, Replaces="old")
    assert fill(tree, [replacing], installed=held).taken == {"old": {"x"}}
    assert tree.read_text("/x") == "new"


@needs_root
def test_a_file_of_nobody_is_overwritten_and_a_conffile_is_not(place: Path, tree: Tree) -> None:
    tree.write("/x", "local")
    tree.write("/etc/x.conf", "local")
    one = understood(place, "a", {"x": b"new", "etc/x.conf": b"new"}, scripts={"conffiles": b"/etc/x.conf\n"})
    outcome = fill(tree, [one])
    assert tree.read_text("/x") == "new"
    assert tree.read_text("/etc/x.conf") == "local"
    assert tree.read_text("/etc/x.conf.dpkg-new") == "new"
    assert outcome.new_conffiles == {"a": {"etc/x.conf"}}


def test_diversions(place: Path, tree: Tree) -> None:
    rules = Rules(diversions={"x": ("x.real", "keeper"), "y": ("y.local", "")})
    one = understood(place, "a", {"x": b"a", "y": b"a"})
    keeper = understood(place, "keeper", {"x": b"keeper"}, Replaces="a")
    fill(tree, [one], rules=rules)
    fill(tree, [keeper], rules=rules)
    assert {name: tree.read_bytes(f"/{name}") for name in tree.listdir("/")} == {
        "x": b"keeper",
        "x.real": b"a",
        "y.local": b"a",
    }


@needs_root
def test_overrides(place: Path, tree: Tree) -> None:
    fill(tree, [understood(place, "a", {"x": b"", "d": None})], rules=Rules(overrides={"x": (1, 2, 0o2750)}))
    state = tree.lstat("/x")
    assert state is not None
    assert (state.st_uid, state.st_gid, state.st_mode & 0o7777) == (1, 2, 0o2750)


@needs_root
def test_a_directory_with_setgid_gives_its_group_to_nothing(place: Path, tree: Tree) -> None:
    files = {"d": None, "d/f": b"", "d/l": ("link", "f"), "d/s": None}
    one = understood(place, "a", files, modes={"d": 0o2775})
    fill(tree, [one], rules=Rules(overrides={"d": (0, 50, 0o2775)}))
    found = {name: tree.lstat(f"/d/{name}") for name in ("f", "l", "s")}
    assert {name: state.st_gid for name, state in found.items() if state} == {"f": 0, "l": 0, "s": 0}


def test_a_package_that_lies_about_itself(place: Path) -> None:
    from dataclasses import replace

    from tests.deb_factory import package
    from tmplbuild.archives.deb.prepared import prepare
    from tmplbuild.managers.debpackage import understand

    found, path = package(place, "a", {"x": b""})
    with pytest.raises(VerifyError, match="not the one that the archive's index describes"):
        understand(replace(found, version="2"), prepare(path, found.sha256))


# -- the database ----------------------------------------------------------------------------------


def register(tree: Tree, packages: Sequence[DebPackage]) -> None:
    """Unpack and enter."""
    plan = settle(packages, {})
    outcome = unpack(tree.fd, packages, plan, installed=lambda: dpkgdb.read_installed(tree))
    dpkgdb.register(tree, packages, plan.lost, outcome, 1_700_000_000)


@pytest.mark.skipif(UID != 0, reason="the database is root's: run `make test` as root")
class TestDatabase:
    """What dpkg will find."""

    def test_status_info_and_lists(self, place: Path, tree: Tree) -> None:
        one = understood(
            place,
            "libx",
            {"": None, "etc": None, "etc/x.conf": b"x\n", "usr": None, "usr/x": b"x"},
            scripts={"conffiles": b"/etc/x.conf\n", "postinst": b"#!/bin/sh\n"},
            Multi_Arch="same",
        )
        register(tree, [one])
        (found,) = dpkg.packages(tree)
        assert (found.name, found.status) == ("libx", "install ok unpacked")
        assert [(c.path, c.md5) for c in found.conffiles] == [("/etc/x.conf", one.prepared.md5["etc/x.conf"])]
        info = "/var/lib/dpkg/info"
        assert tree.listdir(info) == [
            "format",
            *(f"libx:amd64.{e}" for e in ("conffiles", "list", "md5sums", "postinst")),
        ]
        assert tree.read_text(f"{info}/libx:amd64.list") == "/.\n/etc\n/etc/x.conf\n/usr\n/usr/x\n"
        state = tree.lstat(f"{info}/libx:amd64.postinst")
        assert state is not None
        assert state.st_mode & 0o777 == 0o755
        assert len(tree.read_text(f"{info}/libx:amd64.md5sums").splitlines()) == 2

    def test_a_replaced_file_leaves_the_list(self, place: Path, tree: Tree) -> None:
        register(tree, [understood(place, "old", {"x": b"1", "y": b"1"})])
        register(tree, [understood(place, "new", {"x": b"2"}, Replaces="old")])
        assert tree.read_text("/var/lib/dpkg/info/old.list") == "/y\n"
        assert tree.read_text("/var/lib/dpkg/info/new.list") == "/x\n"
        assert [one.name for one in dpkg.packages(tree)] == ["new", "old"]

    def test_the_same_package_twice(self, place: Path, tree: Tree) -> None:
        register(tree, [understood(place, "a", {"x": b"1"})])
        with pytest.raises(StageError, match="in the tree already"):
            register(tree, [understood(place, "a", {"z": b"1"})])

    def test_triggers(self, place: Path, tree: Tree) -> None:
        wants = b"# comment\ninterest-noawait /usr/share/man\ninterest cache\nactivate other\n"
        register(tree, [understood(place, "man", {"bin": None}, scripts={"triggers": wants})])
        assert tree.read_text("/var/lib/dpkg/triggers/File") == "/usr/share/man man/noawait\n"
        assert tree.read_text("/var/lib/dpkg/triggers/cache") == "man\n"
        assert tree.read_text("/var/lib/dpkg/triggers/Unincorp") == ""
        register(
            tree,
            [
                understood(
                    place,
                    "page",
                    {"usr": None, "usr/share": None, "usr/share/man": None, "usr/share/man/x.1": b""},
                )
            ],
        )
        assert tree.read_text("/var/lib/dpkg/triggers/Unincorp") == "/usr/share/man -\n"

    @pytest.mark.parametrize("name", ["../x", ".x", "a/b"])
    def test_odd_triggers(self, place: Path, tree: Tree, name: str) -> None:
        one = understood(place, "a", {"x": b""}, scripts={"triggers": b"interest " + name.encode()})
        with pytest.raises(VerifyError, match="odd trigger"):
            register(tree, [one])

    def test_automatic_marks(self, place: Path, tree: Tree) -> None:
        register(
            tree,
            [
                understood(place, name, {name: b""}, Architecture=arch)
                for name, arch in (("a", "all"), ("b", "amd64"))
            ],
        )
        dpkgdb.mark_automatic(tree, frozenset({"a", "c"}), "amd64")
        text = tree.read_text("/var/lib/apt/extended_states")
        assert text == "Package: a\nArchitecture: amd64\nAuto-Installed: 1\n\n"

    def test_rules_are_read(self, tree: Tree) -> None:
        tree.write("/etc/passwd", "root:x:0:0::/:/bin/sh\n")
        tree.write("/etc/group", "root:x:0:\ncrontab:x:101:\n")
        tree.write("/var/lib/dpkg/statoverride", "root crontab 2755 /usr/bin/crontab\n#7 root 644 /x\n")
        tree.write("/var/lib/dpkg/diversions", "/bin/sh\n/bin/sh.distrib\ndash\n/x\n/x.local\n:\n")
        rules = dpkgdb.read_rules(tree)
        assert rules.overrides == {"usr/bin/crontab": (0, 101, 0o2755), "x": (7, 0, 0o644)}
        assert rules.diversions["bin/sh"] == ("bin/sh.distrib", "dash")
        assert rules.diversions["x"] == ("x.local", "")

    def test_an_override_for_an_unknown_group(self, tree: Tree) -> None:
        tree.write("/var/lib/dpkg/statoverride", "root nobody-knows 2755 /usr/bin/crontab\n")
        with pytest.raises(StageError, match="damaged"):
            dpkgdb.read_rules(tree)


def test_what_is_configured_first(place: Path) -> None:
    app = understood(place, "app", {}, Pre_Depends="adduser | other, gone")
    adduser = understood(place, "adduser", {}, Depends="passwd, loop")
    passwd = understood(place, "passwd", {}, Depends="libpam")
    loop = understood(place, "loop", {}, Depends="adduser")
    pam = understood(place, "pam", {}, Provides="libpam (= 1)")
    rest = understood(place, "rest", {})
    order = [one.name for one in configured_first([adduser, app, loop, pam, passwd, rest])]
    assert order == ["pam", "passwd", "loop", "adduser"]
