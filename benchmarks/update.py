"""A night on which k packages moved, against a clean build: the curve, and where the time goes.

    python -m benchmarks.update [-n RUNS] [-k 1,10,50] [--recipe debian-12] [--cache DIR]

The archive is a local one of the recipe's real packages (`tests/moving_archive.py`): before each
update it gives k of them a new version. A clean build is one from an empty store: no layer, no record.
Both are whole runs of the tool as a user starts them, taking turns, from a warm package cache but for the
packages that moved. A clean build is measured twice: with the compressed members of earlier builds in the
cache, and without any; an update always has those of the build before it, as on every night but the first.
Needs root, and the network to fill the package cache.

Stages' seconds overlap: the boot test runs beside check and pack; "all else" is what no stage accounts for.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.ratio import Measured, Way, compare, holds
from tests.moving_archive import MovingArchive
from tests.workshop import Run, Workshop

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
    with tempfile.TemporaryDirectory(prefix="tmplbuild-benchmark-", dir="/var/tmp") as scratch:
        place = Path(scratch)
        cache = asked.cache or place / "cache"
        archive = MovingArchive(place, cache, asked.recipe)
        with archive.serve() as server:
            shop = Workshop(place / "shop", cache)
            recipe = shop.recipe("moving", archive.recipe(server.url))
            archive.export_key(recipe)
            return 0 if curve(archive, shop, recipe, asked.k, asked.runs) else 1


def curve(archive: MovingArchive, shop: Workshop, recipe: str, counts: tuple[int, ...], runs: int) -> bool:
    """Measure and print; whether the goals hold (where their k was asked for)."""
    stages: dict[str, Stages] = {}
    names = {count: f"{count} package{'s' * (count > 1)} moved" for count in counts}
    members = Members(shop.packages / "members")
    empty = Workshop(shop.place.parent / "clean", shop.packages)
    beginnings = {"clean, no members": members.put_away, "clean, members kept": members.bring_back}

    def begin(prepare: Callable[[], None]) -> None:
        prepare()
        shutil.rmtree(empty.place / "state", ignore_errors=True)

    ways = [
        Way(name, partial(_run, empty, recipe, stages.setdefault(name, [])), before=partial(begin, prepare))
        for name, prepare in beginnings.items()
    ]
    for count, name in names.items():
        kept = stages.setdefault(name, [])
        ways.append(Way(name, partial(_run, shop, recipe, kept), before=partial(archive.move, count)))
    print(f"load {load()} before, ", end="", flush=True)
    shop.build(recipe)
    found = {one.name: one for one in compare("an update against a clean build", ways, runs=runs)}
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


class Members:
    """The compressed members in a package cache, which can be put away for a while."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._away = place.with_name("members-put-away")

    def put_away(self) -> None:
        """A build finds none."""
        self.bring_back()
        if self._place.exists():
            self._place.rename(self._away)

    def bring_back(self) -> None:
        """A build finds those of all builds but the ones that found none."""
        if self._away.exists():
            shutil.rmtree(self._place, ignore_errors=True)
            self._away.rename(self._place)


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


def _run(shop: Workshop, recipe: str, kept: Stages) -> Run:
    done = shop.build(recipe)
    kept.append({row["name"]: row["seconds"] for row in done.summary["stages"]})
    return done


def _counts(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
