"""The core's plain parts: words, messages, masks."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmplbuild.core import Core, Limits, Rootfs, wire
from tmplbuild.engine.allowance import limits_of
from tmplbuild.errors import UsageError
from tmplbuild.recipes import load, model
from tmplbuild.recipes.catalogue import shipped_root


def test_a_root_file_system_is_layers_or_a_directory() -> None:
    with pytest.raises(UsageError):
        Rootfs()
    with pytest.raises(UsageError):
        Rootfs(lower=(Path("/a"),), directory=Path("/b"))


def test_work_defaults_to_a_sibling_of_upper() -> None:
    assert Rootfs.overlay((Path("/l"),), Path("/x/upper")).work == Path("/x/work")


def test_without_lower_layers_upper_is_the_whole_tree() -> None:
    rootfs = Rootfs.overlay((), Path("/x/upper"))
    assert rootfs.whole == Path("/x/upper")
    assert rootfs.as_message()["directory"] == "/x/upper"


def test_only_limits_that_are_set_are_asked_for() -> None:
    assert Limits(memory_mib=64, cpus=0.5).as_message() == {"memory_mib": 64, "cpus": 0.5}


@pytest.mark.parametrize("veid", ["", ".", "..", "a/b", "-x", "a" * 65, "x\n"])
def test_odd_ids_are_refused(veid: str) -> None:
    with pytest.raises(UsageError):
        Core(Path("/run/x")).folder(veid)


@pytest.mark.parametrize("base", [0, 1000, 65537, 2**32 - 65536])
def test_odd_uid_bases_are_refused(base: int) -> None:
    with pytest.raises(UsageError):
        Core(uid_base=base)


def test_state_directories_do_not_share_control_groups() -> None:
    assert Core(Path("/a")).owner != Core(Path("/b")).owner


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=60_000), max_size=3))
def test_messages_of_any_length_arrive(message: dict[str, str]) -> None:
    ours, theirs = wire.pair()
    with ours, theirs, open(os.devnull, "rb") as file:
        wire.send(ours, message, [file.fileno()])
        got, fds = wire.receive(theirs)
        assert got == message
        assert len(fds) == 1
        os.close(fds[0])
        ours.close()
        with pytest.raises(EOFError):
            wire.receive(theirs)


def test_a_recipes_limits_are_the_cores() -> None:
    values = {"memory_mib": 512, "pids": 64, "disk_mib": 9000, "wall_s": 3600, "idle_s": 600}
    recipe = load("debian-12", roots=[shipped_root()]).recipe
    limited = msgspec.structs.replace(recipe, limits=model.Limits(**values))
    assert limits_of(limited) == Limits(**values)
