"""Bootstrap of the standard template's packages: ours against mmdebstrap and debootstrap.

    python -m benchmarks.bootstrap [-n RUNS] [--recipe debian-12] [--place DIR] [--cache DIR]

All use the same package files from this machine: ours its warm package cache (index look-up and
closure are counted, each run is a process of its own), the others a local archive made of the same
files, without signatures. "ours, second" is a recipe whose base is there already and that adds a few
packages. Before each run, whoever's it is, all is written to disk, and the package files are read, so that
they are in memory; each tree has a part of the disk of its own. The processors' time of ours leaves out what
runs in VEs, which are nobody's children: `perf stat` tells it. On ext4 without a journal, have nothing large
removed within the five minutes before: for each new file it passes by the inodes of what was deleted. Needs
root, mmdebstrap and debootstrap.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.ratio import Way, compare, holds, quiet
from tests.deb_trees import Choice, Maker, debootstrap, local_archive, mmdebstrap, open_source
from tmplbuild.core.linux import spread

SECOND = ("ifupdown", "iproute2", "iputils-ping", "netbase", "nano", "less", "procps", "cron")


def main() -> int:
    """The benchmark; exit status 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bootstrap", description=__doc__)
    parser.add_argument("-n", "--runs", type=int, default=5, help="runs of each way (default 5)")
    parser.add_argument("--recipe", default="debian-12")
    parser.add_argument(
        "--place", type=Path, help="where the trees are made (default: a directory in /var/tmp)"
    )
    parser.add_argument("--cache", type=Path, help="a package cache to use and to keep")
    parser.add_argument("--once", choices=("all", "second"), help=argparse.SUPPRESS)
    parser.add_argument("--layer", default="top", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.once:
        _once(asked.recipe, asked.place, asked.cache, asked.once, asked.layer)
        return 0
    with tempfile.TemporaryDirectory(prefix="tmplbuild-benchmark-", dir=asked.place or "/var/tmp") as scratch:
        place = Path(scratch)
        return _run(asked.recipe, place, asked.cache or place / "cache", asked.runs)


def _run(recipe: str, place: Path, cache: Path, runs: int) -> int:
    source = open_source(recipe, cache)
    choice = source.choose()
    source.choose(SECOND)  # into the cache
    archive = local_archive(place / "archive", choice)
    command = [sys.executable, "-m", "benchmarks.bootstrap", "--recipe", recipe, "--cache", str(cache)]
    first = place / "first"
    peak = _peak_kib([*command, "--place", str(first), "--once", "all"])  # also prepares every package
    number = itertools.count()

    def ours() -> None:
        subprocess.run([*command, "--place", str(place / f"ours{next(number)}"), "--once", "all"], check=True)

    def second() -> None:
        layer = f"second{next(number)}"
        subprocess.run([*command, "--place", str(first), "--layer", layer, "--once", "second"], check=True)

    def before() -> None:
        for path in (*(place / "archive").rglob("*.deb"), *cache.rglob("*.prepared")):
            path.read_bytes()
        quiet()

    spread(place)  # all trees alike: see there what it is good for
    found = compare(
        f"bootstrap of {len(choice.full.packages)} packages of {recipe}",
        [
            Way("ours", ours, before),
            Way("mmdebstrap", lambda: mmdebstrap(choice, archive, place / f"mm{next(number)}"), before),
            Way("debootstrap", lambda: debootstrap(choice, archive, place / f"deb{next(number)}"), before),
            Way("ours, second", second, before),
        ],
        runs=runs,
        warmups=0,
    )
    mine, mm, deboot, again = (one.wall for one in found)
    good = [
        holds("times faster than mmdebstrap", mm / mine, at_least=3),
        holds("times faster than debootstrap", deboot / mine, at_least=5),
        holds("seconds for a second recipe on the same base", again, at_most=3),
        holds("peak memory, MB", peak / 1000, at_most=200),
    ]
    return 0 if all(good) else 1


def _once(recipe: str, place: Path, cache: Path, which: str, layer: str) -> None:
    source = open_source(recipe, cache, offline=True)
    choice: Choice = source.choose(SECOND if which == "second" else None)
    maker = Maker(place, layer=layer)
    if which == "all":
        maker.make_base(choice)
    maker.make_rest(choice)


def _peak_kib(argv: list[str]) -> int:
    """The largest resident memory of a command and the processes it waited for, KiB (wait4(2))."""
    pid = os.posix_spawn(argv[0], argv, os.environ)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"the command failed: {' '.join(argv)}")
    return usage.ru_maxrss


if __name__ == "__main__":
    raise SystemExit(main())
