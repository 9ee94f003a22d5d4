"""Two thousand templates on a hundred workers, on Dask's own scheduler; what a hundred thousand would need.

    python -m benchmarks.fleet_simulation [--part night|scheduler|publisher] [-t TEMPLATES] [-w WORKERS]
    python -m benchmarks.fleet_simulation --record [--cache DIR]

night      makespans over their lower bounds, on a simulated clock (tests/fleet_simulation.py): all rebuilt;
           a usual night, on which most are unchanged, some updated, few rebuilt; three architectures; one
           worker of a hundred killed. Durations: the recorded ones of a recipe, drawn by chance, times a
           factor of a distribution with a long tail. The last row is what the order of tasks is worth
scheduler  the same night in real time, all durations shortened: `tmplbuild scheduler` is a process, which a
           hundred workers and a client reach by TCP; its CPU seconds and its memory
publisher  a mirror with so many templates (tiny ones) in it, one of which is published anew

How long steps take stands in fleet_steps.json beside this file: recorded from real builds by --record, which
needs root and the network, or a --cache with the packages.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import random
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.fleet import Party, must, recipe
from benchmarks.nightly import SMALL
from benchmarks.ratio import holds
from tests.fleet_simulation import EPOCH, Costs, Kill, Template, simulate, work_through
from tests.moving_archive import MovingArchive
from tests.publishing import Press, add_packed
from tests.workshop import ROOT, Workshop

STEPS = Path(__file__).with_name("fleet_steps.json")
RECORDED = (("debian-12", ""), ("debian-12", SMALL.format(name="small")), ("debian-13", ""))
BASES = 40
TAIL = 0.7
"""Sigma of the lognormal factor: one template of a hundred takes five times the median, or longer."""
GOAL = 1.15
Steps = Mapping[str, float]


def main() -> int:
    """The benchmark; exit status 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet_simulation", description=__doc__)
    parser.add_argument("-t", "--templates", type=int, default=2000)
    parser.add_argument("-w", "--workers", type=int, default=100)
    parser.add_argument("--part", choices=("night", "scheduler", "publisher"), help="only this part")
    parser.add_argument("--record", action="store_true", help="write fleet_steps.json anew")
    parser.add_argument("--cache", type=Path, help="a package cache to use and to keep, for --record")
    asked = parser.parse_args()
    if asked.record:
        record(asked.cache)
        return 0
    good = True
    if asked.part in (None, "night"):
        good &= night(asked.templates, asked.workers)
    if asked.part in (None, "scheduler"):
        scheduler(asked.templates, asked.workers)
    if asked.part in (None, "publisher"):
        publisher(asked.templates)
    print(f"load {os.getloadavg()[0]:.1f} at the end (other work on this machine included)")
    return 0 if good else 1


# -- the night ------------------------------------------------------------------------------------


