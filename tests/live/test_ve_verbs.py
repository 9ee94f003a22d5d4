"""Named VEs as an administrator uses them: Debian boots, is changed while it runs, entered, stopped."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Places
from tests.core_trees import debian, wait_until
from tests.screen import spawn
from tests.ve_office import Office
from tmplbuild.core.backend import Backend, Status
from tmplbuild.errors import BusyError, UsageError
from tmplbuild.vz.native import Native

pytestmark = [pytest.mark.root, pytest.mark.trees, pytest.mark.live]


@pytest.fixture(scope="module")
def templates(places: Places) -> Path:
    """A template cache with a Debian of systemd."""
    cache = places("templates")
    tarball = cache / "debian-12-x86_64.tar"
    argv = [
        "tar",
        "--xattrs",
        "--xattrs-include=*",
        "--numeric-owner",
        "-C",
        debian("systemd"),
        "-cf",
        tarball,
        ".",
    ]
    subprocess.run(argv, check=True)
    return cache


@pytest.fixture(scope="module")
def office(places: Places, templates: Path) -> Iterator[Office]:
    """One place for all tests of this module: the template is unpacked once."""
    office = Office(places("office"), templates)
    yield office
    for info in office.manager.core.list():
        office.run("stop", info.veid, "--fast")
    assert [path for path in office.remains() if "/private/" not in path] == []


@pytest.fixture(scope="module")
def web(office: Office) -> str:
    """A VE that runs, by its name."""
    office.ok(
        "create", "101", "--ostemplate", "debian-12-x86_64", "--name", "web", "--hostname", "web.example.org"
    )
    office.ok("start", "web", "--wait")
    return "web"


def test_exec_has_the_commands_status_and_streams(office: Office, web: str) -> None:
    assert office.ok("exec", web, "echo $((6*7)); hostname -f") == "42\nweb.example.org\n"
    assert office.ok("exec", "101", "printf", "%s.", "a b", "$HOME") == "a b.$HOME."
    assert office.ok("exec", web, "cat", feed="from here") == "from here"
    assert office.ok("exec", web, "-", feed="echo script; exit 0") == "script\n"
    for words, status in (
        (["sh", "-c", "exit 3"], 3),
        (["no-such-command"], 127),
        (["sh", "-c", "kill -9 $$"], 137),
        (["--", "false"], 1),
    ):
        assert office.run("exec", web, *words).returncode == status
    done = office.run("exec", "--timeout", "0.5", web, "sleep", "4711")
    assert done.returncode == 124
    assert office.ok("exec", "--user", "daemon", "--cwd", "/tmp", web, "id -un; pwd") == "daemon\n/tmp\n"
    assert office.run("exec2", web, "exit 5").returncode == 5
    assert "does not run" in office.run("exec", "102", "true").stderr


def test_a_running_ve_takes_up_what_is_set(office: Office, web: str) -> None:
    words = ["--ipadd", "192.0.2.101", "--ipadd", "2001:db8::101", "--hostname", "www.example.net"]
    words += [
        "--nameserver",
        "192.0.2.53",
        "--searchdomain",
        "example.net",
        "--memory",
        "300M",
        "--pids",
        "200",
    ]
    office.ok(
        "set", web, *words, "--userpasswd", "joe:geheim", "--userpasswd", "root", "--save", feed="von stdin\n"
    )
    shown = office.ok(
        "exec", web, "hostname -f; ip -o addr show dev venet0; cat /etc/resolv.conf; cat /etc/hostname"
    )
    for word in (
        "www.example.net",
        "192.0.2.101/32",
        "2001:db8::101/128",
        "nameserver 192.0.2.53",
        "\nwww\n",
    ):
        assert word in shown
    assert refused("192.0.2.101")
    assert refused("2001:db8::101")
    for user, password in (("joe", "geheim"), ("root", "von stdin")):
        script = f"""my ($n, $hash) = getpwnam("{user}"); exit(crypt("{password}", $hash) eq $hash ? 0 : 1)"""
        assert office.run("exec", web, "perl", "-e", script).returncode == 0, user
    assert (
        office.ok("exec", web, "stat -c %a:%U:%G /etc/shadow; ls -d /home/joe")
        == "640:root:shadow\n/home/joe\n"
    )
    limits = {
        row["resource"]: row["limit"] for row in json.loads(office.ok("status", web, "--json"))["resources"]
    }
    assert (limits["memory"], limits["pids"]) == (300 << 20, 200)
    office.ok("set", web, "--ipdel", "2001:db8::101", "--ipadd", "192.0.2.102", "--save")
    assert refused("192.0.2.102")
    assert "2001:db8" not in office.ok("exec", web, "ip -o addr; cat /etc/network/interfaces")
    assert 'IP_ADDRESS="192.0.2.101 192.0.2.102"' in office.conf("101")


def refused(address: str) -> bool:
    """Whether a machine of that address answers: that nothing listens."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
        sock.settimeout(10)
        return sock.connect_ex((address, 9)) == 111


