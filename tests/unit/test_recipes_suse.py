"""openSUSE: its recipes, what zypper is told, and what is understood of what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.fake_bench import UserTree
from tmplbuild.managers import manager, zypper
from tmplbuild.recipes import load
from tmplbuild.recipes.catalogue import shipped_root
from tmplbuild.stages import repofiles


@pytest.mark.parametrize(
    ("name", "suites"),
    [
        ("opensuse-16.0", ("distribution/leap/16.0/repo/oss/x86_64",)),
        ("opensuse-15.6", ("distribution/leap/15.6/repo/oss", "update/leap/15.6/oss")),
        ("opensuse-tumbleweed", ("tumbleweed/repo/oss", "update/tumbleweed")),
    ],
)
def test_repositories(name: str, suites: tuple[str, ...]) -> None:
    recipe = load(name, roots=[shipped_root()]).recipe
    archive = recipe.archives["opensuse"]
    assert archive.suites == suites
    assert archive.signed == "index"
    assert recipe.configure.sources == recipe.upgrade.manager == "zypper"
    assert "systemd-udevd.service" in recipe.strip.mask
    assert "kernel-default" in recipe.install.exclude


def test_what_leap_15_has_of_others_is_signed_by_them() -> None:
    archives = load("opensuse-15.6", roots=[shipped_root()]).recipe.archives
    assert len({archive.keys for archive in archives.values()}) == len(archives) == 3


def test_one_file_with_a_section_for_each_repository(tmp_path: Path) -> None:
    archives = load("opensuse-15.6", roots=[shipped_root()]).recipe.archives
    with UserTree(tmp_path) as tree:
        repofiles.write_zypper(tree, archives, lambda name: name.encode())
    text = (tmp_path / "etc/zypp/repos.d/opensuse.repo").read_text()
    names = [line[1:-1] for line in text.splitlines() if line.startswith("[")]
    assert names == ["opensuse-1", "opensuse-2", "opensuse-sle", "opensuse-backports"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (
            b"( 3/12) Installing: bash-5.2.15-1.x86_64 [....done]",
            ("installing bash-5.2.15-1.x86_64", 0.25),
        ),
        (
            b"(1/1) Removing: tree-2.1.1-1.x86_64 [...done]",
            ("removing tree-2.1.1-1.x86_64", 1.0),
        ),
        (
            b"Retrieving: (1/4) Retrieving: package tree-2.1.1-1.x86_64, 38 KiB",
            ("retrieving tree-2.1.1-1.x86_64", 0.25),
        ),
        (b"(1/0) Installing: a-1.x86_64 [done]", None),
        (b"Reading installed packages...", None),
    ],
)
def test_progress(line: bytes, found: object) -> None:
    assert manager("zypper").progress(line) == found


@pytest.mark.parametrize(
    "line",
    [
        "ABORT request: Aborting requested by user",
        "warning: %post(app-3-1.x86_64) scriptlet failed, exit status 3",
    ],
)
def test_failures_that_the_status_hides(line: str) -> None:
    assert zypper.failure(b"before\n" + line.encode() + b"\nafter\n") == line
    assert zypper.failure(b"(1/1) Installing: a-1.x86_64 [done]\n") == ""


def test_a_reboot_that_would_be_good_is_no_failure() -> None:
    assert manager("zypper").well == (0, 102, 103)
    assert manager("dnf").well == (0,)
