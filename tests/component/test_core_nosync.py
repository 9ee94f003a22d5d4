"""A VE whose tree is a draft does not wait for the disk, and nothing else about it changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.core_trees import layers
from tmplbuild.core import Core

pytestmark = [
    pytest.mark.root,
    pytest.mark.trees,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="asks by x86_64 call numbers"),
]

# perl's syscall() tells what the kernel answered: fsync of a descriptor that is not open is EBADF
ASK = "exit(syscall(74, 999) == 0 ? 0 : 9)"


@pytest.mark.parametrize("suppressed", [True, False])
def test_calls_that_sync_are_answered_at_once(suppressed: bool, tmp_path: Path) -> None:
    with Core(tmp_path / "run").start("101", layers(tmp_path), init=False, suppress_sync=suppressed) as ve:
        assert ve.exec(["perl", "-e", ASK]).rc == (0 if suppressed else 9)
        assert ve.exec(["sh", "-c", "echo kept > /etc/kept; sync; cat /etc/kept"]).stdout == b"kept\n"
        assert ve.exec(["perl", "-e", ASK], user="nobody").rc == (0 if suppressed else 9)
    assert (tmp_path / "upper/etc/kept").read_text() == "kept\n"
