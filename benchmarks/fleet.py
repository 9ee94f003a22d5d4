"""A fleet against one machine: what its path costs one template, and what a second worker is worth.

    python -m benchmarks.fleet [-n RUNS] [--cache DIR] [--part overhead|speedup]

overhead  one template of debian-12's packages, ten of which have moved: brought up to date, and built anew
          from today's packages, by this machine alone and by a fleet of one worker on loopback with its
          store in a directory. Whole runs of the command; scheduler and worker run already, as at night
speedup   six small templates with a moved package each, by a fleet of one worker and by one of two; each
          worker has one CPU of its own, so that two of them are two machines of one processor

The archive is a local one (tests/moving_archive.py) on a local server. Needs root, two CPUs, and the network
or a --cache with the packages.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from benchmarks.nightly import SMALL
from benchmarks.ratio import Way, compare, holds, peak_kib
from tests.moving_archive import MovingArchive
from tests.workshop import Run, Workshop

MOVED = 10


class Party:
    """A scheduler or a worker, a process that runs until the block ends.

    Attributes:
        address: where the others reach it.
    """

    def __init__(self, argv: list[str], env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen([*argv, "--json"], env=env, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        ready = json.loads(self._process.stdout.readline())
        assert ready["event"] == "ready", ready
        self.address = str(ready["address"])

    @property
    def cpu(self) -> float:
        """CPU seconds that it and all below it have taken."""
        return _cpu(self._process.pid)

    @property
    def peak_kib(self) -> int:
        """The most memory that it has had, KiB."""
        return peak_kib(self._process.pid)

    def end(self) -> None:
        """Have it end, and wait for it."""
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def _cpu(pid: int) -> float:
    """CPU seconds of a process, of its children that have ended, and of those that run (proc(5))."""
    text = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return sum(map(int, text.split()[11:15])) / os.sysconf("SC_CLK_TCK") + sum(map(_cpu, children))


class Fleet:
    """A scheduler and workers on loopback, and the workshop of the machine that gives the orders.

    Parameters:
        cpus: one worker for each entry, confined to these CPUs.

    Attributes:
        cpus_spent: CPU seconds that the parties took for each run, the command itself not counted.
    """

    def __init__(self, place: Path, packages: Path, cpus: Sequence[Sequence[int]]) -> None:
        self.shop = Workshop(place / "shop", packages)
        self.store = str(place / "store")
        self._place, self._cpus = place, cpus
        self._parties: list[Party] = []
        self._words: tuple[str, ...] = ()
        self.cpus_spent: list[float] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start all parties; they end with the block."""
        with ExitStack() as stack:
            listen = ("--listen", "tcp://127.0.0.1:0", "--dashboard", "127.0.0.1:0")
            scheduler = self._party(stack, self.shop.argv("scheduler", *listen), self.shop.env)
            self._words = ("--scheduler", scheduler.address, "--store", self.store)
            for number, cpus in enumerate(self._cpus, 1):
                place = self._place / f"w{number}"
                env = self.shop.env | {f"TMPLBUILD_{d}_DIR": str(place / d.lower()) for d in ("STATE", "RUN")}
                words = ("worker", scheduler.address, "--store", self.store, "--name", f"w{number}")
                bound = ["taskset", "--cpu-list", ",".join(map(str, cpus))]
                self._party(stack, [*bound, *self.shop.argv(*words, "--jobs", "1")], env)
            yield

    def _party(self, stack: ExitStack, argv: list[str], env: Mapping[str, str]) -> Party:
        party = Party(argv, env)
        stack.callback(party.end)
        self._parties.append(party)
        return party

    def order(self, *words: str) -> Run:
        """A command, done by the fleet; it must succeed."""
        before = sum(party.cpu for party in self._parties)
        done = must(self.shop, *words, *self._words)
        self.cpus_spent.append(sum(party.cpu for party in self._parties) - before)
        return done


