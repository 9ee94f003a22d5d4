"""build and plan: the template, and what making it would take."""

from __future__ import annotations

import argparse
import json
from typing import Any

from tmplbuild.cli.fleet import add_fleet, elsewhere
from tmplbuild.cli.options import add_arch, add_mirror, screen_of, settings_of
from tmplbuild.cli.parser import Verbs
from tmplbuild.events import silent


def add(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    build = verbs.add_parser(
        "build",
        help="build or update a template",
        description="Build the template of a recipe, or bring it up to date. Stages whose inputs are as in "
        "an earlier run are taken from the store; if all are, nothing is done. Several names, patterns "
        "and architectures make several templates, some at once; one that fails does not keep the others "
        "from being built, and the exit status is then 1.",
    )
    build.add_argument(
        "names",
        metavar="NAME",
        nargs="+",
        help='recipes (debian-12), paths of their files (./mine.toml), patterns ("debian-*")',
    )
    _add_feature(build)
    build.add_argument(
        "--jobs", metavar="N", help="templates that are built at once, where there are several"
    )
    add_build_options(build)
    add_fleet(build)
    build.set_defaults(run=run_build)
    plan = verbs.add_parser(
        "plan",
        help="show what a build would do, and why",
        description="Ask the archives what is new and show for each stage whether a build with the same "
        "options would run it, and why. Nothing is built.",
    )
    plan.add_argument("name", metavar="NAME", help="recipe (debian-12) or path of its file (./mine.toml)")
    _add_feature(plan)
    add_build_options(plan)
    plan.set_defaults(run=run_plan)


def _add_feature(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--feature",
        metavar="NAME",
        action="append",
        default=[],
        help="lay a feature on the recipe (repeatable; see `recipe features`); the template's name tells",
    )


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


def run_build(args: argparse.Namespace) -> int:
    """Build a template, or several."""
    arches = [word for word in (args.arch or "").split(",") if word]
    if len(args.names) > 1 or len(arches) > 1 or set("*?[") & set(args.names[0]):
        return _run_several(args, arches)
    settings = settings_of(args)
    with elsewhere(args, settings) as others, screen_of(args) as emit:  # it forks: no threads before it
        from tmplbuild.engine.build import build
        from tmplbuild.recipes import with_features

        name = with_features(args.names[0], args.feature)
        build(name, settings=settings, emit=emit, elsewhere=others, **choices(args))
    return 0


def _run_several(args: argparse.Namespace, arches: list[str]) -> int:
    """Build all that is named, for each architecture."""
    from tmplbuild.cli.nightly import settings_with_jobs, several_screen
    from tmplbuild.engine.look import select
    from tmplbuild.engine.nightly import finish, run
    from tmplbuild.engine.world import Wish
    from tmplbuild.recipes import with_features

    settings = settings_with_jobs(args)
    names = [with_features(name, args.feature) for name in select(settings, args.names, enabled_only=False)]
    with elsewhere(args, settings) as others, several_screen(args) as emit:
        report = run(
            settings,
            names,
            emit=emit,
            enabled_only=False,
            wish=Wish(**{**choices(args), "arch": None}),
            elsewhere=others,
            arches=arches,
            nice=False,
        )
        finish(report, settings, emit=emit, send=False)
    return 1 if any(row["outcome"] in ("failed", "busy") for row in report["templates"]) else 0


def run_plan(args: argparse.Namespace) -> int:
    """Show what a build would do."""
    from tmplbuild.engine.build import make_plan
    from tmplbuild.recipes import with_features

    settings = settings_of(args)
    name = with_features(args.name, args.feature)
    if args.json:  # one object, no events
        plan = make_plan(name, settings=settings, emit=silent, **choices(args))
    else:
        with screen_of(args) as emit:
            plan = make_plan(name, settings=settings, emit=emit, **choices(args))
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
            "modules": list(plan.modules),
            "steps": rows,
        }
        print(json.dumps(found, indent=2))
        return 0
    from tmplbuild.cli.table import table

    print(f"{plan.template}: {plan.pins_reason}")
    if plan.modules:
        print(f"module streams enabled: {', '.join(plan.modules)}")
    cells = [(row["stage"], row["action"], row["reason"]) for row in rows]
    print(*table(("stage", "action", "why"), cells, args.color), sep="\n")
    return 0
