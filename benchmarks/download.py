"""What a client fetches after a night on which 10 packages moved, having the template of the day before.

    python -m benchmarks.download [-k 10] [--recipe debian-12] [--cache DIR]

The archive is a local one of the recipe's real packages (`tests/moving_archive.py`), which gives k of them
a new version between two builds; both are published. Three ways to come from the old file to the new one
are measured in bytes: `tmplbuild fetch` by HTTP ranges from the member index, rsync, and zsync; beside them
the patch that `publish.patches` makes, and one of whole tars by zstd --patch-from (both small here: a package
that moves holds what it held before, but for its version). Needs root, and the network to fill the package
cache.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.ratio import holds
from tests.archive_server import ArchiveServer
from tests.moving_archive import MovingArchive
from tests.workshop import Workshop
from tmplbuild.publish import patch

GOAL = 0.15
GOAL_AT = 10


def main() -> int:
    """The benchmark; exit status 1 if the goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.download", description=__doc__)
    parser.add_argument("-k", type=int, default=GOAL_AT, help="packages that move (10)")
    parser.add_argument("--recipe", default="debian-12")
    parser.add_argument("--cache", type=Path, help="a package cache to use and to keep")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tmplbuild-benchmark-", dir="/var/tmp") as scratch:
        place = Path(scratch)
        cache = asked.cache or place / "cache"
        archive = MovingArchive(place, cache, asked.recipe)
        shop, reader = Workshop(place / "shop", cache), Workshop(place / "reader", place / "reader-cache")
        mirror = place / "mirror"
        with archive.serve() as server:
            recipe = shop.recipe("moving", archive.recipe(server.url))
            archive.export_key(recipe)
            old = _build(shop, recipe, mirror, "--no-boot-test")
            shutil.copy(old, reader.templates / old.name)
            before = Path(shutil.copy(old, place / "old.tar.gz"))
            archive.move(asked.k)
            new = _build(shop, recipe, mirror, "--no-boot-test")
        size = new.stat().st_size
        found = {
            "tmplbuild fetch": _fetch(reader, mirror, new),
            "rsync": _rsync(before, new, place),
            "zsync": _zsync(before, new, place),
            "tmplbuild patch": len(patch.make(before, new, ()) or b""),
            "zstd --patch-from": _delta(before, new, place),
        }
        print(f"{asked.k} packages moved; the whole file has {size / 1e6:.1f} MB")
        for name, count in found.items():
            print(f"  {name:18} {count / 1e6:8.2f} MB  {count / size:6.1%}")
        good = True
        for name in ("tmplbuild fetch", "rsync", "zsync"):
            share = found[name] / size
            good &= holds(
                f"{name}: fetched / whole file", share, at_most=GOAL if asked.k <= GOAL_AT else None
            )
        return 0 if good else 1


def _build(shop: Workshop, recipe: str, mirror: Path, *words: str) -> Path:
    done = shop.build(recipe, *words)
    file = Path(str(done.summary["file"]))
    config = shop.place / "publish.toml"
    config.write_text('[publish]\nformats = ["tar.gz"]\n')
    published = shop.run("--config", str(config), "publish", "--force", "--to", str(mirror))
    assert published.status == 0, published.err
    return file


def _fetch(reader: Workshop, mirror: Path, new: Path) -> int:
    name = new.name.removesuffix(".tar.gz")
    done = reader.run("fetch", name, "--from", str(mirror), "--trust-server", "--json")
    assert done.status == 0, done.err
    found = json.loads(done.out.splitlines()[-1])
    assert (reader.templates / new.name).read_bytes() == new.read_bytes()
    return int(found["fetched"])


def _rsync(old: Path, new: Path, place: Path) -> int:
    target = Path(shutil.copy(old, place / "rsynced.tar.gz"))
    argv = ["rsync", "--no-whole-file", "--stats", str(new), str(target)]
    told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert target.read_bytes() == new.read_bytes()
    sent = re.search(r"Total bytes sent: ([\d,.]+)", told)
    assert sent is not None
    return int(re.sub(r"\D", "", sent[1]))


def _zsync(old: Path, new: Path, place: Path) -> int:
    folder = place / "zsync"
    folder.mkdir()
    shutil.copy(new, folder / "new.tar.gz")
    make = ["zsyncmake", "-Z", "-b", "2048", "-u", "new.tar.gz", "-o", "new.zsync", "new.tar.gz"]
    subprocess.run(make, cwd=folder, capture_output=True, check=True)
    with ArchiveServer(folder) as server:
        argv = ["zsync", "-q", "-i", str(old), "-o", str(place / "zsynced.tar.gz"), f"{server.url}/new.zsync"]
        subprocess.run(argv, cwd=place, check=True, env={"PATH": "/usr/bin:/bin"})
        assert (place / "zsynced.tar.gz").read_bytes() == new.read_bytes()
        return server.sent


def _delta(old: Path, new: Path, place: Path) -> int:
    tars = []
    for name, file in (("old", old), ("new", new)):
        tars.append(place / f"{name}.tar")
        with tars[-1].open("wb") as out:
            subprocess.run(["gzip", "-dc", str(file)], stdout=out, check=True)
    patch = place / "patch.zst"
    argv = ["zstd", "-q", "-9", "--long=30", f"--patch-from={tars[0]}", str(tars[1]), "-o", str(patch)]
    subprocess.run(argv, check=True)
    return patch.stat().st_size


if __name__ == "__main__":
    sys.exit(main())