def test_it_is_the_same_after_a_restart(office: Office, web: str) -> None:
    office.ok("set", web, "--hostname", "for-now.example.org")  # not saved
    assert office.ok("exec", web, "hostname") == "for-now\n"
    office.ok("restart", web)
    shown = office.ok("exec", web, "hostname; ip -o addr show dev venet0; systemctl is-system-running")
    for word in ("www\n", "192.0.2.101/32", "192.0.2.102/32", "running\n"):
        assert word in shown
    assert refused("192.0.2.102")
    assert "Reached target" in office.ok("logs", web)
    assert len(office.ok("logs", web, "-n", "2").splitlines()) == 2


def test_list_status_pid_and_top(office: Office, web: str) -> None:
    head, row = office.ok("list", "101").splitlines()
    assert head.split() == ["CTID", "NPROC", "STATUS", "IP_ADDR", "HOSTNAME", "MEMORY"]
    assert re.match(r"101 +\d+ +running +192\.0\.2\.101 192\.0\.2\.102 +www\.example\.net +[\d.]+M", row)
    assert office.ok("list", "-H", "-o", "ctid,name,status,onboot", web) == "101 web running no\n"
    found = json.loads(office.ok("list", "--json"))[0]
    assert (found["ctid"], found["state"], found["net"], found["status"]) == (
        "101",
        "running",
        "venet",
        "running",
    )
    lines = office.ok("status", web).splitlines()
    assert lines[0] == "CTID 101 exist mounted running"
    assert lines[2].split() == ["RESOURCE", "HELD", "MAXHELD", "LIMIT", "FAILCNT"]
    pid = str(found["pid"])
    done = office.run("pid", pid, str(os.getpid()), "4194304")
    assert done.stdout == f"Pid\tCTID\tName\n{pid}\t101\tweb\n{os.getpid()}\t0\n4194304\t-\n"
    assert done.returncode == 2
    top = office.ok("top", "-n", "1", "-d", "0.2").splitlines()
    assert top[1].split()[0] == "101"
    assert any("/sbin/init" in line for line in office.ok("top", web, "-n", "1", "-d", "0.2").splitlines())
    assert "did you mean" in office.fails("list", "-o", "hostnam")


def test_enter_is_a_real_terminal(office: Office, web: str) -> None:
    pid, screen = spawn([sys.executable, *office.argv("enter", web)[1:]], {**office.env, "TERM": "vt100"})
    screen.expect(b"# ")
    screen.type(b"tty; echo term=$TERM\n")
    screen.expect(b"/dev/pts/")
    screen.expect(b"term=vt100")
    screen.resize(41, 123)
    screen.type(b"echo size=$(stty size)\n")
    screen.expect(b"size=41 123")
    screen.type(b"sleep 4712; echo ended=$?\n")
    assert wait_until(lambda: sleeps("4712"))
    screen.type(b"\x03")  # Ctrl-C is the VE's
    screen.expect(b"# ")
    assert not sleeps("4712")
    screen.type(b"sleep 4713\n")
    assert wait_until(lambda: sleeps("4713"))
    screen.type(b"\x1a")  # Ctrl-Z: job control
    screen.expect(b"Stopped")
    screen.expect(b"# ")
    screen.type(b"fg\n")
    assert wait_until(lambda: sleeps("4713", "S"))  # it has the terminal before it goes on
    screen.type(b"\x03")
    screen.expect(b"# ")
    screen.type(b"exit 7\n")
    screen.drain()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    os.close(screen.master)
    assert "terminal" in office.fails("enter", web)


