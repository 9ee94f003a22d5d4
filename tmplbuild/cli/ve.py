"""ve: the containers that builds and shells run."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING

from tmplbuild.cli.options import Verbs, settings_of

if TYPE_CHECKING:
    from tmplbuild.core import Core


def add(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    parser = verbs.add_parser(
        "ve",
        help="list, stop and tidy up containers",
        description="The containers (VEs) that builds and shells run on this machine.",
    )
    found = parser.add_subparsers(title="verbs", metavar="VERB", dest="what", required=True)
    listing = found.add_parser(
        "list",
        help="list containers",
        description="List the containers that run, and leftovers of crashed runs.",
    )
    listing.set_defaults(run=run_list)
    gc = found.add_parser(
        "gc",
        help="remove what crashed runs left behind",
        description="Remove processes, cgroups and state of containers whose run is gone. Every build does "
        "this first; containers in use are not touched.",
    )
    gc.set_defaults(run=run_gc)
    stop = found.add_parser(
        "stop",
        help="stop a container",
        description="Ask the container's init to stop; kill it if it does not.",
    )
    stop.add_argument("veid", metavar="ID", help="the container, as `ve list` names it")
    stop.add_argument("--kill", action="store_true", help="kill it at once")
    stop.set_defaults(run=run_stop)


def _core(args: argparse.Namespace) -> Core:
    from tmplbuild.core import Core

    return Core(settings_of(args).run_dir)


def run_list(args: argparse.Namespace) -> int:
    """List containers."""
    import time

    found = _core(args).list()
    if args.json:
        print(json.dumps([dataclasses.asdict(info) for info in found], indent=2))
        return 0
    from tmplbuild.cli.table import table
    from tmplbuild.ui.words import seconds

    now = time.time()
    rows = [
        (
            info.veid,
            info.state,
            str(info.pid or "-"),
            "init" if info.init else "commands",
            info.net,
            seconds(now - info.started) if info.started else "-",
        )
        for info in found
    ]
    if rows:
        print(*table(("veid", "state", "pid", "runs", "net", "since"), rows, args.color), sep="\n")
    elif not args.quiet:
        print("no containers")
    return 0


def run_gc(args: argparse.Namespace) -> int:
    """Remove leftovers."""
    gone = _core(args).gc()
    if args.json:
        print(json.dumps({"removed": gone}))
    elif gone:
        print(*(f"removed {name}" for name in gone), sep="\n")
    elif not args.quiet:
        print("nothing was left behind")
    return 0


def run_stop(args: argparse.Namespace) -> int:
    """Stop a container."""
    ve = _core(args).attach(args.veid)
    if args.kill:
        ve.kill()
        ending = "killed"
    else:
        ending = ve.stop()
    if args.json:
        print(json.dumps({"veid": args.veid, "ended": ending}))
    elif not args.quiet:
        print(f"{args.veid}: {'stopped cleanly' if ending == 'clean' else ending}")
    return 0
