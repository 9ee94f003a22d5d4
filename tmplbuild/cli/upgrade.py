"""upgrade: a release's template made out of an earlier one's."""

from __future__ import annotations

import argparse

from tmplbuild.cli.build import add_build_options, choices
from tmplbuild.cli.fleet import add_fleet, elsewhere
from tmplbuild.cli.options import screen_of, settings_of
from tmplbuild.cli.parser import Verbs


def add(verbs: Verbs) -> None:
    """Add the verb of this module."""
    parser = verbs.add_parser(
        "upgrade",
        help="make a release's template out of an earlier one's",
        description="Take the template of an earlier release out of the template cache, boot it, upgrade it "
        "to the recipe's release with its own package manager, and make a template of the result: "
        "debian-12-x86_64 becomes debian-13-from-12-x86_64. The result is compared with the last build of "
        "the recipe, and the differences are told. Recipes say from which release they can be reached.",
    )
    parser.add_argument("source", metavar="NAME", help="recipe of the earlier release (debian-12)")
    parser.add_argument(
        "--to", metavar="NAME", required=True, help="recipe of the release that is wanted (debian-13)"
    )
    parser.add_argument("--name", metavar="TEMPLATE", help="what the new template is called")
    add_build_options(parser)
    add_fleet(parser)
    parser.set_defaults(run=run_upgrade)


def run_upgrade(args: argparse.Namespace) -> int:
    """Make a template out of an earlier release's."""
    settings = settings_of(args)
    with elsewhere(args, settings) as others, screen_of(args) as emit:
        from tmplbuild.engine.build import build

        wish = {**choices(args), "out_of": args.source, "called": args.name}
        build(args.to, settings=settings, emit=emit, elsewhere=others, **wish)
    return 0
