"""Options that several verbs share, and what they become."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tmplbuild import __version__
from tmplbuild.errors import UsageError

if TYPE_CHECKING:
    from tmplbuild.config import Settings
    from tmplbuild.ui import Screen

GENERAL = frozenset({"config", "recipes", "json", "verbose", "quiet", "color", "debug", "help", "version"})
"""The names of the options that may stand before and after the verb."""


def add_global(parser: argparse.ArgumentParser, *, top: bool) -> None:
    """The options that may stand before and after the verb.

    Parameters:
        top: true for the main parser, which alone has defaults: a verb's parser must not overwrite
            what was given before the verb.
    """
    group = parser.add_argument_group("general options")
    absent = argparse.SUPPRESS

    def flag(*names: str, text: str) -> None:
        group.add_argument(*names, action="store_true", default=False if top else absent, help=text)

    def value(name: str, metavar: str, text: str) -> None:
        if name in parser._option_string_actions:
            return  # the verb's own: `ve create --config` is vzctl's
        group.add_argument(name, metavar=metavar, default=None if top else absent, help=text)

    group.add_argument("-h", "--help", action="help", help="show this help and exit")
    value("--config", "FILE", "settings, instead of /etc/tmplbuild/tmplbuild.toml")
    group.add_argument(
        "--recipes",
        metavar="DIR",
        action="append",
        default=None if top else absent,
        help="look for recipes here first (may be given several times)",
    )
    flag("--json", text="print JSON on stdout: events line by line, or the result")
    flag("-v", "--verbose", text="show commands and their output")
    flag("-q", "--quiet", text="say nothing but warnings and errors")
    group.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        metavar="WHEN",
        default="auto" if top else absent,
        help="colours: auto (on a terminal, unless NO_COLOR is set), always, never",
    )
    flag("--debug", text="print a traceback with an error")
    if top:
        version = f"tmplbuild {__version__}"
        group.add_argument("--version", action="version", version=version, help="print the version and exit")


def add_arch(parser: argparse.ArgumentParser) -> None:
    """--arch, for the verbs that name a template."""
    parser.add_argument("--arch", help="architecture, in the distribution's or OpenVZ's word (amd64, x86_64)")


def completed(action: argparse.Action, command: str) -> None:
    """Let shells complete an argument by the words that a command of ours prints (`completion`)."""
    action.completed_by = command  # type: ignore[attr-defined]


def add_mirror(parser: argparse.ArgumentParser) -> None:
    """--mirror, for the verbs that ask the archives."""
    parser.add_argument(
        "--mirror",
        metavar="URL",
        action="append",
        help="take the packages from here: an address, or ROLE=URL for one archive (repeatable)",
    )


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings that hold for this run. Raises UsageError."""
    from tmplbuild.config import load_settings

    flags = {
        "template_cache": getattr(args, "cache", None),
        "mirror": " ".join(getattr(args, "mirror", None) or ()) or None,
        "jobs": getattr(args, "jobs", None),
        "recipes": args.recipes,
    }
    config = Path(args.config) if args.config else None
    return load_settings(config, {name: value for name, value in flags.items() if value is not None})


def roots_of(args: argparse.Namespace) -> tuple[Path, ...]:
    """The directories of recipes, in order. Raises UsageError."""
    from tmplbuild.recipes import recipe_roots

    return recipe_roots(settings_of(args).recipes)


def screen_of(args: argparse.Namespace) -> Screen:
    """The renderer that the options ask for."""
    from tmplbuild.ui import screen

    return screen(
        sys.stdout, sys.stderr, json=args.json, verbose=args.verbose, quiet=args.quiet, color=args.color
    )


def refuse_json(args: argparse.Namespace) -> None:
    """For verbs that have nothing to say to a program. Raises UsageError."""
    if args.json:
        raise UsageError(f'"{args.verb}" has no --json', hint="leave --json out")
