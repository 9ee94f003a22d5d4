"""cache: what the package cache and the layer store hold, and making room."""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path

from tmplbuild.cli.options import Verbs, settings_of

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def add(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    parser = verbs.add_parser(
        "cache",
        help="show and prune what builds keep",
        description="What builds keep to be fast: packages and indexes, layers, packed members, logs.",
    )
    found = parser.add_subparsers(title="verbs", metavar="VERB", dest="what", required=True)
    show = found.add_parser("show", help="show what lies where", description="Show each store with its size.")
    show.set_defaults(run=run_show)
    prune = found.add_parser(
        "prune",
        help="remove what is not needed",
        description="Remove layers that no template's last build uses, and packages and indexes that were "
        "not used for a time, the oldest first. All of it can be made or fetched again.",
    )
    prune.add_argument(
        "--days", type=_days, default=30.0, metavar="N", help="keep what was used within N days (default 30)"
    )
    prune.add_argument("--size", type=_size, metavar="SIZE", help="keep at most so much of packages (5G)")
    prune.set_defaults(run=run_prune)


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < 1e6:
        raise argparse.ArgumentTypeError(f'"{text}" is not a number of days')
    return days


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgt]?)b?", text.lower())
    if not match:
        raise argparse.ArgumentTypeError(f'"{text}" is not a size (500M, 5G)')
    return int(float(match[1]) * _UNITS[match[2]])


def run_show(args: argparse.Namespace) -> int:
    """Show the stores."""
    settings = settings_of(args)
    places = [
        ("templates", settings.template_cache),
        *_children(settings.cache_dir),
        *_children(settings.state_dir),
    ]
    rows = [(name, str(path), *_usage(path)) for name, path in places if path.is_dir()]
    if args.json:
        print(json.dumps([{"what": w, "path": p, "files": f, "size": s} for w, p, f, s in rows], indent=2))
        return 0
    if not rows:
        print("nothing is kept yet")
        return 0
    from tmplbuild.cli.table import table
    from tmplbuild.ui.words import size

    lines = [(what, size(used), str(files), path) for what, path, files, used in rows]
    print(*table(("what", "size", "files", "path"), lines, args.color), sep="\n")
    return 0


def _children(place: Path) -> list[tuple[str, Path]]:
    return [(path.name, path) for path in sorted(place.iterdir()) if path.is_dir()] if place.is_dir() else []


def _usage(place: Path) -> tuple[int, int]:
    """Files below `place` and the bytes that they take on the disk, each inode once."""
    files, used = 0, 0
    seen: set[tuple[int, int]] = set()
    for folder, _, names in os.walk(place):
        for name in names:
            try:
                state = os.lstat(os.path.join(folder, name))
            except OSError:  # a build that runs beside us took it away
                continue
            files += 1
            if (state.st_dev, state.st_ino) not in seen:
                seen.add((state.st_dev, state.st_ino))
                used += state.st_blocks * 512
    return files, used


def run_prune(args: argparse.Namespace) -> int:
    """Remove what is not needed."""
    from tmplbuild.archives.cache import PackageCache
    from tmplbuild.engine.store import Store
    from tmplbuild.ui.words import plural, size

    settings = settings_of(args)
    keep_s = args.days * 86400
    layers = Store(settings.state_dir).prune(keep_s)
    gone = PackageCache(settings.cache_dir).prune(max_bytes=args.size, max_age_s=keep_s)
    if args.json:
        print(json.dumps({"layers": layers, "files": gone.files, "bytes": gone.size}))
    elif not args.quiet:
        files = f"{plural(gone.files, 'cached file')} ({size(gone.size)})"
        print(f"removed {plural(len(layers), 'layer')} and {files}")
    return 0
