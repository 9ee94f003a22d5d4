"""A night of three templates that is killed at random instants, again and again, until it comes to its end.

Each kill strikes either the tool alone or, as a power cut would, everything of the run at once; the next
run goes on where the last one was cut. When a run ends well, the templates must be those of the
undisturbed night, to the byte, and nothing may be left on the machine; then the layers are thrown away and
the next night begins. Needs root, and the network to fill the package cache.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.workshop import Workshop
from tmplbuild.core import Core, cgroup
from tmplbuild.core.line import device_name

TINY = """
extends = "debian/12"
[image]
name = "{name}-12-{{ve_arch}}"
[install]
packages = ["systemd-sysv"]
[configure.files]
"/etc/motd".text = "{name}\\n"
[check]
install = []
network = "none"
"""
"""The least that boots; the three differ by a file, so that they share their packages."""

NAMES = ("one", "two", "three")


@dataclass
class Nights:
    """What is killed, and what came of it.

    Parameters:
        place: a directory for it.
        packages: the package cache.
        seed: of the instants and the kinds.
    """

    place: Path
    packages: Path
    seed: int
    kills: int = 0
    nights: int = 0
    struck: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    shortest_s: float = 1e9

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.shop = Workshop(self.place, self.packages)
        self.recipes = [self.shop.recipe(name, TINY.format(name=name)) for name in NAMES]

    def undisturbed(self) -> None:
        """The night that nothing disturbs: its digests and how long its shortest template takes."""
        for name, recipe in zip(NAMES, self.recipes, strict=True):
            begun = time.monotonic()
            done = self.shop.build(recipe)
            self.digests[name] = done.summary["sha256"]
            self.shortest_s = min(self.shortest_s, time.monotonic() - begun)
        self.forget()

    def until(self, kills: int) -> None:
        """Kill so many times (and on to the end of the night that was then under way)."""
        while self.kills < kills:
            while self.kills < kills and self.struck_once():
                pass
            self.ends_well()
            self.forget()

    def struck_once(self) -> bool:
        """Start or go on with the night and kill it; False if it was faster than the kill."""
        process = self.start()
        after = 0.05 * (self.shortest_s / 0.05) ** self.random.random()  # so that most come early
        everything = self.random.random() < 0.5
        try:
            process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            if everything:
                for pid in _below(process.pid):
                    _kill(pid)
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            self.kills += 1
            kind = "everything" if everything else "the tool"
            self.struck[kind] = self.struck.get(kind, 0) + 1
            return True
        assert process.returncode == 0, f"seed {self.seed}, kill {self.kills}: {process.stderr}"
        return False

    def start(self) -> subprocess.Popen[str]:
        """A night: all three, one after the other."""
        build = " ".join(self.shop.argv("build"))
        script = " && ".join(f"{build} --offline --quiet {recipe}" for recipe in self.recipes)
        return subprocess.Popen(
            ["sh", "-c", script],
            env=self.shop.env,
            cwd=self.shop.place,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def ends_well(self) -> None:
        """The night goes on to its end: the same templates, and nothing left."""
        process = self.start()
        _, err = process.communicate()
        where = f"seed {self.seed}, after {self.kills} kills"
        assert process.returncode == 0, f"{where}: {err}"
        for name, recipe in zip(NAMES, self.recipes, strict=True):
            again = self.shop.build(recipe, "--offline")
            assert again.unchanged, f"{where}: {name} is not finished"
            assert again.summary["sha256"] == self.digests[name], f"{where}: {name} is another"
        self.nights += 1
        left = self.left()
        assert left == {}, f"{where}: {left}"

    def left(self) -> dict[str, list[str]]:
        """All that should not be there any more."""
        found = dict(self.shop.remains())
        core = Core(self.shop.run_dir)
        found["groups"] = sorted(cgroup.known(core.owner))
        # other tests' VEs have links meanwhile: only those count that ours could have
        ours = {
            device_name(core.owner, f"{kind}-{name}-12-x86_64")
            for kind in ("build", "trial")
            for name in self.digests
        }
        found["interfaces"] = sorted(ours & set(os.listdir("/sys/class/net")))
        found["temporary files"] = [str(path) for path in self.shop.temporary()]
        return {kind: rows for kind, rows in found.items() if rows}

    def forget(self) -> None:
        """Throw away layers, records and templates; packages and compressed members stay."""
        shutil.rmtree(self.shop.place / "state")
        for path in self.shop.templates.iterdir():
            path.unlink()


def _below(pid: int) -> list[int]:
    """The processes that descend from one, nearest first: helpers, monitors, what runs in VEs."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found[1:]


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
