"""log: the steps' logs of the last run, or of an earlier one."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path

from tmplbuild.cli.options import add_arch, settings_of
from tmplbuild.cli.parser import Verbs
from tmplbuild.errors import UsageError


def add(verbs: Verbs) -> None:
    """Add the verb of this module."""
    parser = verbs.add_parser(
        "log",
        help="show the log of a stage, or list the logs",
        description="List the logs of a template's last run, or print one stage's log as it was written. "
        "NAME@-1 is the run before the last one that `tmplbuild history` lists, NAME@20261125 one by the "
        "beginning of its id.",
    )
    parser.add_argument(
        "name", metavar="NAME[@BUILD]", help="recipe (debian-12) or template, and a run of it"
    )
    parser.add_argument("stage", metavar="STAGE", nargs="?", help="stage whose log is printed")
    add_arch(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List or print logs."""
    logs = _logs(args)
    if args.stage is not None:
        return _print(args, logs)
    if args.json:
        print(json.dumps({name: str(path) for name, path in logs.items()}, indent=2))
        return 0
    from tmplbuild.cli.table import table
    from tmplbuild.ui.words import size

    rows = []
    for name, path in logs.items():
        with contextlib.suppress(FileNotFoundError):  # a run that has just begun takes them away
            rows.append((name, size(path.stat().st_size), str(path)))
    print(*table(("stage", "size", "log"), rows, args.color), sep="\n")
    return 0


def _print(args: argparse.Namespace, logs: dict[str, Path]) -> int:
    path = logs.get(args.stage)
    if path is None:
        raise UsageError(f"stage {args.stage} has no log", hint=f"there are logs of {', '.join(logs)}")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(
            f"the log of {args.stage} is no more",
            where=str(path),
            hint="a run that has just begun took it",
        ) from None
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


def _logs(args: argparse.Namespace) -> dict[str, Path]:
    """The logs that there are, by stage. Raises UsageError where there are none."""
    from tmplbuild.changes.history import History
    from tmplbuild.engine.operands import build_of, template_of

    settings = settings_of(args)
    named = build_of(args.name, settings, args.arch, good=False)
    if named is not None:
        what, directory = named[1].id, History(settings.state_dir).path(named[0], named[1].id) / "logs"
    else:
        what = template_of(args.name, settings, args.arch)
        directory = settings.state_dir / "logs" / what
    logs = {path.stem.partition("-")[2]: path for path in sorted(directory.glob("*.log"))}
    if not logs:
        hint = "" if named is not None else f"tmplbuild build {args.name} writes them"
        raise UsageError(f"there is no log of {what}", where=str(directory), hint=hint)
    return logs
