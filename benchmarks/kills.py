"""Nights of three templates, killed at 200 random instants: all must come to the same templates.

    python -m benchmarks.kills [-n 200] [--seed N] [--packages DIR]

See `tests/kills.py`. It stops at the first night that does not end well, with the seed that shows it
again. Needs root, and the network to fill the package cache.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.kills import Nights


def main() -> int:
    """Kill as often as asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=main.__doc__)
    parser.add_argument("-n", "--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--packages", type=Path, help="a package cache to use and to keep")
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="tmplbuild-kills-", dir="/var/tmp") as scratch:
        place = Path(scratch)
        nights = Nights(place / "shop", asked.packages or place / "packages", asked.seed)
        nights.undisturbed()
        print(f"the shortest template takes {nights.shortest_s:.1f} s undisturbed", flush=True)
        while nights.kills < asked.kills:
            nights.until(min(nights.kills + 10, asked.kills))
            print(f"{nights.kills} kills {nights.struck}, {nights.nights} nights ended well", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
