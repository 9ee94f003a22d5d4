"""status and why: how the templates stand, and what the next run does."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING

from tmplbuild.cli.fleet import add_tls, show_fleet
from tmplbuild.cli.options import add_arch, add_mirror, settings_of
from tmplbuild.cli.parser import Verbs

if TYPE_CHECKING:
    from tmplbuild.engine.look import Seen
    from tmplbuild.engine.status import Status

_HUES = {"fresh": "green", "updates": "cyan", "stale": "yellow", "failed": "red", "skipped": "dim"}


def add(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    status = verbs.add_parser(
        "status",
        help="show which templates are fresh, due, failed or old",
        description="Ask the archives what is new and show how each enabled template stands: its age, its "
        "state, what the next run does with it, and why. Nothing is built or written. Exit status 0: all "
        "fresh, 2: updates available, 1: something failed or is stale.",
    )
    status.add_argument(
        "names",
        metavar="PATTERN",
        nargs="*",
        help='only recipes that match ("debian-*"; default: all enabled)',
    )
    status.add_argument(
        "--fleet", action="store_true", help="show the workers of --scheduler instead, and what each does"
    )
    status.add_argument("--scheduler", metavar="ADDRESS", help="of the fleet")
    add_tls(status)
    status.set_defaults(run=run_status)
    why = verbs.add_parser(
        "why",
        help="explain what the next run does with a template",
        description="Say in words what the next build of a template would do and why, what the last one "
        "came to, and what failed since. Nothing is built or written.",
    )
    why.add_argument("name", metavar="NAME", help="recipe (debian-12) or path of its file (./mine.toml)")
    why.set_defaults(run=run_why)
    for parser in (status, why):
        add_arch(parser)
        parser.add_argument("--cache", metavar="DIR", help="template cache that the templates are in")
        add_mirror(parser)
        parser.add_argument(
            "--offline", action="store_true", help="judge by the archives as they were last seen"
        )


def _look(
    args: argparse.Namespace, names: list[str], *, enabled_only: bool
) -> tuple[list[Seen], list[Status]]:
    from tmplbuild.engine.look import look, select
    from tmplbuild.engine.status import judge
    from tmplbuild.engine.world import Wish

    settings = settings_of(args)
    chosen = select(settings, names, enabled_only=enabled_only)
    seen = look(settings, chosen, Wish(arch=args.arch, offline=args.offline))
    now, most = time.time(), settings.nightly.stale_after_days
    return seen, [judge(one, now=now, stale_after_days=most) for one in seen]


def run_status(args: argparse.Namespace) -> int:
    """Show how the templates stand."""
    if args.fleet or args.scheduler:
        return show_fleet(args)
    from tmplbuild.engine.status import exit_status

    _, rows = _look(args, args.names, enabled_only=not args.names)
    code = exit_status(rows)
    if args.json:
        print(json.dumps({"status": code, "templates": [row.to_json() for row in rows]}, indent=2))
        return code
    shown = [row for row in rows if row.state != "skipped" or args.verbose or args.names]
    if not args.quiet:
        _table(shown, len(rows) - len(shown), args.color)
    return code


def _table(rows: list[Status], left_out: int, color: str) -> None:
    from tmplbuild.cli.table import table
    from tmplbuild.engine.status import days
    from tmplbuild.ui.style import Ink, wants_colour
    from tmplbuild.ui.words import plural

    cells = [
        (
            row.template,
            row.state + (", stale" if row.stale and row.state not in ("stale", "skipped") else ""),
            days(row.age_s) if row.age_s is not None else "-",
            row.action,
            row.why,
        )
        for row in rows
    ]
    ink = Ink(wants_colour(sys.stdout, color))
    lines = table(("template", "state", "age", "next", "why"), cells, color)
    for line in lines:
        state = next((row.state for row in rows if line.startswith(f"{row.template} ")), None)
        print(line.replace(state, ink(state, _HUES[state]), 1) if state else line)
    if left_out:
        print(f"{plural(left_out, 'recipe')} cannot be built here (-v shows why)")


def run_why(args: argparse.Namespace) -> int:
    """Explain what the next run does."""
    seen, rows = _look(args, [args.name], enabled_only=False)
    if args.json:
        steps = [
            {"stage": row.step.name, "action": "run" if row.runs else "cached", "reason": row.reason}
            for row in (seen[0].plan.steps if seen[0].plan else ())
        ]
        print(json.dumps(rows[0].to_json() | {"steps": steps}, indent=2))
        return 0
    from tmplbuild.ui.words import printable

    print(*(printable(line) for line in _words(seen[0], rows[0])), sep="\n")
    return 0


def _words(seen: Seen, row: Status) -> list[str]:
    """The decision in sentences, most important first."""
    from tmplbuild.engine.status import days, when

    lines = [f"{row.template} is {_STATES[row.state]}: {row.why}."]
    if row.stale and row.state != "stale":
        lines.append("It is also older than stale_after_days allows.")
    if row.built is not None:
        lines.append(f"The last good build was made on {when(row.built)}, {days(row.age_s or 0)} ago.")
    elif row.state != "skipped":
        lines.append("It was never built.")
    if (failure := row.failure) is not None:
        again = (
            f", {failure['times']} times in a row since {when(failure['since'])}"
            if failure.get("times", 1) > 1
            else ""
        )
        lines.append(f"The last failure was on {when(failure['time'])}, in {failure['stage']}{again}:")
        lines += [f"    {line}" for line in str(failure["error"]).splitlines()]
        if failure.get("log"):
            lines.append(f"    log: {failure['log']}")
    lines.append(f"The archives: {row.upstream}.")
    lines += [f"{text[0].upper()}{text[1:]}." for text in row.details]
    if seen.plan is not None and seen.plan.todo:
        lines.append(f"The next run ({row.action}) would run:")
        lines += [f"    {step.step.name}: {step.reason}" for step in seen.plan.todo]
    elif row.state != "skipped" and seen.error is None:
        lines.append(
            "The next run would do nothing." if seen.current else "The next run would only publish the file."
        )
    return lines


_STATES = {
    "fresh": "fresh",
    "updates": "due",
    "failed": "failing",
    "stale": "stale",
    "skipped": "not built here",
}
