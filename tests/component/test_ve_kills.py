"""`tmplbuild ve` or a VE's monitor is killed at random moments of a VE's life: after `ve gc` nothing is left.

The moments are drawn anew each run; the seed is part of the failure's text. TMPLBUILD_TEST_VE_KILLS is the
number of rounds (10; 200 were run for a release), TMPLBUILD_TEST_SEED repeats a run's choices.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import sleep

import pytest

from tests.core_trees import NOTHING, debian, monitors, network, traces, wait_until
from tests.ve_office import Office
from tmplbuild.core import Core

ROUNDS = int(os.environ.get("TMPLBUILD_TEST_VE_KILLS", "10"))

pytestmark = [pytest.mark.root, pytest.mark.trees, pytest.mark.live, pytest.mark.slow]

VEID = "7301"
NAME = "fuzz"
ADDRESS = "192.0.2.233"  # of this machine's own network, where the host must answer for it

# What the verbs do, without the start of Python between them, in which most kills would fall.
LIFE = f"""
import sys
from pathlib import Path
from tmplbuild.config import load_settings
from tmplbuild.vz.addresses import address
from tmplbuild.vz.manage import Manager, New
from tmplbuild.vz.request import Request
layouts, enough = sys.argv[1].split(","), Path(sys.argv[2])
manager = Manager(load_settings())
limits = {{"NUMPROC": "300:300", "DISKSPACE": "65536:65536", "HOSTNAME": "a.example.org"}}
more = {{"PHYSPAGES": "65536:65536", "HOSTNAME": "b.example.org"}}
print("goes", flush=True)
while not enough.exists():
    layouts.append(layouts.pop(0))
    new = New(ostemplate="debian-12-x86_64", layout=layouts[-1], name={NAME!r}, request=Request(limits))
    manager.create({VEID!r}, new)
    manager.start({NAME!r})
    with manager.attach({NAME!r}) as ve:
        ve.exec(["sh", "-c", "sleep 4651 & setsid sleep 4652 & echo x >/srv/y"])
        ve.detach()
    manager.set({NAME!r}, Request(more, add=(address({ADDRESS!r}),)), save=True)
    manager.stop({NAME!r})
    manager.destroy({NAME!r})
"""


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """A place of the test's own, with a template of a Debian that boots, unpacked already."""
    office = Office(tmp_path)
    tarball = office.templates / "debian-12-x86_64.tar"
    xattrs = ["--xattrs", "--xattrs-include=*", "--numeric-owner"]
    subprocess.run(["tar", *xattrs, "-C", debian("systemd"), "-cf", tarball, "."], check=True)
    office.ok("create", VEID, "--ostemplate", "debian-12-x86_64")
    office.ok("destroy", VEID)
    yield office
    office.run("stop", VEID, "--fast")


def strike(office: Office, core: Core, dice: random.Random) -> str:
    """Let a VE live, and kill the tool, the monitor or both at some moment. Returns what was done."""
    enough = office.place / "enough"
    enough.unlink(missing_ok=True)
    layouts = dice.choice(["overlay,image", "image,overlay"])
    who = dice.choice(["tool", "tool", "monitor", "both"])
    pause = dice.uniform(0, 2.5)
    argv = [sys.executable, "-c", LIFE, layouts, str(enough)]
    with subprocess.Popen(argv, env=office.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tool:
        assert tool.stdout is not None
        try:
            assert tool.stdout.readline() == b"goes\n", tool.communicate()
            sleep(pause)  # a random moment is the point
            enough.touch()  # a tool whose monitor had done its work already ends by this
            for pid in monitors(core) if who != "tool" else []:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if who != "monitor":
                tool.kill()
            tool.communicate(timeout=120)  # whatever happened to its VE, the tool does not hang
        finally:
            tool.kill()
    return f"{layouts}: {who} after {pause:.3f} s"


def sysctls() -> dict[str, bytes]:
    """What can be set on this host, but for what belongs to an interface or counts."""
    found = {}
    for folder, _folders, names in os.walk("/proc/sys"):  # an interface of another test may go meanwhile
        kind = folder.startswith("/proc/sys/net/") and ("/conf/" in folder or "/neigh/" in folder)
        if kind and Path(folder).name not in ("all", "default"):
            continue
        for name in set(names) - OWN_ACCORD:
            path = Path(folder) / name
            with suppress(OSError):
                if path.stat().st_mode & 0o200:
                    found[str(path)] = path.read_bytes()
    return found


OWN_ACCORD = {"ns_last_pid", "perf_event_max_sample_rate"}
"""What the kernel sets by itself."""


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> dict[str, tuple[bytes, bytes]]:
    """What was set; modules that another test has the kernel load bring more of it."""
    both = before.keys() & after.keys()
    return {path: (before[path], after[path]) for path in both if before[path] != after[path]}


def left(office: Office, core: Core) -> dict[str, object]:
    """All that is on the host, or in OpenVZ's directories, of VEs that are no more."""
    found = traces(core)
    found["state"] = [name for name in os.listdir(core.state_dir) if name != "locks"]
    found["network"] = network(core, VEID, [ADDRESS])
    loops = subprocess.run(
        ["losetup", "-l", "-n", "-O", "BACK-FILE"], capture_output=True, text=True, check=True
    )
    found["loops"] = loops.stdout.count(str(office.place))
    found["places"] = str(office.place) in Path("/proc/self/mountinfo").read_text()
    drafts = [*office.place.glob("state/bases/.*.new"), *office.place.glob("state/ve/*")]
    drafts += [path for kind in ("private", "root", "vz/names") for path in (office.place / kind).glob("*")]
    drafts += [
        path for kind in ("private", "vz/names", "vz/conf") for path in (office.place / kind).glob(".*")
    ]
    found["files"] = sorted(str(path) for path in drafts)
    found["conf"] = (office.place / f"vz/conf/{VEID}.conf").exists()
    return found


CLEAN = {**NOTHING, "network": [], "loops": 0, "places": False, "files": [], "conf": False}


def test_kills_at_any_moment_of_a_ves_life_leave_nothing_after_gc(office: Office) -> None:
    seed = int(os.environ.get("TMPLBUILD_TEST_SEED") or random.randrange(1 << 32))
    dice = random.Random(seed)
    core = office.manager.core
    before = sysctls()
    for number in range(ROUNDS):
        done = f"seed {seed}, round {number}: {strike(office, core, dice)}"
        # A tool that was killed leaves a VE that runs, a stopped one, or files without a configuration.
        stopped = office.run("stop", VEID, "--fast")
        assert "Traceback" not in stopped.stderr, done
        assert wait_until(lambda: not _runs(office)), done
        office.ok("gc")
        if (office.place / f"vz/conf/{VEID}.conf").exists() or (office.place / f"private/{VEID}").exists():
            office.ok("destroy", VEID)

        def clean() -> bool:
            office.manager.core.gc()  # a monitor that lost its tool cleans up by itself meanwhile
            return left(office, core) == CLEAN

        assert wait_until(clean), f"{done}: {left(office, core)}"
    assert changed(before, sysctls()) == {}, f"seed {seed}"
    office.ok("create", VEID, "--ostemplate", "debian-12-x86_64", "--ipadd", ADDRESS, "--name", NAME)
    office.ok("start", NAME)
    office.ok("stop", NAME)
    office.ok("destroy", NAME)
    assert left(office, core) == CLEAN


def _runs(office: Office) -> bool:
    return office.manager.running(VEID) is not None
