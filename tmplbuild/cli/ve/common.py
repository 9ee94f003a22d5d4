"""What the verbs of `ve` share: the manager, the container's argument, how results are said."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from tmplbuild.cli.options import completed, settings_of
from tmplbuild.events import Emit, Event, Note, Progress

if TYPE_CHECKING:
    from tmplbuild.vz.manage import Manager

VES = "tmplbuild ve list --words"
TEMPLATES = "tmplbuild ve templates --words"
"""Commands whose output completes a word."""


def manager_of(args: argparse.Namespace) -> Manager:
    """The manager of named VEs, with the settings that hold."""
    from tmplbuild.vz.manage import Manager

    return Manager(settings_of(args), emitter(args))


def emitter(args: argparse.Namespace) -> Emit:
    """Warnings go to standard error; what is being done as well, on a terminal."""

    def emit(event: Event) -> None:
        if isinstance(event, Note) and (event.level == "warning" or not args.quiet):
            print(f"{event.level}: {event.text}", file=sys.stderr)
        elif isinstance(event, Progress) and not args.quiet and not args.json and sys.stderr.isatty():
            print(f"{event.text} ...", file=sys.stderr)

    return emit


def add_ve(parser: argparse.ArgumentParser, text: str = "the container's number or name") -> None:
    """The argument that names a container."""
    completed(parser.add_argument("veid", metavar="CTID", help=text), VES)


def say(args: argparse.Namespace, text: str, **result: object) -> None:
    """Tell what came of it: a line, or an object with --json."""
    if args.json:
        print(json.dumps(result))
    elif not args.quiet:
        print(text)