def must(shop: Workshop, *words: str) -> Run:
    """A command, done by this machine; it must succeed."""
    done = shop.run(*words, "--json")
    assert done.status == 0, f"{done.err}\n{done.out[-2000:]}"
    return done


def overhead(place: Path, cache: Path, runs: int) -> bool:
    """One template, here and by a fleet."""
    archive = MovingArchive(place / "one", cache)
    alone = Workshop(place / "alone", cache)
    fleet = Fleet(place / "fleet", cache, [sorted(os.sched_getaffinity(0))])
    move = partial(archive.move, MOVED)
    with archive.serve() as server, fleet.running():
        name = recipe(alone, archive, server.url)
        theirs = recipe(fleet.shop, archive, server.url)
        first = must(alone, "build", name), fleet.order("build", theirs)
        assert first[0].summary["sha256"] == first[1].summary["sha256"]
        good = True
        for what, words in (("updated", ()), ("built anew", ("--rebuild",))):
            ways = [
                Way("this machine", partial(must, alone, "build", name, *words), before=move),
                Way("a fleet of one worker", partial(fleet.order, "build", theirs, *words), before=move),
            ]
            here, there = compare(f"{MOVED} packages moved, {what}", ways, runs=runs, warmups=0)
            cpu = there.cpu + statistics.median(fleet.cpus_spent[-runs:])
            print(f"  CPU seconds of all: {here.cpu:.2f} here, {cpu:.2f} by the fleet, {cpu / here.cpu:.2f}x")
            good &= holds(f"times as long by the fleet, {what}", there.wall / here.wall, at_most=1.1)
    return good


def speedup(place: Path, cache: Path, runs: int) -> bool:
    """Six templates, by one worker and by two."""
    cpus = sorted(os.sched_getaffinity(0))[:2]
    archive = MovingArchive(place / "six", cache)
    one = Fleet(place / "one-worker", cache, [[cpus[0]]])
    two = Fleet(place / "two-workers", cache, [[cpu] for cpu in cpus])
    within = ["base-files", "procps", "iproute2", "libproc2-0", "net-tools", "ifupdown"]
    move = partial(archive.move, 1, within=within)
    with archive.serve() as server, one.running(), two.running():
        ways = []
        for fleet, title in ((one, "one worker"), (two, "two workers")):
            names = [f"e{number}" for number in range(6)]
            texts = {name: SMALL.format(name=name) for name in names}
            paths = [recipe(fleet.shop, archive, server.url, name, text) for name, text in texts.items()]
            fleet.order("update", *paths)
            ways.append(Way(title, partial(fleet.order, "update", *paths), before=move))
        single, double = compare(
            "a package moved in six templates, workers of one CPU each", ways, runs=runs, warmups=0
        )
    return holds("times faster with two workers", single.wall / double.wall, at_least=1.6)


def recipe(shop: Workshop, archive: MovingArchive, url: str, name: str = "one", more: str = "") -> str:
    """A recipe of the archive in a workshop, with its key."""
    found = shop.recipe(name, archive.recipe(url, name=name, more=more))
    archive.export_key(found)
    return found


def main() -> int:
    """The benchmark; exit status 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("-n", "--runs", type=int, default=3, help="runs of each way (default 3)")
    parser.add_argument("--place", type=Path, help="where all is made (default: a directory in /var/tmp)")
    parser.add_argument("--cache", type=Path, help="a package cache to use and to keep")
    parser.add_argument("--part", choices=("overhead", "speedup"), help="only this part")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tmplbuild-benchmark-", dir=asked.place or "/var/tmp") as scratch:
        place = Path(scratch)
        cache = asked.cache or place / "cache"
        good = True
        if asked.part in (None, "overhead"):
            good &= overhead(place, cache, asked.runs)
        if asked.part in (None, "speedup"):
            good &= speedup(place, cache, asked.runs)
        print(f"load {os.getloadavg()[0]:.1f} at the end (other work on this machine included)")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
