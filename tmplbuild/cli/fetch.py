"""fetch: a template from a mirror into the template cache."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tmplbuild.cli.options import screen_of, settings_of
from tmplbuild.cli.parser import Verbs
from tmplbuild.cli.verify import add_key, key_of


def add(verbs: Verbs) -> None:
    """Add the verb of this module."""
    parser = verbs.add_parser(
        "fetch",
        help="get a template from a mirror, verified",
        description="Get a template into the cache, from a mirror of tmplbuild, or from a simplestreams, LXC "
        "or OpenVZ one. What a pinned key does not vouch for is not used. Of a template that the cache has "
        "in an older version only what changed is fetched, where the mirror has a member index.",
    )
    parser.add_argument(
        "name", metavar="NAME", help="template (debian-12-x86_64), or without architecture: this machine's"
    )
    parser.add_argument(
        "--from",
        dest="place",
        metavar="URL",
        required=True,
        help="the mirror's address, or its directory",
    )
    add_key(parser)
    parser.add_argument(
        "--keyring", metavar="FILE", type=Path, help="the key's certificate, if the mirror does not have it"
    )
    parser.add_argument(
        "--trust-server",
        action="store_true",
        help="believe an index that nobody signed, if it came over HTTPS or from this machine",
    )
    parser.add_argument(
        "--at", dest="build", metavar="BUILD", default="", help="this build instead of the newest"
    )
    parser.add_argument("--cache", metavar="DIR", help="template cache that the template goes to")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fetch a template."""
    from tmplbuild.publish.fetching import fetch, summary

    settings = settings_of(args)
    with screen_of(args) as emit:
        result = fetch(
            args.name,
            args.place,
            settings=settings,
            key="" if args.trust_server and args.key is None else key_of(args, settings.publish.key),
            keyring=args.keyring,
            trust_server=args.trust_server,
            build=args.build,
            emit=emit,
        )
        found = summary(result, emit)
    if args.json:
        print(json.dumps(found))
    elif not args.quiet:
        from tmplbuild.ui.words import size

        how = "is there already" if result.already else f"fetched {size(result.came)}"
        print(f"{result.template}: {how}\n  file    {result.file}\n  sha256  {result.sha256}")
    return 0
