"""verify: a whole mirror, checked as its clients would."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tmplbuild.cli.options import screen_of, settings_of
from tmplbuild.cli.parser import Verbs
from tmplbuild.errors import UsageError

if TYPE_CHECKING:
    from tmplbuild.publish.checker import Report


def add(verbs: Verbs) -> None:
    """Add the verb of this module."""
    parser = verbs.add_parser(
        "verify",
        help="check a whole mirror as its clients would",
        description="Read every index of a mirror as its client reads it, fetch and hash every file that one "
        "names, and see that sums, signatures, fingerprints, manifests, bills of materials and provenance "
        "agree. Exit status 0: all is well, 1: faults.",
    )
    parser.add_argument("place", metavar="URL|DIR", help="the mirror's address, or its directory")
    add_key(parser)
    parser.add_argument(
        "--rebuild",
        action="store_true",
        help="build the current builds again from their published pins, and compare (as root, long)",
    )
    parser.add_argument(
        "--mirror",
        metavar="URL",
        action="append",
        help="with --rebuild: take the packages from here, as `tmplbuild build` does (repeatable)",
    )
    parser.add_argument(
        "--packages",
        metavar="DIR",
        type=Path,
        help="with --rebuild: packages that lay beside recipes, where these have others by now",
    )
    parser.set_defaults(run=run_verify)


def add_key(parser: argparse.ArgumentParser) -> None:
    """--key, for the verbs that read a mirror."""
    parser.add_argument(
        "--key",
        metavar="FINGERPRINT",
        help="OpenPGP key that must have signed (publish.key in the settings, if it is not given)",
    )


def key_of(args: argparse.Namespace, configured: str) -> str:
    """The pinned fingerprint, "" if there is none. Raises UsageError."""
    from tmplbuild.pubconf import fingerprint

    if args.key is None:
        return configured
    try:
        return fingerprint(args.key)
    except ValueError as error:
        raise UsageError(f"--key: {error}") from None


def run_verify(args: argparse.Namespace) -> int:
    """Check a mirror."""
    from tmplbuild.publish.verify import verify

    settings = settings_of(args)
    if args.packages is not None and not args.packages.is_dir():
        raise UsageError("--packages is no directory", where=str(args.packages))
    key = key_of(args, settings.publish.key)
    with screen_of(args) as emit:
        report = verify(
            args.place,
            key=key,
            emit=emit,
            jobs=settings.jobs,
            rebuild=settings if args.rebuild else None,
            packages=args.packages,
        )
    if args.json:
        print(json.dumps({"event": "verified", **dataclasses.asdict(report)}))
    else:
        _show(report, args)
    return 1 if report.faults else 0


def _show(report: Report, args: argparse.Namespace) -> None:
    from tmplbuild.ui.style import Ink, wants_colour
    from tmplbuild.ui.words import plural, printable, size

    ink = Ink(wants_colour(sys.stdout, args.color))
    for where, what in report.faults:
        print(f"{ink('fault', 'red')}: {printable(where)}\n  {printable(what)}")
    if report.faults or not args.quiet:
        faults = plural(len(report.faults), "fault") if report.faults else ink("all is well", "green")
        seen = [
            plural(report.templates, "template"),
            plural(report.builds, "build"),
            f"{plural(report.files, 'file')} ({size(report.size)})",
            plural(report.signatures, "signature") if report.key else "signatures not checked",
        ]
        seen += [plural(report.pages, "page")] if report.pages else []
        seen += [f"{report.rebuilt} rebuilt"] if report.rebuilt else []
        print(f"{printable(report.address)}: {faults} ({', '.join(seen)})")
