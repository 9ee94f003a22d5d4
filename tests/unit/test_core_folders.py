"""Directories that others remove while something is made in them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tmplbuild.core import folders, remains, runstate

CREATE = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


def once(before: Callable[[], object], really: Callable[..., object]) -> Callable[..., object]:
    """A call before whose first turn something else happens."""
    turns = iter([before])

    def call(*words: object, **more: object) -> object:
        for turn in turns:
            turn()
        return really(*words, **more)

    return call


def test_the_one_above_goes_before_the_one_within_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = tmp_path / "above"
    above.mkdir()
    monkeypatch.setattr(os, "mkdir", once(above.rmdir, os.mkdir))
    folders.make(above / "within", 0o700)
    assert (above / "within").stat().st_mode & 0o777 == 0o700


def test_it_goes_before_the_file_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a" / "b"

    def tidied() -> None:
        folder.rmdir()
        folder.parent.rmdir()

    monkeypatch.setattr(os, "open", once(tidied, os.open))
    os.close(folders.open_in(folder / "lock", CREATE, 0o600))
    assert (folder / "lock").exists()


def test_what_is_no_race_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    for path in (tmp_path / "file", tmp_path / "nowhere"):
        with pytest.raises(FileExistsError):
            folders.make(path)
    with pytest.raises(NotADirectoryError):
        folders.make(tmp_path / "file" / "x")


def test_the_next_holder_of_a_ves_directory_may_be_quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It makes the directory its own once the lock's file is gone; and is done with it, or not yet."""
    folder = tmp_path / "101"

    def next_one() -> None:
        os.close(runstate.lock_veid(str(tmp_path), "101"))

    def next_one_is_done() -> None:
        next_one()
        monkeypatch.setattr(os, "rmdir", rmdir)
        remains.remove_folder(str(folder))

    rmdir = os.rmdir
    for what, left in ((next_one, True), (next_one_is_done, False)):
        next_one()
        monkeypatch.setattr(os, "rmdir", once(what, rmdir))
        remains.remove_folder(str(folder))
        monkeypatch.setattr(os, "rmdir", rmdir)
        assert (folder / runstate.LOCK).exists() is left
