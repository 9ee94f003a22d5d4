"""The tool or a VE's monitor is killed at random moments: after gc nothing is left.

The moments are drawn anew each run; the seed is part of the failure's text.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import sleep

import pytest

from tests.core_trees import NOTHING, layers, traces, wait_until
from tmplbuild.core import Core, Rootfs

pytestmark = [pytest.mark.root, pytest.mark.trees, pytest.mark.live, pytest.mark.slow]

TOOL = """
import sys
from pathlib import Path
from tmplbuild.core import Core, Limits, Rootfs
run, lower, upper, init, enough = sys.argv[1:]
core = Core(Path(run))
rootfs = Rootfs.overlay((Path(lower),), Path(upper))
core.gc()
print("goes", flush=True)
while not Path(enough).exists():
    with core.tree(rootfs) as tree:
        tree.write("/srv/x", "x")
    with core.start("fuzz", rootfs, init=init == "init", net="proxy", limits=Limits(pids=500)) as ve:
        ve.exec(["sh", "-c", "sleep 4501 & setsid sleep 4502 & echo x >/srv/y; sleep 0.02"])
"""


def monitors(core: Core) -> list[int]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{pid}/comm").read_text() != "tmplbuild-ve\n":
                continue
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        if any(link.startswith(f"{core.state_dir}/") for link in links):
            found.append(int(pid))
    return found


def strike(core: Core, rootfs: Rootfs, dice: random.Random, init: str, enough: Path) -> str:
    """Run the tool, and kill it, its monitor or both at some moment. Returns what was done."""
    lower, upper = str(rootfs.lower[0]), str(rootfs.upper)
    argv = [sys.executable, "-c", TOOL, str(core.state_dir), lower, upper, init, str(enough)]
    who = dice.choice(["tool", "monitor", "both"])
    how = dice.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]) if who == "tool" else signal.SIGKILL
    pause = dice.uniform(0, 0.9 if init == "init" else 0.25)
    enough.unlink(missing_ok=True)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tool:
        assert tool.stdout is not None
        try:
            assert tool.stdout.readline() == b"goes\n", tool.communicate()
            sleep(pause)
            enough.touch()  # a tool whose monitor had done its work already ends by this
            for pid in monitors(core) if who != "tool" else []:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if who != "monitor":
                tool.send_signal(how)
            tool.communicate(timeout=120)  # whatever happened to its VE, the tool does not hang
        finally:
            tool.kill()
    return f"{who} {how.name} after {pause:.3f} s"


@pytest.mark.parametrize(("init", "rounds"), [("plain", 30), ("init", 10)])
def test_kills_at_any_moment_leave_nothing_after_gc(tmp_path: Path, init: str, rounds: int) -> None:
    core = Core(tmp_path / "run")
    rootfs = layers(tmp_path)
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    for number in range(rounds):
        done = strike(core, rootfs, dice, init, tmp_path / "enough")

        def clean() -> bool:
            core.gc()
            return traces(core) == NOTHING

        # A monitor that lost its tool cleans up by itself; gc does not touch it meanwhile.
        assert wait_until(clean), f"seed {seed}, round {number}: {done}: {traces(core)}"
        with core.tree(rootfs) as tree:
            assert tree.is_dir("/srv")
    assert not (tmp_path / "work").exists()
