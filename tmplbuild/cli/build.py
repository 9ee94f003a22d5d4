"""build and plan: the template, and what making it would take."""

from __future__ import annotations

import argparse
import json
from typing import Any

from tmplbuild.cli.options import Verbs, add_arch, add_mirror, screen_of, settings_of
from tmplbuild.events import silent


def add(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    build = verbs.add_parser(
        "build",
        help="build or update a template",
        description="Build the template of a recipe, or bring it up to date. Stages whose inputs are as in "
        "an earlier run are taken from the store; if all are, nothing is done.",
    )
    _add_common(build)
    build.set_defaults(run=run_build)
    plan = verbs.add_parser(
        "plan",
        help="show what a build would do, and why",
        description="Ask the archives what is new and show for each stage whether a build with the same "
        "options would run it, and why. Nothing is built.",
    )
    _add_common(plan)
    plan.set_defaults(run=run_plan)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="recipe (debian-12) or path of its file (./mine.toml)")
    parser.add_argument(
        "--feature",
        metavar="NAME",
        action="append",
        default=[],
        help="lay a feature on the recipe (repeatable; see `recipe features`); the template's name tells",
    )
    add_build_options(parser)


def add_build_options(parser: argparse.ArgumentParser) -> None:
    """The options of all verbs that build; `choices` reads them."""
    add_arch(parser)
    parser.add_argument("--cache", metavar="DIR", help="template cache that NAME.tar.gz goes to")
    add_mirror(parser)
    parser.add_argument(
        "--from", dest="rerun_from", metavar="STAGE", help="run this stage and all after it again"
    )
    parser.add_argument("--rebuild", action="store_true", help="run every stage again, from today's packages")
    parser.add_argument("--offline", action="store_true", help="use the archives as they were last seen")
    parser.add_argument(
        "--seen",
        action="store_true",
        help="take the archives' state as an earlier run has read it; packages are fetched (nightly does so)",
    )
    parser.add_argument(
        "--allow-older", action="store_true", help="accept an archive that is older than it was the last time"
    )
    parser.add_argument(
        "--no-boot-test", action="store_true", help="do not boot the packed template to see that it works"
    )


def choices(args: argparse.Namespace) -> dict[str, Any]:
    """What the options ask for, as `tmplbuild.engine.world.Wish` has it."""
    return {
        "arch": args.arch,
        "rerun_from": args.rerun_from,
        "rebuild": args.rebuild,
        "offline": args.offline,
        "seen": args.seen,
        "allow_older": args.allow_older,
        "boot_test": not args.no_boot_test,
    }


def name_of(args: argparse.Namespace) -> str:
    """The recipe's name with the features that are asked for."""
    from tmplbuild.recipes import with_features

    return with_features(args.name, args.feature)


def run_build(args: argparse.Namespace) -> int:
    """Build a template."""
    from tmplbuild.engine.build import build

    settings = settings_of(args)
    with screen_of(args) as emit:
        build(name_of(args), settings=settings, emit=emit, **choices(args))
    return 0


def run_plan(args: argparse.Namespace) -> int:
    """Show what a build would do."""
    from tmplbuild.engine.build import make_plan

    settings = settings_of(args)
    if args.json:  # one object, no events
        plan = make_plan(name_of(args), settings=settings, emit=silent, **choices(args))
    else:
        with screen_of(args) as emit:
            plan = make_plan(name_of(args), settings=settings, emit=emit, **choices(args))
    rows = [
        {
            "stage": row.step.name,
            "action": "run" if row.runs else "cached",
            "reason": row.reason,
            "key": row.step.key,
        }
        for row in plan.steps
    ]
    if args.json:
        found = {
            "template": plan.template,
            "unchanged": plan.unchanged,
            "pins": plan.pins_reason,
            "steps": rows,
        }
        print(json.dumps(found, indent=2))
        return 0
    from tmplbuild.cli.table import table

    print(f"{plan.template}: {plan.pins_reason}")
    cells = [(row["stage"], row["action"], row["reason"]) for row in rows]
    print(*table(("stage", "action", "why"), cells, args.color), sep="\n")
    return 0
