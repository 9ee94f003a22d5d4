"""`cache verify --deep`: a file that changed within a layer is found, and its layer goes."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from tests.pack_trees import EPOCH
from tests.workshop import Workshop
from tmplbuild.artifact.pack import pack
from tmplbuild.core import Core, Rootfs
from tmplbuild.engine.store import Store

pytestmark = pytest.mark.root
KEYS = {"clean": "a" * 64, "clean-again": "b" * 64, "check": "c" * 64, "pack": "d" * 64}


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    """A store with a template of two layers, as a build leaves it."""
    shop = Workshop(tmp_path, tmp_path / "packages")
    store = Store(tmp_path / "state")
    parent = None
    for step, files in {
        "clean": {"etc/one": "one", "usr/bin/tool": "a tool", "etc/hidden": "old"},
        "clean-again": {"etc/hidden": "new", "etc/two": "two"},
    }.items():
        with store.draft("t", parent) as draft:
            for name, text in files.items():
                path = draft.path / "fs" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            store.commit(draft, KEYS[step], step, {})
            parent = KEYS[step]
    store.make_durable()
    lower = tuple(layer.fs for layer in store.chain(KEYS["clean-again"]))
    artifact = store.artifact(KEYS["pack"])
    with (
        Core(shop.run_dir).tree(Rootfs.overlay(lower, None), writable=False) as tree,
        artifact.open("wb") as out,
    ):
        done = pack(tree, out, epoch=EPOCH, owners={}, level=1, members=None, jobs=1, emit=lambda _: None)
    part = {"epoch": EPOCH, "packages": [], "auto": []}
    pins = {"arch": "amd64", "base": part, "full": part, "target": part, "archives": [], "resolved_at": 0}
    record = {
        "template": "t",
        "steps": [{"name": name, "key": key, "handed": {}} for name, key in KEYS.items()],
        "notes": {},
        "pins": pins,
        "summary": {"sha256": done.sha256},
    }
    store.write_record("t", record)
    return shop


def test_a_damaged_file_is_found_and_its_layer_dropped(shop: Workshop) -> None:
    assert shop.run("cache", "verify", "--deep").status == 0
    lower = shop.place / "state/layers" / KEYS["clean"][:32]
    tool = lower / "fs/usr/bin/tool"
    state = tool.stat()
    tool.write_text("a t00l")  # as long as before, and as old
    os.utime(tool, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert shop.run("cache", "verify").status == 0  # only in depth
    looked = shop.run("cache", "verify", "--deep", "--dry-run", "--json")
    assert looked.status == 8, looked.err
    (bad,) = json.loads(looked.out)["bad"]
    assert (bad["path"], bad["why"]) == (str(lower), "not what was packed: /usr/bin/tool")
    assert lower.is_dir()
    assert shop.run("cache", "verify", "--deep").status == 8
    assert not lower.exists()


@pytest.mark.parametrize("damage", ["mode", "lost", "more"])
def test_it_is_not_only_contents(shop: Workshop, damage: str) -> None:
    upper = shop.place / "state/layers" / KEYS["clean-again"][:32] / "fs/etc"
    if damage == "mode":
        (upper / "two").chmod(stat.S_IMODE((upper / "two").stat().st_mode) ^ stat.S_IWGRP)
    elif damage == "more":
        (upper / "three").write_text("")
    else:
        os.rename(upper / "two", upper / "three")
    done = shop.run("cache", "verify", "--deep", "--dry-run")
    assert done.status == 8, done.err
    assert "not what was packed: /etc/t" in done.out
