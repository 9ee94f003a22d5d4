"""How much memory and disk a build may take, and whether another one can begin beside those that run."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

BUILD_MIB = 768
"""Memory of one build with its VE, MiB: what a Debian or Ubuntu build takes at most, rounded up. A recipe
whose limit is lower counts with that."""

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Need:
    """What one build takes, MiB."""

    memory_mib: int
    disk_mib: int


@dataclass(slots=True)
class Budget:
    """The bounds of a run.

    Parameters:
        jobs: builds at once.
        memory_mib: of all builds together.
        keep_free_mib: of the disk with the layers.
        place: where the layers are.
    """

    jobs: int
    memory_mib: int
    keep_free_mib: int
    place: Path

    def allows(self, need: Need, running: Iterable[Need]) -> bool:
        """Whether a build may begin now. One that is alone is only held to the disk's bound."""
        others = list(running)
        if len(others) >= self.jobs:
            return False
        if others and need.memory_mib + sum(one.memory_mib for one in others) > self.memory_mib:
            return False
        return not others or self.lacks(need, others) == 0

    def lacks(self, need: Need, running: Iterable[Need] = ()) -> int:
        """How much disk is missing for a build, MiB; 0 if there is enough."""
        wanted = need.disk_mib + sum(one.disk_mib for one in running) + self.keep_free_mib
        return max(0, wanted - self.free_mib())

    def free_mib(self) -> int:
        """What the disk with the layers has left, MiB."""
        return shutil.disk_usage(self.place).free // _MIB


def available_mib() -> int:
    """Memory that can be had without swapping, MiB (proc(5), MemAvailable)."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return BUILD_MIB
