"""Whose each file is, as packing asks: the same answer as the full one, for less."""

from __future__ import annotations

from pathlib import Path

import pytest

from tmplbuild.core.tree import Tree
from tmplbuild.errors import StageError
from tmplbuild.managers.dpkg import listed_paths, owned_files

LISTS = {
    "a": "/.\n/bin\n/bin/one\n/etc\n/etc/shared\n/lib\n/lib/x\n/lib/x/link\n",
    "b:amd64": "/.\n/bin\n/bin/two\n/etc\n/etc/shared\n/etc/gone\n",
    "c": "/.\n/bin\n/bin/one\n/usr\n/usr/bin\n/usr/bin/three\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for folder in ("usr/bin", "usr/lib/x", "etc", "var/lib/dpkg/info"):
        (root / folder).mkdir(parents=True)
    for name in ("bin", "lib"):
        (root / name).symlink_to(f"usr/{name}")
    for name in ("usr/bin/one", "usr/bin/one.real", "usr/bin/two", "usr/bin/three", "etc/shared"):
        (root / name).write_text(name)
    (root / "usr/lib/x/link").symlink_to("nowhere")
    database = root / "var/lib/dpkg"
    stanza = "Package: {}\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\n"
    (database / "status").write_text("".join(stanza.format(name) for name in "abc"))
    for stem, text in LISTS.items():
        (database / f"info/{stem}.list").write_text(text)
    (database / "diversions").write_text("/bin/one\n/bin/one.real\nc\n")
    return root


def test_links_diversions_and_shared_files(root: Path) -> None:
    with Tree(root) as tree:
        found = dict(listed_paths(tree))
    assert found.pop("/etc/gone") == "b"  # not looked for
    assert found == {
        "/usr/bin/one.real": "a",
        "/usr/bin/one": "c",
        "/usr/bin/two": "b",
        "/usr/bin/three": "c",
        "/usr/lib/x/link": "a",
        "/etc/shared": "a",
    }


def test_the_same_as_the_full_answer(root: Path) -> None:
    with Tree(root) as tree:
        found, full = dict(listed_paths(tree)), owned_files(tree)
    assert {path: owned.package for path, owned in full.items()} == {
        path: package for path, package in found.items() if path != "/etc/gone"
    }


def test_a_tree_without_a_database_has_no_owners(tmp_path: Path) -> None:
    with Tree(tmp_path) as tree:
        assert listed_paths(tree) == {}


def test_a_damaged_list_names_file_and_line(root: Path) -> None:
    (root / "var/lib/dpkg/info/c.list").write_text("/.\nbin\n")
    with Tree(root) as tree, pytest.raises(StageError) as caught:
        listed_paths(tree)
    assert caught.value.where == "/var/lib/dpkg/info/c.list:2"
