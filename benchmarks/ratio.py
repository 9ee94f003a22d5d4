"""Alternating runs of two or more ways to do a thing, their medians, and the ratio of each to the first.

Machines drift: a figure from yesterday says little. Here all ways run in turn (A B C, C B A, ...)
in one go, so that a slow minute slows all of them, and only the ratio of medians is believed. Those that
write much have `quiet` called before each run: what one leaves to be written is no other's burden.

    from benchmarks.ratio import Way, compare
    compare("pack", [Way("ours", ours), Way("gzip -6", ["sh", "-c", "tar -c . | gzip -6 > x"])])

    python -m benchmarks.ratio -n 5 'true' 'sleep 0.01'
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Action = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to do the thing.

    Parameters:
        name: what the table calls it.
        run: a function, or the arguments of a command (its output is thrown away).
        before: called ahead of each run, its time not counted (put things back).
    """

    name: str
    run: Action | Sequence[str]
    before: Action | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """The runs of one way: wall-clock seconds, and CPU seconds of this process and its children."""

    name: str
    walls: tuple[float, ...]
    cpus: tuple[float, ...]

    @property
    def wall(self) -> float:
        """Median wall-clock seconds."""
        return statistics.median(self.walls)

    @property
    def best(self) -> float:
        """The shortest run's wall-clock seconds."""
        return min(self.walls)

    @property
    def cpu(self) -> float:
        """Median CPU seconds, user and system."""
        return statistics.median(self.cpus)


def measure(ways: Sequence[Way], *, runs: int = 5, warmups: int = 1) -> list[Measured]:
    """Run every way `warmups` times uncounted, then `runs` times, taking turns.

    Raises subprocess.CalledProcessError if a command fails: a failure is no measurement.
    """
    walls: dict[str, list[float]] = {way.name: [] for way in ways}
    cpus: dict[str, list[float]] = {way.name: [] for way in ways}
    for turn in range(warmups + runs):
        for way in ways if turn % 2 == 0 else reversed(ways):  # nobody always comes after the same one
            wall, cpu = _once(way)
            if turn >= warmups:
                walls[way.name].append(wall)
                cpus[way.name].append(cpu)
    return [Measured(way.name, tuple(walls[way.name]), tuple(cpus[way.name])) for way in ways]


def compare(title: str, ways: Sequence[Way], *, runs: int = 5, warmups: int = 1) -> list[Measured]:
    """Measure and print a table.

    The last two columns are each way's wall time over the first one's: of the medians, and of the
    best runs, which tell more where other work disturbs the machine.
    """
    found = measure(ways, runs=runs, warmups=warmups)
    width = max(len(one.name) for one in found)
    print(f"{title} ({runs} runs each, taking turns; medians)")
    print(f"  {'':{width}}  {'wall s':>9}  {'min..max':>19}  {'CPU s':>9}  {'ratio':>7}  {'best':>7}")
    first = found[0]
    for one in found:
        spread = f"{min(one.walls):.4f}..{max(one.walls):.4f}"
        ratios = f"{one.wall / first.wall:6.2f}x  {one.best / first.best:6.2f}x"
        print(f"  {one.name:{width}}  {one.wall:9.4f}  {spread:>19}  {one.cpu:9.4f}  {ratios}")
    sys.stdout.flush()
    return found


def holds(what: str, value: float, *, at_least: float | None = None, at_most: float | None = None) -> bool:
    """Print whether a figure meets its goal, and return it (a benchmark's exit status is made of these)."""
    good = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    goal = f"at least {at_least:g}" if at_least is not None else f"at most {at_most:g}"
    print(f"  {'ok  ' if good else 'MISS'} {what}: {value:.2f} (goal: {goal})")
    return good


def quiet(most_s: float = 30) -> None:
    """Wait until what was written is on disk, and a moment more for what the system does about it."""
    os.sync()
    end = time.monotonic() + most_s
    while _unwritten_kib() > 4096 and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(2)


def _unwritten_kib() -> int:
    rows = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(int(rows[name].split()[0]) for name in ("Dirty", "Writeback"))


def peak_kib(pid: int | None = None) -> int:
    """Peak resident memory of a process that still runs (this one by default), KiB (proc(5), VmHWM)."""
    text = Path(f"/proc/{pid or os.getpid()}/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmHWM:")))


def _once(way: Way) -> tuple[float, float]:
    if way.before is not None:
        way.before()
    cpu, wall = _cpu(), time.perf_counter()
    if callable(way.run):
        way.run()
    else:
        subprocess.run(
            list(way.run), check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=sys.stderr
        )
    return time.perf_counter() - wall, _cpu() - cpu


def _cpu() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def main() -> int:
    """`python -m benchmarks.ratio`: shell commands against each other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ratio", description=main.__doc__)
    parser.add_argument("-n", "--runs", type=int, default=5, help="runs of each command (default 5)")
    parser.add_argument("commands", nargs="+", metavar="COMMAND", help="a line for sh")
    asked = parser.parse_args()
    compare("commands", [Way(line, ["sh", "-c", line]) for line in asked.commands], runs=asked.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
