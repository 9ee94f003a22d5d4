"""Shared trees that are removed, or not, while others make VEs and templates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tmplbuild.core.filelock import is_held
from tmplbuild.events import silent
from tmplbuild.vz.bases import Bases


def test_who_uses_a_tree_is_asked_when_nobody_can_begin_to(tmp_path: Path) -> None:
    bases = Bases(tmp_path, silent)
    for name in ("one", "two"):
        (tmp_path / name / "fs").mkdir(parents=True)

    def used() -> Iterator[Path]:
        assert is_held(tmp_path / ".lock")
        yield tmp_path / "one" / "fs"

    replaced_just_now = tmp_path / "gone.tar.gz"
    assert bases.collect(used, [replaced_just_now]) == ["two"]
    assert (tmp_path / "one" / "fs").is_dir()
