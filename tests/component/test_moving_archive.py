"""The moving archive is what it says: real packages that dpkg reads, moved by whole sources."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.moving_archive import MovingArchive

pytestmark = [pytest.mark.network]


def test_packages_move_by_source_and_remain_packages(tmp_path: Path) -> None:
    archive = MovingArchive(tmp_path, tmp_path / "packages")
    before = archive.versions()
    assert len(before) > 200
    moved = archive.move(10)
    after = archive.versions()
    assert moved == sorted(name for name in before if before[name] != after[name])
    assert 5 <= len(moved) <= 10
    for name in moved:
        assert after[name] == f"{before[name]}+moved1"
        (file,) = archive.root.glob(f"pool/{name}_*+moved1_*.deb")
        tree = tmp_path / f"tree-{name}"
        subprocess.run(["dpkg-deb", "-R", file, tree], check=True)
        subprocess.run(["md5sum", "--check", "--quiet", "DEBIAN/md5sums"], cwd=tree, check=True)
        said = subprocess.run(["dpkg", "--compare-versions", after[name], "gt", before[name]], check=False)
        assert said.returncode == 0
    assert archive.move(10) == moved
