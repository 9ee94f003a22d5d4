"""A night on which k packages moved, against a clean build: the curve, and where the time goes.

    python -m benchmarks.update [-n RUNS] [-k 1,10,50] [--recipe debian-12] [--cache DIR]

The archive is a local one of the recipe's real packages (`tests/moving_archive.py`): before each
update it gives k of them a new version. Updates and clean builds are whole runs of the tool as a user
starts them, taking turns, from a warm package cache but for the packages that moved, in directories of
their own. Needs root, and the network to fill the package cache.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.ratio import Way, compare, holds
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
    """Measure and print; whether the goal holds (where its k was asked for)."""
    stages: dict[str, Stages] = {}
    names = {count: f"{count} package{'s' * (count > 1)} moved" for count in counts}
    clean = "clean build"
    ways = [Way(clean, partial(_run, shop, recipe, stages.setdefault(clean, []), "--rebuild"))]
    for count, name in names.items():
        kept = stages.setdefault(name, [])
        ways.append(Way(name, partial(_run, shop, recipe, kept), before=partial(archive.move, count)))
    title = "an update against a clean build"
    found = {one.name: one for one in compare(title, ways, runs=runs)}
    print("where the time goes (medians, seconds)")
    rows = [*stages[clean][-1], "all else"]
    print(f"  {'':{max(map(len, stages))}}  " + " ".join(f"{row[:9]:>9}" for row in rows))
    for name, kept in stages.items():
        middle = {row: statistics.median(one[row] for one in kept[-runs:]) for row in rows[:-1]}
        middle["all else"] = max(0.0, found[name].wall - sum(middle.values()))
        print(f"  {name:{max(map(len, stages))}}  " + " ".join(f"{middle[row]:9.2f}" for row in rows))
    if GOAL_AT not in counts:
        return True
    share = found[names[GOAL_AT]].wall / found[clean].wall
    return holds(f"update with {GOAL_AT} packages / clean build", share, at_most=GOAL)


def _run(shop: Workshop, recipe: str, kept: Stages, *words: str) -> Run:
    done = shop.build(recipe, *words)
    kept.append({row["name"]: row["seconds"] for row in done.summary["stages"]})
    return done


def _counts(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
