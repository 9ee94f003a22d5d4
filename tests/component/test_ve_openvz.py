"""The verbs on a host with an OpenVZ kernel: the stand-in of vzctl is what they call."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from tests.vzctl_standin import calls, install
from tmplbuild import cli
from tmplbuild.config import load_settings
from tmplbuild.core.vzctl import Vzctl
from tmplbuild.vz import native


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in's directory; its kernel is taken for the host's."""
    home = tmp_path / "standin"
    for name in ("vz", "bc"):
        (tmp_path / "proc" / name).mkdir(parents=True)
    vzctl = Vzctl(str(install(home)), tmp_path / "proc")
    assert vzctl.probe().works
    monkeypatch.setattr(native, "openvz", lambda: vzctl)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"fed\n")))
    return home


def ve(*words: str) -> int:
    return cli.main(["ve", *words])


def test_the_backend_is_chosen_by_probe(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(environ={"HOME": str(tmp_path)})
    assert native.choose(settings).name == "vzctl"
    monkeypatch.undo()
    assert native.openvz() is None  # this host's kernel is none
    assert native.choose(settings).name == "native"


def test_the_life_of_a_ve(home: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    words = ["--config", "basic", "--ipadd", "192.0.2.101", "--hostname", "one", "--memory", "512M"]
    assert ve("create", "101", "--ostemplate", "debian-12-x86_64", *words) == 0
    assert ve("start", "101", "--wait") == 0
    assert ve("set", "101", "--nameserver", "192.0.2.1", "--nameserver", "192.0.2.2", "--save") == 0
    assert ve("exec", "101", "sh", "-c", "cat; exit 3") == 3
    assert ve("exec2", "101", "echo $((6*7))") == 0
    assert ve("restart", "101") == 0
    capfdbinary.readouterr()
    assert ve("status", "101") == 0
    assert ve("list", "--json") == 0
    said = capfdbinary.readouterr().out.decode()
    first, _, rest = said.partition("\n")
    assert first == "CTID 101 exist mounted running"
    assert json.loads(rest)[0]["addresses"] == ["192.0.2.101"]
    assert ve("stop", "101", "--fast") == 0
    assert ve("mount", "101") == 0
    assert ve("umount", "101") == 0
    assert ve("destroy", "101") == 0
    made = [call[1:] for call in calls(home) if call[0] == "vzctl" and call[1] not in ("status", "--quiet")]
    servers = ["--nameserver", "192.0.2.1", "--nameserver", "192.0.2.2"]
    template = ["--ostemplate", "debian-12-x86_64"]
    assert sorted(made[0]) == sorted(
        ["create", "101", *template, "--config", "basic", "--hostname", "one", "--ipadd", "192.0.2.101"]
    )
    assert made[1:] == [
        ["set", "101", "--ram", "512M", "--save"],
        ["start", "101", "--wait"],
        ["set", "101", *servers, "--save"],
        ["stop", "101"],
        ["start", "101", "--wait"],
        ["stop", "101", "--fast"],
        ["mount", "101"],
        ["umount", "101"],
        ["destroy", "101"],
    ]


def test_its_errors_are_ours(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ve("start", "101") == 2
    assert "there is no such VE" in capsys.readouterr().err
    assert ve("create", "101", "--ostemplate", "missing") == 2
    assert ve("create", "101", "--ostemplate", "debian-12-x86_64") == 0
    assert ve("exec", "101", "true") == 9
    assert ve("top") == 2
    assert "vzctl has no top" in capsys.readouterr().err
