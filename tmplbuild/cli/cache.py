"""cache: what builds keep to be fast, making room, and whether it is still whole."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING, Any

from tmplbuild.cli.options import screen_of, settings_of
from tmplbuild.cli.parser import Verbs

if TYPE_CHECKING:
    from tmplbuild.engine.keeping import Kept

BAD = 8
"""Exit status of `verify` when something was bad: a StoreError's."""


def add(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    parser = verbs.add_parser(
        "cache",
        help="show, prune and verify what builds keep",
        description="What builds keep to be fast: packages and indexes, compressed members, layers, packed "
        "files, failed trees, logs. What the last good build of any template needs is never removed.",
    )
    found = parser.add_subparsers(title="verbs", metavar="VERB", dest="what", required=True)
    show = found.add_parser(
        "list",
        help="show what is kept",
        description="Show of each kind how much is kept, how much of it a last good build needs, and when "
        "the rest was last used.",
    )
    show.set_defaults(run=run_list)
    prune = found.add_parser(
        "prune",
        help="remove what is not needed",
        description="Remove what is beyond the bounds of the settings' table [cache], or of these options: "
        "first what was not used for a time, then the longest unused. All can be made or fetched again.",
    )
    prune.add_argument("--days", type=_days, metavar="N", help="keep what was used within N days")
    prune.add_argument(
        "--size", type=_size, metavar="SIZE", help="keep at most so much of packages and members (5G)"
    )
    prune.add_argument("--layers", type=_count, metavar="N", help="keep at most N layers that no build needs")
    prune.add_argument(
        "--store", metavar="ADDRESS", help="prune what a fleet shares instead: by --days alone (30)"
    )
    _add_dry_run(prune, "only show what would be removed")
    prune.set_defaults(run=run_prune)
    verify = found.add_parser(
        "verify",
        help="find and drop what is damaged",
        description="Read all packages, indexes, members and packed files again and compare them with their "
        "digests. What is bad is dropped; the next build fetches or makes it anew. The exit status is 8 if "
        "anything was bad.",
    )
    verify.add_argument(
        "--deep",
        action="store_true",
        help="compare the files of layers with the packed templates that were made of them, too (as root)",
    )
    _add_dry_run(verify, "drop nothing")
    verify.set_defaults(run=run_verify)


def _add_dry_run(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("-n", "--dry-run", action="store_true", help=text)


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < 1e6:
        raise argparse.ArgumentTypeError(f'"{text}" is not a number of days')
    return days


def _size(text: str) -> int:
    from tmplbuild.cacheconf import size_of

    try:
        return size_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'"{text}" is not a number of layers')
    return int(text)


def run_list(args: argparse.Namespace) -> int:
    """Show what is kept."""
    from tmplbuild.cli.table import table
    from tmplbuild.engine.keeping import KINDS, kept
    from tmplbuild.ui.words import size

    rows = kept(settings_of(args))
    if args.json:
        print(json.dumps([_plain(row) for row in rows], indent=2))
        return 0
    if not rows:
        print("nothing is kept yet")
        return 0
    lines = []
    for kind in KINDS:
        mine = [row for row in rows if row.kind == kind]
        if not mine:
            continue
        spare = [row for row in mine if not row.needed]
        oldest = f"{(time.time() - min(row.used for row in spare)) / 86400:.0f} days ago" if spare else ""
        sizes = [size(sum(row.size for row in some)) for some in (mine, [r for r in mine if r.needed])]
        lines.append((kind, str(len(mine)), *sizes, oldest, str(mine[0].path.parents[_DEPTH.get(kind, 0)])))
    print(*table(("what", "number", "size", "needed", "oldest use", "path"), lines, args.color), sep="\n")
    return 0


_DEPTH = {"packages": 1, "members": 1}
"""How many directories lie between a kind's things and the one to show."""


def run_prune(args: argparse.Namespace) -> int:
    """Remove what is not needed."""
    from tmplbuild.engine.keeping import keep_of, prune

    settings = settings_of(args)
    if args.store:
        from tmplbuild.cli.fleet import prune_store

        return prune_store(args, settings, 30.0 if args.days is None else float(args.days))
    keep = keep_of(settings, days=args.days, size=args.size, layers=args.layers)
    gone = prune(settings, keep, dry_run=args.dry_run)
    if args.json:
        total = sum(row.size for row in gone)
        found = {"dry_run": args.dry_run, "removed": [_plain(row) for row in gone], "bytes": total}
        print(json.dumps(found, indent=2))
    elif not args.quiet:
        if args.dry_run or args.verbose:
            print(*(f"{row.kind}: {row.path}" for row in gone), sep="\n", end="\n" if gone else "")
        print(f"{'would remove' if args.dry_run else 'removed'} {_told(gone)}")
    return 0


def _told(rows: list[Kept]) -> str:
    from tmplbuild.engine.keeping import KINDS
    from tmplbuild.ui.words import size

    if not rows:
        return "nothing"
    counts = {kind: sum(row.kind == kind for row in rows) for kind in KINDS}
    parts = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return f"{parts} ({size(sum(row.size for row in rows))})"


def run_verify(args: argparse.Namespace) -> int:
    """Find and drop what is damaged."""
    from tmplbuild.engine.keeping import kept
    from tmplbuild.engine.verifying import verify
    from tmplbuild.events import Bytes
    from tmplbuild.ui.words import plural, size

    settings = settings_of(args)
    rows = kept(settings)
    total = sum(row.size for row in rows)
    if args.json:
        bad = verify(settings, keep_bad=args.dry_run, deep=args.deep, progress=lambda done: None)
        found = [{**_plain(one.kept), "why": one.why} for one in bad]
        print(json.dumps({"dry_run": args.dry_run, "looked_at": len(rows), "bad": found}, indent=2))
        return BAD if bad else 0
    with screen_of(args) as emit:
        bad = verify(
            settings,
            keep_bad=args.dry_run,
            deep=args.deep,
            progress=lambda done: emit(Bytes("verify", done, total)),
        )
        emit(Bytes("verify", total, total, ended=True))
    for one in bad:
        print(f"{'bad' if args.dry_run else 'dropped'}: {one.kept.path}: {one.why}")
    if not args.quiet:
        print(f"{plural(len(rows), 'thing')} looked at ({size(total)}), {len(bad) or 'none'} bad")
    return BAD if bad else 0


def _plain(row: Kept) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "path": str(row.path),
        "size": row.size,
        "used": row.used,
        "needed": row.needed,
    }
