"""A tree in memory: VEs start on it one after the other, and nothing of it is anywhere afterwards."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.core_trees import NOTHING, debian, traces
from tmplbuild.core import Core, Rootfs, Tree, memory

pytestmark = [
    pytest.mark.root,
    pytest.mark.network,
    pytest.mark.skipif(not memory.room(1 << 30), reason="needs Linux 6.6 and 2 GB of memory to spare"),
]


def test_two_lives_of_one_tree(tmp_path: Path) -> None:
    core = Core(tmp_path / "run")
    with core.memory(2 << 30, mounts=3) as (root, *mounts):
        path = f"/proc/self/fd/{root}/"
        subprocess.run(["cp", "-a", f"{debian('systemd')}/.", path], check=True, pass_fds=(root,))
        with core.start("one", Rootfs.mounted(mounts[0]), init=False) as ve:
            assert ve.mode == "idmap"
            assert (
                ve.exec(["sh", "-c", "stat -c %u:%g /etc/shadow; echo first > /etc/life"]).stdout == b"0:42\n"
            )
        with core.start("two", Rootfs.mounted(mounts[1]), init=True) as ve:
            assert ve.exec(["cat", "/etc/life"]).stdout == b"first\n"
        with Tree(os.dup(root)) as tree:
            assert tree.read_text("/etc/life") == "first\n"
            assert tree.stat("/etc/life").st_uid == 0
    assert traces(core) == NOTHING


def test_more_than_it_may_take_is_refused(tmp_path: Path) -> None:
    with Core(tmp_path / "run").memory(1 << 20, mounts=1) as (root,):
        fd = os.open("big", os.O_CREAT | os.O_WRONLY, dir_fd=root)
        written = os.write(fd, bytes(2 << 20))
        assert written <= 1 << 20
        with pytest.raises(OSError, match="No space"):
            os.write(fd, b"more")
        os.close(fd)


def test_only_where_there_is_room() -> None:
    assert memory.room(1 << 20)
    assert not memory.room(1 << 50)
