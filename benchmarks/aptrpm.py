"""How fast ALT's lists are read and resolved: MB/s of plain list, seconds and memory of a closure.

    python -m benchmarks.aptrpm [PACKAGES]

The list is invented (tests/aptrpm_branch.py). The goals: 40 MB/s; 400 packages out of 15,000 in less
than 3 s and 600 MB.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.aptrpm_branch import branch_list
from tmplbuild.archives.aptrpm import entry as entries
from tmplbuild.archives.aptrpm.pkglist import headers
from tmplbuild.archives.aptrpm.pool import PackageList, Pool
from tmplbuild.archives.aptrpm.resolver import closure
from tmplbuild.archives.wishes import Wishes

_SOURCE = entries.Source("altlinux", "p11/branch/x86_64")


def parse(path: Path) -> None:
    """Print how fast the list's headers are walked, and how fast every package in it is decoded."""
    data = path.read_bytes()
    begun = time.perf_counter()
    count = sum(1 for _ in headers(data, "list"))
    walked = time.perf_counter() - begun
    begun = time.perf_counter()
    for number, head in enumerate(headers(data, "list")):
        entries.read(head, number)
    decoded = time.perf_counter() - begun
    size = len(data) / 1e6
    print(f"list: {count} packages, {size:.1f} MB")
    print(f"headers: {walked:.2f} s, {size / walked:.0f} MB/s")
    print(f"packages with all dependencies: {decoded:.2f} s, {size / decoded:.0f} MB/s")


def close(path: Path) -> None:
    """Print the cost of a closure: the list read, indexed, resolved."""
    begun = time.perf_counter()
    data = path.read_bytes()
    pool = Pool([PackageList(data, _SOURCE, "list")], "x86_64", "p11")
    opened = time.perf_counter() - begun
    found = closure(pool, Wishes(packages=("system",)))
    total = time.perf_counter() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"closure: {len(found.packages)} of {len(pool)} packages in {total:.2f} s "
        f"({opened:.2f} s of it to open the list), {memory:.0f} MiB at most"
    )


def main() -> None:
    """Make the list in one process, measure in others: memory must not count the making."""
    if len(sys.argv) == 3 and sys.argv[1] in ("parse", "close"):
        (parse if sys.argv[1] == "parse" else close)(Path(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks.aptrpm", description=__doc__)
    parser.add_argument("count", metavar="PACKAGES", nargs="?", type=int, default=15_000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pkglist")
        path.write_bytes(branch_list(count))
        for what in ("parse", "close"):
            subprocess.run([sys.executable, "-m", "benchmarks.aptrpm", what, str(path)], check=True)


if __name__ == "__main__":
    main()
