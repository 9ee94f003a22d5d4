"""shell: look into the tree of a build."""

from __future__ import annotations

import argparse

from tmplbuild.cli.options import add_arch, refuse_json, settings_of
from tmplbuild.cli.parser import Verbs


def add(verbs: Verbs) -> None:
    """Add the verb of this module."""
    parser = verbs.add_parser(
        "shell",
        help="open a shell in the tree of the last build",
        description="Open a shell in the tree as the last build left it, or as the stage that failed left "
        "it. What is changed there is thrown away at the end. The exit status is the shell's.",
    )
    parser.add_argument("name", metavar="NAME", help="recipe (debian-12)")
    add_arch(parser)
    parser.add_argument(
        "--at",
        metavar="STAGE",
        help="the tree as it was after this stage (default: the failed one, else the last)",
    )
    parser.add_argument(
        "--upgraded-from", metavar="NAME", help="the tree that `upgrade NAME --to` made, or failed to"
    )
    parser.add_argument("--live", action="store_true", help="boot the tree's init first")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Open a shell in a tree."""
    refuse_json(args)
    from tmplbuild.engine.shell import shell

    return shell(
        args.name,
        settings=settings_of(args),
        arch=args.arch,
        at=args.at,
        live=args.live,
        out_of=args.upgraded_from,
    )
