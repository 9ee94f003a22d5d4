"""Nights on which nothing changed, and nights on which much did: what they cost, and what at once is worth.

    python -m benchmarks.nightly [-n RUNS] [--place DIR] [--cache DIR] [--part unchanged|parallel]

unchanged  one template and twenty, of debian-12's packages, against mmdebstrap making the same packages into
           a .tar.gz anew, and mkosi (where it is installed) into a .tar that is not compressed
parallel   eight small templates with a moved package each, as many at a time as a night takes of itself on
           two CPUs against one after another

The archive is a local one (tests/moving_archive.py) on a local server; all runs are whole runs of the tool
as a user starts them. The twenty templates are one recipe under twenty names: they differ in nothing that
an unchanged run looks at. Needs root, mmdebstrap and, for the packages, the network or a --cache with them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.ratio import Way, compare, holds
from tests.deb_trees import for_mkosi, local_archive, mkosi, mmdebstrap, open_source
from tests.moving_archive import MovingArchive

SMALL = """
[install]
packages = ["systemd-sysv", "dbus", "ifupdown", "net-tools", "iproute2", "procps"]
[check]
install = []
[configure.files."/etc/which"]
text = "{name}\\n"
"""
"""Few packages, and a file of its own, so that no two templates share what lies above the base."""


def main() -> int:
    """The benchmark; exit status 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nightly", description=__doc__)
    parser.add_argument("-n", "--runs", type=int, default=5, help="runs of each unchanged way (default 5)")
    parser.add_argument("--place", type=Path, help="where all is made (default: a directory in /var/tmp)")
    parser.add_argument("--cache", type=Path, help="a package cache to use and to keep")
    parser.add_argument("--part", choices=("unchanged", "parallel"), help="only this part")
    parser.add_argument("--jobs", default="0", help="eight templates: how many at a time (default: its own)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tmplbuild-benchmark-", dir=asked.place or "/var/tmp") as scratch:
        place = Path(scratch)
        cache = asked.cache or place / "cache"
        for name in ("TEMPLATE_CACHE", "STATE_DIR", "RUN_DIR", "CACHE_DIR"):
            path = cache if name == "CACHE_DIR" else place / name.lower()
            path.mkdir(parents=True, exist_ok=True)
            os.environ[f"TMPLBUILD_{name}"] = str(path)
        good = True
        if asked.part in (None, "unchanged"):
            good &= unchanged(place, cache, asked.runs)
        if asked.part in (None, "parallel"):
            good &= parallel(place, cache, asked.jobs)
    return 0 if good else 1


def unchanged(place: Path, cache: Path, runs: int) -> bool:
    """Nights without news."""
    archive = MovingArchive(place / "twenty", cache)
    source = open_source("debian-12", cache, offline=True)
    choice = source.choose()
    peer = local_archive(place / "peer", choice)
    peers = [Way("mmdebstrap", lambda: mmdebstrap(choice, peer, place / "peer.tar.gz"))]
    if shutil.which("mkosi"):
        more = for_mkosi(source)
        theirs = local_archive(place / "peer-mkosi", more)
        peers.append(Way("mkosi", lambda: mkosi(more, theirs, place / "peer.tar")))
    else:
        print("mkosi is not installed: apt-get install mkosi")
    with archive.serve() as server:
        recipes = place / "recipes-twenty"
        for number in range(20):
            write(recipes, archive, f"t{number:02}", archive.recipe(server.url, name=f"t{number:02}"))
        tool = command(recipes)
        run_once([*tool, "nightly", "-q", "t-t00"])
        run_once([*tool, "nightly", "-q", "t-*"])  # the same layers under nineteen other names
        found = compare(
            f"nothing changed, {len(choice.full.packages)} packages",
            [
                Way("build, one", [*tool, "build", "-q", "t-t00"]),
                Way("nightly, one", [*tool, "nightly", "-q", "t-t00"]),
                Way("nightly, twenty", [*tool, "nightly", "-q", "t-*"]),
            ],
            runs=runs,
        )
        rebuilt = compare(
            "the same packages made into a .tar.gz anew",
            [Way("nightly, one", [*tool, "nightly", "-q", "t-t00"]), *peers],
            runs=1,
            warmups=0,
        )
    build, one, twenty = found
    again = rebuilt[1:]
    return all(
        [
            holds("seconds for one template", one.wall, at_most=1),
            holds("CPU seconds for one template (build)", build.cpu, at_most=0.3),
            holds("CPU seconds for one template (nightly)", one.cpu, at_most=0.3),
            holds("CPU seconds a template of twenty", twenty.cpu / 20, at_most=0.3),
            holds("seconds for twenty templates", twenty.wall, at_most=3),
            *(
                holds(f"times less CPU than {peer.name}, {what}", peer.cpu / cpu, at_least=100)
                for peer in again
                for what, cpu in (("one", one.cpu), ("of twenty", twenty.cpu / 20))
            ),
        ]
    )


def parallel(place: Path, cache: Path, jobs: str) -> bool:
    """A night on which eight templates have something to do."""
    archive = MovingArchive(place / "eight", cache)
    with archive.serve() as server:
        recipes = place / "recipes-eight"
        for number in range(8):
            name = f"e{number}"
            write(recipes, archive, name, archive.recipe(server.url, name=name, more=SMALL.format(name=name)))
        tool = command(recipes)
        run_once([*tool, "nightly", "-q", "t-*"])
        within = ["base-files", "procps", "iproute2", "libproc2-0", "net-tools", "ifupdown"]

        def move() -> None:
            archive.move(1, within=within)

        cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))[:2]))
        alone = ["taskset", "--cpu-list", cpus]
        night = [*alone, *tool, "nightly", "-q", "t-*"]
        found = compare(
            "a package moved in eight templates, on two CPUs",
            [
                Way("several at a time", [*night, *(["--jobs", jobs] if jobs != "0" else [])], before=move),
                Way("one after another", [*night, "--jobs", "1"], before=move),
                Way("each by an update of its own", lambda: one_by_one([*alone, *tool]), before=move),
            ],
            runs=1,
            warmups=0,
        )
    several, single, each = found
    used = single.cpu / single.wall
    print(f"one after another uses {used:.2f} of the two CPUs: a build has threads of its own,")
    print(f"so that several at a time can be {2 * single.wall / several.cpu:.2f} times faster at most")
    return all(
        [
            holds("times faster than one after another", single.wall / several.wall, at_least=1.6),
            holds("times faster than updates one by one", each.wall / several.wall, at_least=1.6),
        ]
    )


def one_by_one(tool: list[str]) -> None:
    """As a shell script does it: each template by a run of its own."""
    for number in range(8):
        run_once([*tool, "update", "-q", f"t-e{number}"])


def command(recipes: Path) -> list[str]:
    """The tool with these recipes."""
    return [sys.executable, "-m", "tmplbuild", "--recipes", str(recipes)]


def write(recipes: Path, archive: MovingArchive, name: str, text: str) -> None:
    """A recipe t-NAME, with the key of its archive."""
    path = recipes / "t" / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    archive.export_key(str(path))


def run_once(argv: list[str]) -> None:
    """Run a command that must succeed."""
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    raise SystemExit(main())
