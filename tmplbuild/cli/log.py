"""log: the steps' logs of the last run."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tmplbuild.cli.options import Verbs, add_arch, settings_of
from tmplbuild.errors import UsageError


def add(verbs: Verbs) -> None:
    """Add the verb of this module."""
    parser = verbs.add_parser(
        "log",
        help="show the log of a stage, or list the logs",
        description="List the logs of a template's last run, or print one stage's log as it was written.",
    )
    parser.add_argument("name", metavar="NAME", help="recipe (debian-12)")
    parser.add_argument("stage", metavar="STAGE", nargs="?", help="stage whose log is printed")
    add_arch(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List or print logs."""
    template, directory = _directory(args)
    logs = {path.stem.partition("-")[2]: path for path in sorted(directory.glob("*.log"))}
    if not logs:
        raise UsageError(
            f"there is no log of {template}",
            where=str(directory),
            hint=f"tmplbuild build {args.name} writes them",
        )
    if args.stage is not None:
        return _print(args, logs)
    if args.json:
        print(json.dumps({name: str(path) for name, path in logs.items()}, indent=2))
        return 0
    from tmplbuild.cli.table import table
    from tmplbuild.ui.words import size

    rows = [(name, size(path.stat().st_size), str(path)) for name, path in logs.items()]
    print(*table(("stage", "size", "log"), rows, args.color), sep="\n")
    return 0


def _print(args: argparse.Namespace, logs: dict[str, Path]) -> int:
    path = logs.get(args.stage)
    if path is None:
        raise UsageError(f"stage {args.stage} has no log", hint=f"there are logs of {', '.join(logs)}")
    data = path.read_bytes()
    if args.json:
        text = data.decode("utf-8", "backslashreplace")
        print(json.dumps({"stage": args.stage, "log": str(path), "text": text}))
    elif sys.stdout.isatty():
        # what a VE wrote must not drive the user's terminal
        from tmplbuild.ui.words import printable

        print(*(printable(line) for line in data.decode("utf-8", "surrogateescape").splitlines()), sep="\n")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
    return 0


def _directory(args: argparse.Namespace) -> tuple[str, Path]:
    from tmplbuild.recipes import load, recipe_roots

    settings = settings_of(args)
    template = load(args.name, arch=args.arch, roots=recipe_roots(settings.recipes)).recipe.image.name
    return template, settings.state_dir / "logs" / template
