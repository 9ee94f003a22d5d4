"""completion and version."""

from __future__ import annotations

import argparse
import json
import platform

from tmplbuild import __version__
from tmplbuild.cli.options import refuse_json
from tmplbuild.cli.parser import Verbs


def add(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    completion = verbs.add_parser(
        "completion",
        help="print a completion script for a shell",
        description="Print a completion script. For bash:\n"
        "tmplbuild completion bash > /etc/bash_completion.d/tmplbuild",
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell that will read it")
    completion.set_defaults(run=run_completion)
    version = verbs.add_parser(
        "version",
        help="print the version",
        description="Print the version of tmplbuild, Python and the kernel.",
    )
    version.set_defaults(run=run_version)


def run_completion(args: argparse.Namespace) -> int:
    """Print a completion script."""
    refuse_json(args)
    import shtab

    from tmplbuild.cli.grammar import build_parser
    from tmplbuild.cli.parser import leaves

    parser = build_parser()
    for _, verb in leaves(parser):
        for action in verb._actions:
            if command := getattr(action, "completed_by", ""):
                action.complete = shtab.cmd(f"{command} 2>/dev/null")  # type: ignore[attr-defined]
    print(shtab.complete(parser, args.shell))
    return 0


def run_version(args: argparse.Namespace) -> int:
    """Print versions."""
    found = {"tmplbuild": __version__, "python": platform.python_version(), "kernel": platform.release()}
    if args.json:
        print(json.dumps(found))
    else:
        print(*(f"{name} {version}" for name, version in found.items()), sep="\n")
    return 0
