"""nightly and update: templates brought up to date, and told of."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tmplbuild.cli.fleet import add_fleet, elsewhere
from tmplbuild.cli.options import add_arch, add_mirror, settings_of
from tmplbuild.cli.parser import Verbs

if TYPE_CHECKING:
    from tmplbuild.config import Settings
    from tmplbuild.ui import Screen


def add(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    nightly = verbs.add_parser(
        "nightly",
        help="bring all enabled templates up to date, and report",
        description="Ask the archives what is new and bring the template of every enabled recipe up to "
        "date; several are built at once. What has not changed costs nothing. A failure of one leaves its "
        "last good template and all others as they are. The report goes to stdout and where the settings' "
        "[nightly] says. Exit status 0: all is well, 1: something failed or is stale.",
    )
    nightly.add_argument(
        "names",
        metavar="PATTERN",
        nargs="*",
        help='only recipes that match ("debian-*"; default: all enabled)',
    )
    nightly.add_argument(
        "--quiet-unchanged", action="store_true", help="say nothing at all when nothing changed or failed"
    )
    nightly.set_defaults(run=run_nightly)
    update = verbs.add_parser(
        "update",
        help="bring some templates up to date",
        description="As nightly does it, for the recipes that are named, enabled or not, and without "
        "sending the report. Exit status as of nightly; for a single template that of its error.",
    )
    update.add_argument("names", metavar="NAME", nargs="+", help='recipe, or pattern ("debian-*")')
    update.set_defaults(run=run_update)
    for parser in (nightly, update):
        add_arch(parser)
        parser.add_argument("--cache", metavar="DIR", help="template cache that the templates go to")
        parser.add_argument("--jobs", metavar="N", help="templates that are built at once")
        add_mirror(parser)
        parser.add_argument("--rebuild", action="store_true", help="build all from today's packages anew")
        parser.add_argument("--offline", action="store_true", help="use the archives as they were last seen")
        parser.add_argument(
            "--no-boot-test",
            action="store_true",
            help="do not boot the packed templates to see that they work",
        )
        add_fleet(parser)


def run_nightly(args: argparse.Namespace) -> int:
    """Bring all enabled templates up to date."""
    from tmplbuild.engine.locks import nightly_lock

    settings = settings_with_jobs(args)
    with nightly_lock(settings.state_dir):
        return _run(args, settings, enabled_only=True)


def run_update(args: argparse.Namespace) -> int:
    """Bring the named templates up to date."""
    return _run(args, settings_with_jobs(args), enabled_only=False)


def settings_with_jobs(args: argparse.Namespace) -> Settings:
    """The settings of a run over several templates. Raises UsageError."""
    import dataclasses

    settings = settings_of(args)
    if args.jobs is not None:  # an option outweighs the settings' nightly.jobs
        night = dataclasses.replace(settings.nightly, jobs=settings.jobs)
        settings = dataclasses.replace(settings, nightly=night)
    return settings


def _run(args: argparse.Namespace, settings: Settings, *, enabled_only: bool) -> int:
    from tmplbuild.engine.nightly import finish, run
    from tmplbuild.engine.world import Wish

    wish: dict[str, Any] = {
        "arch": args.arch,
        "rebuild": args.rebuild,
        "offline": args.offline,
        "boot_test": not args.no_boot_test,
    }
    with ExitStack() as fleet:
        others = fleet.enter_context(elsewhere(args, settings))  # it forks: no screen's thread before it
        emit = fleet.enter_context(several_screen(args))
        report = run(
            settings,
            args.names,
            emit=emit,
            enabled_only=enabled_only,
            wish=Wish(**wish),
            elsewhere=others,
        )
        if enabled_only and settings.nightly.publish:
            from tmplbuild.publish.nightly import publish_night

            report = publish_night(report, settings, emit=emit)
        status = finish(report, settings, emit=emit, send=enabled_only)
    rows = report["templates"]
    if not enabled_only and len(rows) == 1 and rows[0]["outcome"] == "failed":
        return int((rows[0]["error"] or {}).get("exit_code") or status)
    return status


def several_screen(args: argparse.Namespace) -> Screen:
    """What shows a run over several templates."""
    from tmplbuild.ui import night_screen

    return night_screen(
        sys.stdout,
        sys.stderr,
        json=args.json,
        verbose=args.verbose,
        quiet=args.quiet,
        quiet_unchanged=getattr(args, "quiet_unchanged", False),
        color=args.color,
    )
