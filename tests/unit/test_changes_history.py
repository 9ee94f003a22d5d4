"""The history of builds on disk: what is written is read back, whole or not at all, and old ones go."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path

import pytest

from tests.unit.changes_facts import facts, package
from tmplbuild.changes.compare import compare
from tmplbuild.changes.comparison import Side
from tmplbuild.changes.facts import read_facts, write_facts
from tmplbuild.changes.history import FAILED, GOOD, Build, History
from tmplbuild.errors import StoreError

T = "small-12-x86_64"
NOON = 1_800_000_000


def add(
    history: History, made: int, *, result: str = GOOD, sha256: str = "ab" * 32, template: str = T
) -> Build:
    build = Build(
        history.new_id(template, made, sha256), template, "small", result, made, 1.5, "first build", sha256
    )
    history.stage(build, facts=facts() if build.good else None)
    history.reveal(template, build.id)
    return build


def test_a_build_is_read_back(tmp_path: Path) -> None:
    history = History(tmp_path)
    log = tmp_path / "01-bootstrap.log"
    log.write_text("hello")
    old, new = facts(), facts(packages=(package("bash", "2"), package("openssl", "3")))
    changes = compare(old, new, sides=(Side("a"), Side("b")))
    build = Build(history.new_id(T, NOON, "12" * 32), T, "small", GOOD, float(NOON), 2.5, sha256="12" * 32)
    history.stage(build, facts=new, changes=changes, logs=(log, tmp_path / "gone.log"))
    assert history.builds(T) == []  # not yet
    history.reveal(T, build.id)
    assert history.templates() == [T]
    assert history.builds(T) == [build]
    assert history.facts(build) == new
    assert history.changes(build) == changes
    logs = history.logs(build)
    assert {name: path.read_text() for name, path in logs.items()} == {"bootstrap": "hello"}
    assert build.id == "20270115T080000Z-12121212"


def test_ids_sort_as_builds_came_whatever_the_clock_does(tmp_path: Path) -> None:
    history = History(tmp_path)
    made = [add(history, moment) for moment in (NOON, NOON, NOON - 90_000, NOON + 5)]
    assert history.builds(T) == made
    assert [one.id[9:16] for one in made] == ["080000Z", "080001Z", "080002Z", "080005Z"]


def test_the_last_good_build(tmp_path: Path) -> None:
    history = History(tmp_path)
    assert history.last_good(T) is None
    first = add(history, NOON)
    second = add(history, NOON + 10, sha256="cd" * 32)
    add(history, NOON + 20, result=FAILED, sha256="")
    assert history.last_good(T) == second
    assert history.last_good(T, but="cd" * 32) == first
    assert history.changes(second) is None


def test_a_crash_before_the_rename_is_mended(tmp_path: Path) -> None:
    history = History(tmp_path)
    wanted = Build(history.new_id(T, NOON, "ab"), T, "small", GOOD, NOON, 1.0)
    other = dataclasses.replace(wanted, id=history.new_id(T, NOON + 1, "cd"))
    for build in (wanted, other):
        history.stage(build, facts=facts())
    history.mend(T, wanted.id)  # the record of the last good build names it
    assert history.builds(T) == [wanted]
    assert os.listdir(tmp_path / "builds" / T) == [wanted.id]
    history.mend(T, "")
    history.mend("never-built", "x")
    assert not (tmp_path / "builds/never-built").exists()


def test_facts_are_for_the_owners_eyes(tmp_path: Path) -> None:
    path = tmp_path / "facts.json.zst"
    write_facts(path, facts())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_facts(path) == facts()


@pytest.mark.parametrize("data", [b"", b"x", b"{}", b"\x28\xb5\x2f\xfd\x00"])
def test_damaged_facts_are_one_clear_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "facts").write_bytes(data)
    with pytest.raises(StoreError, match="cannot be read"):
        read_facts(tmp_path / "facts")


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    history = History(tmp_path)
    good = add(history, NOON)
    broken = add(history, NOON + 10)
    (history.path(T, broken.id) / "record.json").write_text("{}")
    (history.path(T, good.id).parent / "notes").mkdir()
    assert history.builds(T) == [good]
    assert history.last_good(T) == good


def test_old_builds_go_the_last_good_one_never(tmp_path: Path) -> None:
    history = History(tmp_path)
    good = [add(history, NOON + moment) for moment in range(5)]
    bad = [add(history, NOON + 10 + moment, result=FAILED) for moment in range(4)]
    assert history.prune(T, keep=3) == [good[0].id, good[1].id, bad[0].id]
    assert history.builds(T) == [*good[2:], *bad[1:]]
    assert history.prune(T, keep=0) == [good[2].id, good[3].id, bad[1].id, bad[2].id]
    assert history.last_good(T) == good[4]


def test_age_counts_by_when_a_build_was_made(tmp_path: Path) -> None:
    history = History(tmp_path)
    old = [add(history, moment) for moment in (1_000_000_000, 1_000_000_100, 1_000_000_200)]
    other = add(history, 1_000_000_000, template="other")
    assert history.prune(T, keep=9, max_age_s=86400.0) == [old[0].id, old[1].id]
    assert history.prune("other", keep=9, max_age_s=86400.0) == []
    assert history.builds(T) == [old[2]]
    assert history.builds("other") == [other]
    assert os.listdir(tmp_path / "builds" / T) == [old[2].id]


def test_a_history_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "builds").write_text("")
    history = History(tmp_path)
    with pytest.raises(StoreError, match="the history cannot be written"):
        history.stage(Build("20270115T080000Z-12121212", T, "small", GOOD, NOON, 1.0))
    assert history.ids(T) == []
    assert history.templates() == []
