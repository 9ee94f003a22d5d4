"""A build in which everything runs against one in which nothing has changed.

    python -m benchmarks.rebuild [-n RUNS] [--recipe debian-12] [--cache DIR]

Both are whole runs of the tool as a user starts them, from a warm package cache, in directories of
their own. Needs root and the network.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.ratio import Way, compare, holds

GOAL = 50


def main() -> int:
    """The benchmark; exit status 1 if the goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rebuild", description=__doc__)
    parser.add_argument("-n", "--runs", type=int, default=5, help="runs of each way (default 5)")
    parser.add_argument("--recipe", default="debian-12")
    parser.add_argument("--cache", type=Path, help="a package cache to use and to keep")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tmplbuild-benchmark-", dir="/var/tmp") as scratch:
        place = Path(scratch)
        for name, path in {
            "TEMPLATE_CACHE": place / "templates",
            "STATE_DIR": place / "state",
            "RUN_DIR": place / "run",
            "CACHE_DIR": asked.cache or place / "cache",
        }.items():
            path.mkdir(parents=True, exist_ok=True)
            os.environ[f"TMPLBUILD_{name}"] = str(path)
        build = [sys.executable, "-m", "tmplbuild", "build", asked.recipe, "--quiet"]
        found = compare(
            f"{asked.recipe}: unchanged against built",
            [Way("unchanged", build), Way("built", [*build, "--rebuild"])],
            runs=asked.runs,
        )
        return 0 if holds("built / unchanged", found[1].wall / found[0].wall, at_least=GOAL) else 1


if __name__ == "__main__":
    sys.exit(main())