def night(count: int, jobs: int) -> bool:
    """Makespans on the simulated clock."""
    one, three = ["x86_64"] * jobs, shares(jobs)
    kills = [Kill(f"w{number}", 60.0 + 30.0 * number) for number in range(max(1, jobs // 100))]
    rows: list[tuple[str, Sequence[Template], list[str], dict[str, Any]]] = [
        ("all rebuilt", templates(count), one, {}),
        ("a usual night", templates(count, updated=0.13, rebuilt=0.02), one, {}),
        ("three architectures, all rebuilt", templates(count, arches=three), three, {}),
        (f"all rebuilt, {len(kills)} of {jobs} workers killed", templates(count), one, {"kills": kills}),
        ("all rebuilt, as the templates come", templates(count), one, {"order": lambda *_: 0.0}),
    ]
    print(f"{count} templates, {jobs} workers of one job each, simulated clock")
    print(f"  {'':36}  {'tasks':>6} {'makespan s':>11} {'bound s':>9} {'ratio':>6}  {'CPU s':>6}")
    good = True
    for name, todo, workers, more in rows:
        found = simulate(todo, workers, costs=Costs(), **more)
        figures = f"{sum(found.tasks.values()):6} {found.makespan_s:11.1f} {found.bound_s:9.1f}"
        print(f"  {name:36}  {figures} {found.ratio:6.3f}  {found.cpu_s:6.1f}", flush=True)
        if "order" not in more:
            good &= holds(f"makespan / lower bound, {name}", found.ratio, at_most=GOAL)
    return good


def shares(jobs: int) -> list[str]:
    """Workers of three architectures."""
    return ["x86_64"] * (jobs * 6 // 10) + ["aarch64"] * (jobs * 3 // 10) + ["armhf"] * (jobs // 10)


def templates(
    count: int,
    *,
    updated: float = 0.0,
    rebuilt: float = 1.0,
    arches: Sequence[str] = ("x86_64",),
    seed: int = 1,
) -> list[Template]:
    """Templates that have something to do, drawn by chance.

    Parameters:
        updated, rebuilt: which part of `count` they are; the others are unchanged, and no fleet sees them.
        arches: theirs, in equal shares (name one several times to give it more).
    """
    chance = random.Random(1)
    known = json.loads(STEPS.read_text())["templates"]
    found = []
    for number in range(count):
        rest = chance.random()
        if rest >= updated + rebuilt:
            continue
        how = "updated" if rest < updated else "built"
        row, arch = chance.choice(known), chance.choice(arches)
        factor, last = chance.lognormvariate(0.0, TAIL), chance.lognormvariate(0.0, 0.15)
        seconds = {name: took * (factor if name != "bootstrap" else 1.0) for name, took in row[how].items()}
        told = {name: took * last for name, took in seconds.items()}
        base = f"{row['name']} {arch} {number % BASES}"
        age = chance.uniform(0.5, 10.0) * 86400
        found.append(Template(f"t{number}", arch, base, seconds, told, EPOCH - age))
    return found


# -- the scheduler --------------------------------------------------------------------------------


def scheduler(count: int, jobs: int) -> None:
    """CPU seconds and memory of a scheduler's process."""
    todo = templates(count)
    with tempfile.TemporaryDirectory(prefix="tmplbuild-benchmark-") as scratch, _scheduler(scratch) as party:
        found = asyncio.run(work_through(party, todo, ["x86_64"] * jobs, costs=Costs(), seconds=40.0))
    tasks = sum(found.tasks.values())
    own = found.cpu_s - found.idle_cpu * found.makespan_s
    print(f"a scheduler's process, {jobs} workers, {len(todo)} templates, {tasks} tasks, by TCP")
    print(f"  within {found.makespan_s:.0f} s: {found.cpu_s:.2f} CPU seconds")
    print(f"  of these for the workers' heartbeats: {found.idle_cpu:.3f} CPU seconds a second")
    print(f"  CPU of one task, with its messages: {1000 * own / tasks:.2f} ms")
    print(f"  memory: {found.idle_kib >> 10} MiB with all workers, {found.peak_kib >> 10} MiB at most")


@contextmanager
def _scheduler(scratch: str) -> Iterator[Party]:
    argv = [sys.executable, "-m", "tmplbuild", "scheduler", "--listen", "tcp://127.0.0.1:0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPLBUILD_STATE_DIR": scratch}
    party = Party([*argv, "--dashboard", "127.0.0.1:0"], env)
    try:
        yield party
    finally:
        party.end()


# -- the publisher --------------------------------------------------------------------------------


def publisher(count: int) -> None:
    """What the one transaction at the end costs, at two sizes."""
    print("the publisher, tiny templates")
    for size in (count // 4, count):
        with tempfile.TemporaryDirectory(prefix="tmplbuild-benchmark-", dir="/var/tmp") as scratch:
            _publish(Path(scratch), size)


def _publish(place: Path, size: int) -> None:
    press = Press(place / "press", formats=["tar.gz"])
    tar = _tar()
    for number in range(size):
        add_packed(press.cache, tar, f"t{number:06}-x86_64", recipe="debian-12")
    whole = _took(press.publish)
    add_packed(press.cache, tar + b"\0" * 10240, "t000000-x86_64", recipe="debian-12")
    one = _took(partial(press.publish, "t000000-x86_64"))
    lists = sum((press.mirror / name).stat().st_size for name in ("SHA256SUMS", "index.json"))
    print(f"  {size} at once: {whole:.1f} CPU seconds, {1000 * whole / size:.1f} ms each")
    print(
        f"  one more among {size}: {one:.2f} CPU seconds, {1000 * one / size:.2f} ms for each that is there"
    )
    print(f"  SHA256SUMS and index.json: {lists >> 10} KiB, {lists / size:.0f} bytes each", flush=True)


def _tar() -> bytes:
    """A tree of one file."""
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as out:
        row = tarfile.TarInfo("./etc/os-release")
        row.size = 9
        out.addfile(row, io.BytesIO(b"ID=debian"))
    return found.getvalue()


def _took(act: Callable[[], object]) -> float:
    before = time.process_time()
    act()
    return time.process_time() - before


# -- recording ------------------------------------------------------------------------------------


def record(cache: Path | None) -> None:
    """Build and update real templates, and write down how long their steps took."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="tmplbuild-benchmark-", dir="/var/tmp") as scratch:
        place = Path(scratch)
        for number, (name, more) in enumerate(RECORDED):
            archive = MovingArchive(place / f"archive-{number}", cache or place / "cache", name)
            shop = Workshop(place / f"shop-{number}", cache or place / "cache")
            with archive.serve() as server:
                path = recipe(shop, archive, server.url, f"r{number}", more)
                built = _steps(must(shop, "build", path).summary)
                archive.move(10 if not more else 1)
                updated = _steps(must(shop, "build", path).summary)
            rows.append({"name": f"{name}{', small' if more else ''}", "built": built, "updated": updated})
            print(rows[-1], flush=True)
    load = round(os.getloadavg()[0], 1)
    STEPS.write_text(json.dumps({"load": load, "templates": rows}, indent=1) + "\n")


def _steps(summary: dict[str, Any]) -> Steps:
    return {row["name"]: round(row["seconds"], 2) for row in summary["stages"] if not row["cached"]}


if __name__ == "__main__":
    sys.exit(main())