def sleeps(seconds: str, state: str = "") -> bool:
    """Whether there is such a process, in that state (S: it sleeps, T: it is stopped)."""
    argv = ["pgrep", "-xf", *(["-r", state] if state else []), f"sleep {seconds}"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def test_a_terminal_does_not_obey_the_console(office: Office, web: str) -> None:
    console = office.place / "state/ve/101.console"
    with console.open("ab") as file:
        file.write(b"\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1bc\r\nlast\n")
    pid, screen = spawn([sys.executable, *office.argv("logs", web, "-n", "2")[1:]], office.env)
    screen.expect(b"red \\x1b]0;title\\x07 \\x1bc\r\nlast")
    screen.drain()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(screen.master)
    assert "\x1bc" in office.ok("logs", web, "-n", "2")  # a file gets it as it is


def test_runscript_in_one_that_runs_and_in_one_that_does_not(office: Office, web: str) -> None:
    script = office.place / "script"
    script.write_text("cat /etc/hostname; [ -e /run/systemd/system ] && echo init; echo oops >&2; exit 4\n")
    done = office.run("runscript", web, str(script))
    assert (done.returncode, done.stdout, done.stderr) == (4, "www\ninit\n", "oops\n")
    office.ok("create", "102", "--ostemplate", "debian-12-x86_64", "--hostname", "idle")
    done = office.run("runscript", "102", str(script))
    assert (done.returncode, done.stdout) == (4, "idle\n")
    assert office.ok("list", "-S", "-1") == "102\n"
    office.ok("destroy", "102")


def test_what_goes_up_and_down_with_the_host(office: Office, web: str) -> None:
    for veid, order in (("111", "5"), ("112", "")):
        office.ok("create", veid, "--ostemplate", "debian-12-x86_64", "--onboot", "yes", "--net", "none")
        if order:
            office.ok("set", veid, "--bootorder", order, "--save")
    office.ok("create", "110", "--ostemplate", "debian-12-x86_64")
    assert office.ok("autostart") == "111: running\n112: running\n"
    assert office.ok("autostart") == ""
    office.ok("set", "111", "--disabled", "yes", "--save")
    assert "runs" in office.fails("destroy", "111")
    assert office.ok("autostart", "--stop") == "112: stopped\n101: stopped\n111: stopped\n"
    done = office.run("autostart")
    assert done.returncode == 2
    assert "disabled" in done.stderr
    assert "112: running" in done.stdout
    office.ok("stop", "112", "--fast")
    for veid in ("110", "111", "112"):
        office.ok("destroy", veid)
    assert "no containers run" in office.ok("list")


def test_own_dist_files_and_their_scripts(office: Office) -> None:
    office.ok("dist", "new", "mine-1")
    (office.templates / "mine-1-x86_64.tar").symlink_to("debian-12-x86_64.tar")
    file = office.place / "dists/mine-1.toml"
    file.write_text(file.read_text() + '[scripts]\nset_hostname = "name.sh"\npost_create = "new.sh"\n')
    (file.parent / "name.sh").write_text('echo "$HOSTNM $VE_STATE $(cat /etc/hostname)" >> /etc/said\n')
    (file.parent / "new.sh").write_text("echo new >> /etc/said\n")
    assert "mine-1-x86_64: mine-1" in office.ok("dist", "check", "mine-1-x86_64")
    office.ok("create", "104", "--ostemplate", "mine-1-x86_64", "--hostname", "own.x.org")
    said = office.place / "private/104/upper/etc/said"
    assert said.read_text() == "new\nown.x.org stopped own\n"
    (file.parent / "name.sh").write_text("echo no good; exit 3\n")
    error = office.fails("set", "104", "--hostname", "x", "--save")
    assert "exit status 3" in error
    assert "no good" in error
    office.ok("destroy", "104")


def test_the_interface_that_vzctl_has_too(office: Office) -> None:
    backend: Backend = Native(office.manager)
    options = {"name": ["seam"], "hostname": ["seam.x.org"], "ipadd": ["192.0.2.120"], "numproc": ["300"]}
    backend.create("120", "debian-12-x86_64", options)
    assert backend.status("120") == Status(exists=True)
    backend.start("120")
    assert backend.status("120") == Status(exists=True, mounted=True, running=True)
    done = backend.exec("120", ["sh", "-c", "cat; hostname; exit 3"], stdin=b"fed\n", cwd="/tmp")
    assert (done.rc, done.stdout) == (3, b"fed\nseam\n")
    backend.set("120", {"ipdel": ["all"], "ipadd": ["192.0.2.121"], "description": ["a seam"]}, save=True)
    row = next(row for row in backend.list() if row.veid == "120")
    assert (row.status, row.addresses, row.hostname) == ("running", ("192.0.2.121",), "seam.x.org")
    assert row.processes > 0
    with pytest.raises(BusyError):
        backend.destroy("120")
    backend.stop("120")
    backend.mount("120")
    assert backend.status("120") == Status(exists=True, mounted=True)
    backend.umount("120")
    backend.destroy("120")
    assert backend.status("120") == Status(exists=False)
    with pytest.raises(UsageError, match="no option --bridge"):
        backend.create("120", "debian-12-x86_64", {"bridge": ["br0"]})


def test_the_session_of_the_page(office: Office, templates: Path, tmp_path: Path) -> None:
    """docs/ve.md: each command prints what stands below it."""
    other = Office(tmp_path, templates)
    page = (Path(__file__).resolve().parents[2] / "docs/ve.md").read_text()
    block = re.search(r"```console\n(.*?)```", page, re.DOTALL)
    assert block is not None
    for part in re.split(r"(?m)^# ", block[1])[1:]:
        command, _, wanted = part.partition("\n")
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            env=other.env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, done.stderr) == (wanted, ""), command
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert code is not None
    subprocess.run([sys.executable, "-c", code[1]], env=other.env, check=True)
    assert other.remains() == []
