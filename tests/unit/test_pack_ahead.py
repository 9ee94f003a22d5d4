"""Packing ahead fills the cache with the very members that `pack` will ask for, and changes no byte."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.pack_trees import EPOCH, packed
from tmplbuild.artifact.members import MemberCache
from tmplbuild.artifact.pack import pack_ahead
from tmplbuild.core.tree import Tree
from tmplbuild.engine.ahead import Ahead
from tmplbuild.errors import StoreError

OWNERS = {"/usr/bin/one": "first", "/usr/share/one": "first", "/usr/bin/two": "second"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for path in (*OWNERS, "/etc/local"):
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(3000))
    os.link(root / "usr/bin/one", root / "usr/bin/uno")
    return root


def ahead(tree: Path, members: MemberCache, packages: set[str], over: Callable[[], bool]) -> None:
    with Tree(tree) as opened:
        pack_ahead(
            opened,
            packages,
            epoch=EPOCH,
            owners=OWNERS,
            level=6,
            members=members,
            jobs=2,
            over=over,
        )


def test_the_members_are_those_of_the_pack(tree: Path, tmp_path: Path) -> None:
    plain = packed(tree, tmp_path / "plain.tar.gz", owners=OWNERS)
    members = MemberCache(tmp_path / "members")
    ahead(tree, members, {"first", "second"}, lambda: False)
    done = packed(tree, tmp_path / "ahead.tar.gz", owners=OWNERS, members=members)
    assert done.reused == 2
    assert done.sha256 == plain.sha256


def test_only_the_named_packages_and_none_when_it_is_over(tree: Path, tmp_path: Path) -> None:
    members = MemberCache(tmp_path / "members")
    ahead(tree, members, {"first", "second"}, lambda: True)
    assert packed(tree, tmp_path / "a.tar.gz", owners=OWNERS, members=None).reused == 0
    assert list(members.directory.glob("*/*")) == []
    ahead(tree, members, {"second"}, lambda: False)
    assert len(list(members.directory.glob("*/*"))) == 1


def test_layers_are_taken_in_turn_and_a_broken_one_ends_it_quietly(tree: Path, tmp_path: Path) -> None:
    members = MemberCache(tmp_path / "members")
    asked: list[str] = []

    @contextmanager
    def tree_of(key: str) -> Iterator[Tree]:
        asked.append(key)
        if key == "gone":
            raise StoreError("a layer is missing")
        with Tree(tree) as opened:
            yield opened

    def listed(tree: Tree) -> dict[str, str]:
        return OWNERS

    with Ahead(
        tree_of, lambda step, note: note["new"], listed, members, level=6, epoch=EPOCH, jobs=1
    ) as work:
        work.committed("configure", "nothing", {"new": []})
        work.committed("install", "gone", {"new": ["first"]})
    assert asked in (["gone"], [])  # [] where it was over before it began
    work.committed("upgrade", "late", {"new": ["first"]})
    assert "late" not in asked


def test_who_is_waited_for_gets_the_processor_back(tree: Path, tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()
    nices: list[int] = []

    class Slow(MemberCache):
        def key(self, level: int, library: str, raw: memoryview) -> str:
            nices.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            begun.set()
            assert go_on.wait(120)
            nices.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            return super().key(level, library, raw)

    @contextmanager
    def tree_of(key: str) -> Iterator[Tree]:
        with Tree(tree) as opened:
            yield opened

    members = Slow(tmp_path / "members")
    work = Ahead(tree_of, lambda *_: ["first"], lambda _: OWNERS, members, level=6, epoch=EPOCH, jobs=1)
    work.committed("install", "layer", {})
    assert begun.wait(120)
    ending = threading.Thread(target=work.end)
    ending.start()
    while os.getpriority(os.PRIO_PROCESS, work._threads[0]) == 19 and os.geteuid() == 0:
        ending.join(0.01)
    go_on.set()
    ending.join()
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    assert nices[0] == 19
    assert nices[1] in ((mine,) if os.geteuid() == 0 else (mine, 19))


def test_one_that_was_interrupted_before_it_began_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(thread: threading.Thread) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    members = MemberCache(tmp_path / "members")
    with (
        pytest.raises(KeyboardInterrupt),
        Ahead(
            lambda key: Tree(tmp_path),
            lambda step, note: {"p"},
            lambda tree: {},
            members,
            level=6,
            epoch=EPOCH,
            jobs=1,
        ) as started,
    ):
        started.committed("install", "k", {})
