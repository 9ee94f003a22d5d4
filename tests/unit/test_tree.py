"""The tree: whatever links it holds, no path leads out of it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fake_bench import UserTree, make_tree
from tmplbuild.core.tree import Tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("host")
    tree = tmp_path / "tree"
    make_tree(
        tree,
        {
            "etc/fstab": "# none\n",
            "etc/conf.d/a.conf": "a",
            "etc/conf.d/.hidden.conf": "h",
            "usr/bin/tool": "x",
            "bin": "-> usr/bin",
            "absolute": f"-> {outside}",
            "climbing": "-> ../../../../../../../../" + str(outside).lstrip("/"),
            "loop": "-> loop",
        },
    )
    return tree


def test_links_are_followed_inside_the_tree_only(root: Path) -> None:
    with Tree(root) as tree:
        assert tree.read_text("/bin/tool") == "x"
        assert not tree.exists("/absolute/secret")
        assert not tree.exists("/climbing/secret")
        assert tree.lstat("/loop") is not None
        assert tree.stat("/loop") is None
        assert tree.readlink("/absolute").endswith("outside")


def test_nothing_is_written_or_removed_outside(root: Path) -> None:
    outside = root.parent / "outside"
    with UserTree(root) as tree:
        tree.remove("/absolute")
        assert (outside / "secret").read_text() == "host"
        with pytest.raises(OSError):
            os.close(tree.open("/climbing/new", os.O_WRONLY | os.O_CREAT))
        assert sorted(os.listdir(outside)) == ["secret"]


def test_write_keeps_mode_and_replaces_a_link(root: Path) -> None:
    os.chmod(root / "etc/fstab", 0o640)
    (root / "etc/link").symlink_to("fstab")
    with UserTree(root) as tree:
        tree.write("/etc/fstab", "new")
        tree.write("/etc/link", "own")
        tree.write("/deep/er/file", b"\xff", mode=0o600)
    assert (root / "etc/fstab").read_text() == "new"
    assert stat.S_IMODE((root / "etc/fstab").stat().st_mode) == 0o640
    assert not (root / "etc/link").is_symlink()
    assert stat.S_IMODE((root / "deep/er/file").stat().st_mode) == 0o600
    assert stat.S_IMODE((root / "deep/er").stat().st_mode) == 0o755


def test_write_and_mkdir_do_not_heed_the_umask(root: Path) -> None:
    old = os.umask(0o077)
    try:
        with UserTree(root) as tree:
            tree.write("/opt/file", "x", mode=0o644)
            tree.mkdir("/srv/shared", 0o1777)
    finally:
        os.umask(old)
    assert stat.S_IMODE((root / "opt").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "opt/file").stat().st_mode) == 0o644
    assert stat.S_IMODE((root / "srv/shared").stat().st_mode) == 0o1777


def test_glob(root: Path) -> None:
    with Tree(root) as tree:
        assert tree.glob("/etc/conf.d/*.conf") == ["/etc/conf.d/a.conf"]
        assert tree.glob("/etc/conf.d/.*.conf") == ["/etc/conf.d/.hidden.conf"]
        assert tree.glob("/**/*.conf") == ["/etc/conf.d/a.conf"]
        assert tree.glob("/bin/*") == ["/bin/tool"]
        assert tree.glob("/nothing/*") == []
        assert tree.glob("/etc/fstab") == ["/etc/fstab"]
        assert tree.glob("/etc/fsta[a-c]") == ["/etc/fstab"]
        assert "/usr/bin" in tree.glob("/usr/**")


def test_remove_and_empty(root: Path) -> None:
    with Tree(root) as tree:
        assert tree.remove("/etc/conf.d")
        assert not tree.remove("/etc/conf.d")
        assert not tree.remove("/etc/fstab/below")
        assert tree.empty("/etc") == 1
        assert tree.listdir("/etc") == []
        assert tree.empty("/etc") == 0


def test_a_fifo_is_not_read(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with Tree(root) as tree, pytest.raises(OSError, match="not a regular file"):
        tree.read_bytes("/pipe")


@given(path=st.text(alphabet=st.sampled_from("./ab"), min_size=1, max_size=30))
def test_any_path_stays_inside(path: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("tree")
    make_tree(root, {"a/b": "-> ../../..", "b": "-> /"})
    with Tree(root) as tree:
        found = tree.stat(path)
        if found is not None:
            inside = {os.stat(p, follow_symlinks=False).st_ino for p in [root, *root.rglob("*")]}
            assert found.st_ino in inside
