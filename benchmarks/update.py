"""A night on which k packages moved, against a clean build: the curve, and where the time goes.

    python -m benchmarks.update [-n RUNS] [-k 1,10,50] [--recipe debian-12] [--cache DIR]

The archives are local ones of the recipe's real packages (`tests/moving_archive.py`). Each k has an archive
and a store of its own, with a template that was built before any package moved. An update begins with the
layers of the last whole build, so that it upgrades all that has moved since then: what moves for one k must
not be another's burden. What that costs on a later night, the last row shows: one moves after the most did.
A clean build is one from an empty store, no layer, no record, of an archive that has just moved by as many
packages as the goal is for: both ways meet the same night. It is measured twice: with the compressed members
of earlier builds in the cache, and without any; an update always has those of the build before it.

All are whole runs of the tool as a user starts them, taking turns, from a warm package cache but for the
packages that moved. Before each run all is written to disk; nothing is removed until the end, but put aside:
an ext4 without a journal passes by all inodes that were deleted in the last minutes, for each new file. The
processors' time is that of the tool and its children. Needs root, and the network to fill the package cache.

Stages' seconds overlap: the boot test runs beside check and pack; "all else" is what no stage accounts for.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.ratio import Measured, Way, compare, holds, quiet
from tests.moving_archive import MovingArchive
from tests.workshop import Run, Workshop
from tmplbuild.core.linux import spread

GOAL = 0.35
GOAL_AT = 10
Stages = list[dict[str, float]]


def main() -> int:
    """The benchmark; exit status 1 if the goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.update", description=__doc__)
    parser.add_argument("-n", "--runs", type=int, default=3, help="runs of each way (default 3)")
    parser.add_argument("-k", type=_counts, default=(1, 10, 50), help="packages that move (1,10,50)")
    parser.add_argument("--recipe", default="debian-12")
    parser.add_argument("--cache", type=Path, help="a package cache to use and to keep")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="tmplbuild-benchmark-", dir="/var/tmp") as scratch,
        ExitStack() as served,
    ):
        place = Path(scratch)
        spread(place)  # what one leaves on the disk is far from where another works
        cache = asked.cache or place / "cache"

        def site(name: str) -> Site:
            turn = random.randrange(100_000)  # nor has a run before this one left anything of it in the cache
            return Site(place / name, cache, asked.recipe, served, turn)

        return 0 if curve(site, Aside(place / "aside"), asked.k, asked.runs) else 1


def curve(site: Callable[[str], Site], aside: Aside, counts: tuple[int, ...], runs: int) -> bool:
    """Measure and print; whether the goals hold (where their k was asked for)."""
    stages: dict[str, Stages] = {}
    names = {count: f"{count} package{'s' * (count > 1)} moved" for count in counts}
    sites = {count: site(f"moved{count}") for count in counts}
    clean = site("clean")
    members = Members(clean.shop.packages / "members")
    beginnings = {"clean, no members": members.put_away, "clean, members kept": members.bring_back}
    ways: list[Way] = []

    def add(name: str, at: Site, *before: Callable[[], object]) -> None:
        def begin() -> None:
            for action in before:
                action()
            quiet()

        ways.append(Way(name, partial(_run, at, stages.setdefault(name, [])), before=begin))

    for name, prepare in beginnings.items():
        empty = partial(aside.put, clean.shop.place / "state")
        add(name, clean, prepare, empty, partial(clean.archive.move, GOAL_AT))
    for count, name in names.items():
        add(name, sites[count], members.bring_back, partial(sites[count].archive.move, count))
    if max(counts) > 1:
        most = sites[max(counts)]
        add(f"1 more, {max(counts)} before", most, members.bring_back, partial(most.archive.move, 1))
    print(f"load {load()} before, ", end="", flush=True)
    for one in sites.values():
        one.shop.build(one.recipe)
    try:
        measured = compare("an update against a clean build", ways, runs=runs, warmups=0)
    finally:
        members.end()
    found = {one.name: one for one in measured}
    print(f"load {load()} at the end (other work on this machine included)")
    _print_stages(stages, found, runs)
    if GOAL_AT not in counts:
        return True
    update = found[names[GOAL_AT]].wall
    good = [
        holds(f"update with {GOAL_AT} packages / {name}", update / found[name].wall, at_most=GOAL)
        for name in beginnings
    ]
    return all(good)


class Site:
    """An archive that moves, a store, and the recipe that the one is built from into the other.

    Parameters:
        place: a directory for both.
        cache: the package cache, which all share.
        served: what ends the archive's server.
        turn: see `MovingArchive`: what moves here is in no cache because it has moved elsewhere.
    """

    def __init__(self, place: Path, cache: Path, recipe: str, served: ExitStack, turn: int) -> None:
        self.archive = MovingArchive(place / "archive", cache, recipe, turn=turn)
        self.shop = Workshop(place / "shop", cache)
        server = served.enter_context(self.archive.serve())
        self.recipe = self.shop.recipe("moving", self.archive.recipe(server.url))
        self.archive.export_key(self.recipe)


class Aside:
    """Where things go that are not to be there any more: to be removed when all has been measured."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._numbers = itertools.count()
        place.mkdir(parents=True, exist_ok=True)

    def put(self, path: Path) -> None:
        """Put something aside, if it is there."""
        if path.exists():
            path.rename(self._place / str(next(self._numbers)))

    def remove(self) -> None:
        """Remove it all."""
        shutil.rmtree(self._place)


class Members:
    """The compressed members in a package cache, which can be put away for a while."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._away = place.with_name("members-put-away")
        self._aside = Aside(place.with_name("members-aside"))

    def put_away(self) -> None:
        """A build finds none."""
        self.bring_back()
        if self._place.exists():
            self._place.rename(self._away)

    def bring_back(self) -> None:
        """A build finds those of all builds but the ones that found none."""
        if self._away.exists():
            self._aside.put(self._place)
            self._away.rename(self._place)

    def end(self) -> None:
        """All has been measured."""
        self.bring_back()
        self._aside.remove()


def load() -> str:
    """The load average of the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def _print_stages(stages: dict[str, Stages], found: dict[str, Measured], runs: int) -> None:
    print("where the time goes (medians, seconds)")
    rows = [*next(iter(stages.values()))[-1], "all else"]
    width = max(map(len, stages))
    print(f"  {'':{width}}  " + " ".join(f"{row[:9]:>9}" for row in rows))
    for name, kept in stages.items():
        middle = {row: statistics.median(one[row] for one in kept[-runs:]) for row in rows[:-1]}
        beside = min(middle["boot"], middle["check"] + middle["pack"])
        middle["all else"] = max(0.0, found[name].wall - sum(middle.values()) + beside)
        print(f"  {name:{width}}  " + " ".join(f"{middle[row]:9.2f}" for row in rows))


def _run(site: Site, kept: Stages) -> Run:
    done = site.shop.build(site.recipe)
    kept.append({row["name"]: row["seconds"] for row in done.summary["stages"]})
    return done


def _counts(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
