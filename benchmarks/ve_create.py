"""A VE created from a template beside unpacking that template with tar, in turns.

    python -m benchmarks.ve_create [TEMPLATE.tar.gz]

Ours is the whole verb: private area, layer, what post-create writes, configuration; from the second VE
on, for the first unpacks the template, too. `tmplbuild ve create` has the start of Python on top.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.ratio import Way, compare
from benchmarks.ve import packed
from tmplbuild.config import load_settings
from tmplbuild.vz.manage import Manager, New

_RUNS = 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ve_create", description=__doc__)
    parser.add_argument(
        "template", nargs="?", type=Path, help="a packed template (default: Debian 12's, built if missing)"
    )
    given = parser.parse_args().template
    if given and not given.exists():
        parser.error(f"there is no {given}")
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="ve-create-") as name:
        place = Path(name)
        template = packed(given, place)
        names = ("state_dir", "run_dir", "cache_dir", "ve_root", "ve_private", "vz_dir", "dists")
        env = {f"TMPLBUILD_{key.upper()}": str(place / key) for key in names}
        manager = Manager(load_settings(environ={"HOME": name, **env}))
        new = New(ostemplate=str(template), dist="debian")
        numbers = itertools.count(100)
        manager.create(str(next(numbers)), new)
        plain = place / "plain"

        def again() -> None:
            shutil.rmtree(plain, ignore_errors=True)
            plain.mkdir()

        verb = [sys.executable, "-m", "tmplbuild", "ve", "create"]
        options = ["--ostemplate", str(template), "--dist", "debian"]

        def by_verb() -> None:
            argv = [*verb, str(next(numbers)), *options]
            subprocess.run(argv, env={**os.environ, **env}, stdout=subprocess.DEVNULL, check=True)

        compare(
            f"create from {template.name}",
            [
                Way(
                    "unpack with tar",
                    ["tar", "-C", str(plain), "--numeric-owner", "-xpf", str(template)],
                    again,
                ),
                Way("create, in Python", lambda: manager.create(str(next(numbers)), new)),
                Way("tmplbuild ve create", by_verb),
            ],
            runs=_RUNS,
        )


if __name__ == "__main__":
    main()
