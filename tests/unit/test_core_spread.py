"""Directories whose trees have nothing to do with each other."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tmplbuild.core.linux import make_apart, spread


def test_a_folder_is_marked_where_the_file_system_knows_of_it(tmp_path: Path) -> None:
    if shutil.which("lsattr") is None:
        pytest.skip("lsattr is not installed")
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True, check=True
    ).stdout
    spread(tmp_path)
    spread(tmp_path)
    if kind.strip() == "ext2/ext3":
        shown = subprocess.run(["lsattr", "-d", tmp_path], capture_output=True, text=True, check=True).stdout
        assert "T" in shown.split()[0]


def test_a_directory_is_made_apart_and_what_a_killed_maker_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".one.0123abcd"
    others = [tmp_path / ".one.more.0123abcd", tmp_path / ".two.0123abcd", tmp_path / ".one"]
    for path in (left, *others):
        path.mkdir()
    make_apart(str(tmp_path / "one"))
    assert {path.name for path in tmp_path.iterdir()} == {"one", *(path.name for path in others)}


def test_where_it_does_not_nothing_happens() -> None:
    spread(Path("/proc/self"))
