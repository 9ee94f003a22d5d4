"""dist: how the containers of each distribution are told their address and name."""

from __future__ import annotations

import argparse
import dataclasses
import json

from tmplbuild.cli.options import settings_of
from tmplbuild.cli.parser import Verbs
from tmplbuild.cli.ve.common import say


def add(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    parser = verbs.add_parser(
        "dist",
        help="dist configurations: list, show, make a new one",
        description="How the containers of each distribution are told their address, name, name servers and "
        "passwords. The machine's own files, in /etc/tmplbuild/dists, come before those of the tool.",
    )
    found = parser.add_subparsers(title="verbs", metavar="VERB", dest="dist_verb", required=True)
    new = found.add_parser(
        "new",
        help="write a commented one to begin with",
        description="Write a commented dist configuration for templates whose names begin so.",
    )
    new.add_argument("name", metavar="NAME", help="as its templates begin (debian, debian-12)")
    new.set_defaults(run=run_new)
    listing = found.add_parser("list", help="list them", description="List the dist configurations.")
    listing.set_defaults(run=run_list)
    check = found.add_parser(
        "check",
        help="show the one that a template gets",
        description="Show what a template of that name gets, and whether its file is right.",
    )
    check.add_argument("name", metavar="TEMPLATE", help="a template's name (debian-12-x86_64)")
    check.set_defaults(run=run_check)


def run_new(args: argparse.Namespace) -> int:
    """Write a skeleton."""
    from tmplbuild.vz.dists.choose import skeleton

    path = settings_of(args).dists / f"{args.name}.toml"
    skeleton(args.name, path)
    say(args, f"{path}: written", path=str(path))
    return 0


def run_list(args: argparse.Namespace) -> int:
    """List them."""
    from tmplbuild.vz.dists.choose import SHIPPED, names

    own = settings_of(args).dists
    rows = [(name, str(own if (own / f"{name}.toml").is_file() else SHIPPED)) for name in names(own)]
    if args.json:
        print(json.dumps([{"name": name, "folder": folder} for name, folder in rows], indent=2))
    else:
        from tmplbuild.cli.table import table

        print(*table(("dist", "where"), rows, args.color), sep="\n")
    return 0


def run_check(args: argparse.Namespace) -> int:
    """Show one."""
    from tmplbuild.vz.dists import choose

    found = choose(args.name, settings_of(args).dists)
    values = {key: value for key, value in dataclasses.asdict(found).items() if key != "scripts"}
    scripts = {action: str(path) for action, path in found.scripts.items()}
    if args.json:
        print(json.dumps({**values, "scripts": scripts}, indent=2))
        return 0
    print(f"{args.name}: {found.name}")
    for key, value in values.items():
        if key != "name":
            print(f"  {key:<12} {', '.join(value)}")
    for action, place in scripts.items():
        print(f"  {action:<12} {place}")
    return 0
