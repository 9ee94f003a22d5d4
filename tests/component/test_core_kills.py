"""The tool or a VE's monitor is killed at random moments: after gc nothing is left.

The moments are drawn anew each run; the seed is part of the failure's text. TMPLBUILD_TEST_KILLS is the
number of rounds (40; 200 were run for a release).
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

from tests.core_trees import NOTHING, layers, monitors, network, traces, wait_until
from tmplbuild.core import Core, Rootfs, images

ROUNDS = int(os.environ.get("TMPLBUILD_TEST_KILLS", "40"))

pytestmark = [pytest.mark.root, pytest.mark.trees, pytest.mark.live, pytest.mark.slow]

# Of this machine's own network, where the host must answer for them.
ADDRESSES = ("192.0.2.231", "fd00::231")

TOOL = """
import sys
from pathlib import Path
from tmplbuild.core import Core, Limits, Rootfs, Venet
run, lower, upper, init, enough = sys.argv[1:]
core = Core(Path(run))
layers = (Path(lower),)
disks = [Rootfs.overlay(layers, Path(upper)), Rootfs.imaged(layers, Path(upper).with_name("disk"))]
nets = ["proxy", Venet((ADDRESSES[0],))]
core.gc()
print("goes", flush=True)
turn = 0
while not Path(enough).exists():
    rootfs, net = disks[turn % 2], nets[turn // 2 % 2]
    turn += 1
    with core.tree(rootfs) as tree:
        tree.write("/srv/x", "x")
    with core.start("fuzz", rootfs, init=init == "init", net=net, limits=Limits(pids=500)) as ve:
        ve.exec(["sh", "-c", "sleep 4501 & setsid sleep 4502 & echo x >/srv/y; sleep 0.02"])
        ve.set_limits(Limits(pids=400, cpus=1.5))
        if net != "proxy":
            ve.add_address(ADDRESSES[1])
            ve.remove_address(ADDRESSES[0])
        core.attach("fuzz").stop()
""".replace("ADDRESSES", repr(ADDRESSES))


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


@pytest.mark.parametrize(("init", "rounds"), [("plain", ROUNDS * 3 // 4), ("init", ROUNDS // 4)])
def test_kills_at_any_moment_leave_nothing_after_gc(tmp_path: Path, init: str, rounds: int) -> None:
    core = Core(tmp_path / "run")
    rootfs = layers(tmp_path)
    images.make(tmp_path / "disk", 64)
    told = ["losetup", "-j", str(tmp_path / "disk")]
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    for number in range(rounds):
        done = strike(core, rootfs, dice, init, tmp_path / "enough")

        def clean() -> bool:
            core.gc()
            loops = subprocess.run(told, capture_output=True, check=True).stdout
            return traces(core) == NOTHING and network(core, "fuzz", ADDRESSES) == [] and loops == b""

        # A monitor that lost its tool cleans up by itself; gc does not touch it meanwhile.
        assert wait_until(clean), (
            f"seed {seed}, round {number}: {done}: {traces(core)} {network(core, 'fuzz', ADDRESSES)}"
        )
        with core.tree(rootfs) as tree:
            assert tree.is_dir("/srv")
    assert not (tmp_path / "work").exists()
