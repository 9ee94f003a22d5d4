"""The store of layers while several builds put the same ones there."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tmplbuild.engine import store as module
from tmplbuild.engine.store import Store

KEY = "k" * 64


@pytest.fixture(params=["exchange", "two renames"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Also as on a file system that cannot have two directories change places."""
    if request.param != "exchange":
        monkeypatch.setattr(module, "exchange", lambda made, target: False)
    return Store(tmp_path)


def put(store: Store, name: str) -> None:
    with store.draft(name, None) as draft:
        (draft.path / "fs" / name).touch()
        store.commit(draft, KEY, "bootstrap", {"by": name})


def by(store: Store) -> str:
    layer = store.get(KEY)
    assert layer is not None
    assert os.listdir(layer.fs) == [layer.note["by"]]
    return str(layer.note["by"])


def before_it_is_placed(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Something happens right before a layer is given its name."""
    really = os.rename

    def rename(made: Path, target: Path) -> None:
        if Path(target).parent.name == "layers":
            act()
        really(made, target)

    monkeypatch.setattr(module.os, "rename", rename)


def test_another_build_places_the_same_layer_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    come: list[str] = []

    def another() -> None:
        if not come:
            come.append("another")
            put(store, "another")

    before_it_is_placed(monkeypatch, another)
    put(store, "mine")
    assert by(store) == "mine"
    assert len(list((store.dir / "trash").iterdir())) == 1
    assert list((store.dir / "drafts").iterdir()) == []


def test_a_layer_that_is_replaced_is_there_all_the_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    put(store, "old")
    seen: list[str] = []
    before_it_is_placed(monkeypatch, lambda: seen.append(by(store)))
    put(store, "new")
    assert set(seen) <= {"old"}
    assert by(store) == "new"


def test_templates_of_two_names_note_the_same_step_at_once(store: Store) -> None:
    def note(number: int) -> None:
        for _ in range(50):
            store.commit_note(KEY, "boot", None, {"by": number})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(note, range(4)))
    layer = store.get(KEY)
    assert layer is not None
    assert layer.note["by"] in range(4)
    assert list((store.dir / "drafts").iterdir()) == []
