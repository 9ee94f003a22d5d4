"""The backend that drives vzctl, against a stand-in that answers as vzctl(8) says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vzctl_standin import calls, install
from tmplbuild.core.backend import Backend, Listed, Status
from tmplbuild.core.vzctl import Vzctl
from tmplbuild.errors import BusyError, HostError, TmplbuildError, UsageError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "standin"


@pytest.fixture
def vz(home: Path, tmp_path: Path) -> Vzctl:
    return Vzctl(str(install(home)), tmp_path / "proc")


def test_it_is_a_backend(vz: Vzctl) -> None:
    backend: Backend = vz
    assert backend.name == "vzctl"


def test_the_life_of_a_ve(vz: Vzctl, home: Path) -> None:
    vz.create(
        "101",
        "debian-12-x86_64",
        {"config": ["basic"], "ipadd": ["192.0.2.101", "192.0.2.102"], "hostname": ["one"], "ram": ["512M"]},
    )
    assert vz.status("101") == Status(exists=True)
    vz.start("101")
    assert vz.status("101") == Status(exists=True, mounted=True, running=True)
    vz.set("101", {"ipdel": ["192.0.2.102"], "nameserver": ["192.0.2.1", "192.0.2.2"]}, save=True)
    assert vz.list() == [Listed("101", 12, "running", ("192.0.2.101",), "one")]
    vz.stop("101", fast=True)
    vz.mount("101")
    assert vz.status("101").mounted
    vz.umount("101")
    vz.destroy("101")
    assert vz.status("101") == Status(exists=False)
    made = [call for call in calls(home) if call[1] != "status"]
    ips = ["--ipadd", "192.0.2.101", "--ipadd", "192.0.2.102"]
    servers = ["--nameserver", "192.0.2.1", "--nameserver", "192.0.2.2"]
    template = ["--ostemplate", "debian-12-x86_64", "--config", "basic"]
    assert made == [
        ["vzctl", "create", "101", *template, *ips, "--hostname", "one"],
        ["vzctl", "set", "101", "--ram", "512M", "--save"],
        ["vzctl", "start", "101", "--wait"],
        ["vzctl", "set", "101", "--ipdel", "192.0.2.102", *servers, "--save"],
        ["vzlist", "-a", "-H", "-o", "ctid,nproc,status,ip,hostname"],
        ["vzctl", "stop", "101", "--fast"],
        ["vzctl", "mount", "101"],
        ["vzctl", "umount", "101"],
        ["vzctl", "destroy", "101"],
    ]


def test_commands_keep_their_words_status_and_streams(vz: Vzctl, home: Path) -> None:
    vz.create("101", "debian-12-x86_64", {})
    with pytest.raises(BusyError, match="does not run"):
        vz.exec("101", ["true"])
    vz.start("101")
    odd = "a 'b' \"c\" $HOME; echo no"
    result = vz.exec("101", ["printf", "%s|", odd, ""], env={"X": "1 2"}, cwd="/tmp")
    assert (result.rc, result.stdout) == (0, f"{odd}||".encode())
    assert vz.exec(
        "101", ["sh", "-c", "pwd; echo $X; cat >&2; exit 31"], env={"X": "1 2"}, cwd="/tmp", stdin=b"in"
    ) == (type(result)(31, None, False, b"/tmp\n1 2\n", b"in"))
    assert calls(home)[-1][:3] == ["vzctl", "--quiet", "exec2"]
    script = home / "script"
    script.write_text("echo from a script; exit 5\n")
    seen: list[bytes] = []
    assert vz.run_script("101", script, lambda data, name: seen.append(data)) == 5
    assert b"".join(seen) == b"from a script\n"


def test_enter_is_on_our_terminal(vz: Vzctl, capfd: pytest.CaptureFixture[str]) -> None:
    vz.create("101", "debian-12-x86_64", {})
    assert vz.enter("101") == 3
    assert capfd.readouterr().out == "entered into CT 101\n"


def test_its_failures_are_told_apart(vz: Vzctl) -> None:
    vz.create("101", "debian-12-x86_64", {"ipadd": ["192.0.2.101"]})
    vz.create("102", "debian-12-x86_64", {})
    attempts: list[tuple[type[TmplbuildError], str, object]] = [
        (BusyError, "number already", lambda: vz.create("101", "debian-12-x86_64", {})),
        (UsageError, "no such template", lambda: vz.create("103", "missing", {})),
        (BusyError, "in use", lambda: vz.set("102", {"ipadd": ["192.0.2.101"]}, save=True)),
        (UsageError, "no IP address", lambda: vz.set("102", {"ipadd": ["192.0.2.999"]}, save=True)),
        (UsageError, "does not know", lambda: vz.set("102", {"colour": ["red"]}, save=True)),
        (UsageError, "no such VE", lambda: vz.start("104")),
        (BusyError, "does not run", lambda: vz.stop("102")),
        (BusyError, "not mounted", lambda: vz.umount("102")),
        (UsageError, "no number", lambda: vz.start("one; reboot")),
    ]
    for kind, words, attempt in attempts:
        with pytest.raises(kind, match=words):
            attempt()  # type: ignore[operator]
    vz.set("102", {"disabled": ["yes"]}, save=True)
    with pytest.raises(UsageError, match="disabled"):
        vz.start("102")
    vz.start("102", force=True)
    with pytest.raises(BusyError, match="mounted"):
        vz.destroy("102")


def test_a_create_whose_settings_are_refused_leaves_no_ve(vz: Vzctl) -> None:
    with pytest.raises(UsageError):
        vz.create("101", "debian-12-x86_64", {"colour": ["red"]})
    assert vz.status("101") == Status(exists=False)


def test_the_probe_looks_at_kernel_and_program(vz: Vzctl, tmp_path: Path) -> None:
    assert not vz.probe().works
    (tmp_path / "proc/vz").mkdir(parents=True)
    assert "kernel" in vz.probe().why  # within a VE of OpenVZ
    (tmp_path / "proc/bc").mkdir()
    assert vz.probe().works
    bare = Vzctl("/nowhere", tmp_path / "proc")
    assert bare.probe().fix == "install vzctl"
    with pytest.raises(HostError, match="not installed"):
        bare.status("101")
