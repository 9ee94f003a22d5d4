"""Messages to a monitor that has just ended."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tmplbuild.core import VE, Core, runstate, wire
from tmplbuild.errors import HostError


def test_whoever_sends_to_nobody_is_told_as_who_listens_to_nobody() -> None:
    ours, theirs = wire.pair()
    theirs.close()
    with ours:
        for text in ("short", "long" * 10_000):
            with pytest.raises(EOFError):
                wire.send(ours, {"op": text})
        with pytest.raises(EOFError):
            wire.receive(ours)


@pytest.fixture
def ve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VE:
    """A VE whose monitor ends whenever somebody has just connected to it."""
    about: wire.Message = {
        "pid": 1, "init": False, "kind": "", "bits": 0, "mode": "", "console": "",
        "limits": {}, "addresses": [],
    }  # fmt: skip
    core = Core(tmp_path)
    (tmp_path / "101").mkdir()
    really = VE.connect

    def connect(ve: VE) -> socket.socket:
        path = tmp_path / "101" / runstate.CONTROL
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as monitor:
            monitor.bind(str(path))
            monitor.listen()
            return really(ve)

    monkeypatch.setattr(VE, "connect", connect)
    monkeypatch.setattr(Core, "clear", lambda core, veid: False)
    return VE(core, "101", about, [])


def test_a_monitor_that_ends_between_the_connection_and_the_question(ve: VE) -> None:
    assert ve.status() == "stopped"
    with pytest.raises(HostError, match="does not run"):
        ve.usage()
    with pytest.raises(HostError, match="does not run"):
        ve.exec(["true"])
    ve.kill()
