"""history and diff: the builds of a template, and how two templates differ."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING

from tmplbuild.cli.options import add_arch, settings_of
from tmplbuild.cli.parser import Verbs
from tmplbuild.errors import UsageError

if TYPE_CHECKING:
    from tmplbuild.changes.comparison import Comparison, Side
    from tmplbuild.changes.history import Build

DIFFERENT = 1
"""Exit status of diff where something differs, as diff(1) has it."""


def add(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    history = verbs.add_parser(
        "history",
        help="list the builds of a template",
        description="List the runs of a template that did something, the newest first: when and why, what "
        "they changed, or how they failed. An id ends with the first digits of the file's sha256, of "
        "which -v shows all. What two builds differ in tells `tmplbuild diff`.",
    )
    history.add_argument("name", metavar="NAME", help="recipe (debian-12) or template")
    history.add_argument("-n", dest="count", type=_count, metavar="N", help="only the newest N")
    _add_atom(history, "the good builds and their changes")
    add_arch(history)
    history.set_defaults(run=run_history)
    diff = verbs.add_parser(
        "diff",
        help="show how two templates differ",
        description="Compare two templates: first what may break those who use them, then security fixes, "
        "packages, files of /etc, services, accounts, setuid files, sizes. A template is a file or directory "
        "(ours or not), a recipe or template by name, or a build: NAME@-1 is the one before the newest, "
        "NAME@20261125 one by the beginning of its id. With one NAME its two newest builds are compared. "
        "Exit status 0: the same, 1: different.",
    )
    diff.add_argument("before", metavar="A", help="template, or the NAME of one whose last change is shown")
    diff.add_argument("after", metavar="B", nargs="?", help="template")
    diff.add_argument("--brief", action="store_true", help="print one line only")
    diff.add_argument(
        "--no-files", action="store_true", help="name changed files of /etc without their diffs"
    )
    _add_atom(diff, "the differences")
    add_arch(diff)
    diff.set_defaults(run=run_diff)


def _add_atom(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--atom", action="store_true", help=f"print {what} as an Atom feed")


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 10**6:
        raise argparse.ArgumentTypeError(f'"{text}" is not a number of builds')
    return int(text)


def run_history(args: argparse.Namespace) -> int:
    """List builds."""
    from tmplbuild.artifact.typed import plain
    from tmplbuild.changes.history import History
    from tmplbuild.engine.operands import template_of

    _one_form(args)
    settings = settings_of(args)
    template = template_of(args.name, settings, args.arch)
    history = History(settings.state_dir)
    builds = history.builds(template)[::-1][: args.count]
    if args.json:
        print(json.dumps([plain(build) for build in builds], indent=2))
    elif args.atom:
        from tmplbuild.changes.feed import Item, feed

        items = [
            Item(build.id, _title(build), build.made, history.changes(build))
            for build in builds
            if build.good
        ]
        _write(feed(template, items))
    elif not builds:
        raise UsageError(
            f"there is no build of {template}",
            where=str(history.dir),
            hint=f"tmplbuild build {args.name} makes one",
        )
    else:
        from tmplbuild.cli.table import table

        rows = [_row(build, full=args.verbose) for build in builds]
        digest = ("sha256",) if args.verbose else ()
        head = ("build", "made", "result", "took", "size", "packages", *digest, "what changed, and why")
        print(*table(head, rows, args.color), sep="\n")
    return 0


def _row(build: Build, *, full: bool) -> tuple[str, ...]:
    from tmplbuild.ui.words import seconds, size

    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(build.made))
    bulk, changed, what = "-", "-", build.error
    if build.good:
        bulk, changed = size(build.size), str(build.changed) if build.against else "all"
        what = f"{build.headline} ({build.why})" if build.headline else build.why
    digest = (build.sha256 or "-",) if full else ()
    return build.id, made, build.result, seconds(build.seconds), bulk, changed, *digest, what


def _title(build: Build) -> str:
    return build.headline or build.why or build.id


def run_diff(args: argparse.Namespace) -> int:
    """Compare two templates."""
    from tmplbuild.changes.comparison import to_json
    from tmplbuild.changes.text import headline, lines
    from tmplbuild.engine.operands import compare_operands, find
    from tmplbuild.ui.style import Ink, wants_colour

    _one_form(args)
    settings = settings_of(args)
    name, at, _ = args.before.partition("@")
    words = (
        (args.before if at else f"{name}@-1", f"{name}@0")
        if args.after is None
        else (args.before, args.after)
    )
    before, after = (find(word, settings, args.arch) for word in words)
    found = compare_operands(before, after, settings)
    if args.json:
        print(json.dumps(to_json(found), indent=2))
    elif args.atom:
        from tmplbuild.changes.feed import Item, feed, key_of

        key = after.side.build or key_of(before.side.sha256, after.side.sha256, *words)
        _write(feed(after.side.name, [Item(key, headline(found), after.made, found)]))
    elif not (found.same and args.quiet):
        ink = Ink(wants_colour(sys.stdout, args.color))
        print(f"{ink(_heading(found), 'bold')}: {headline(found)}")
        if not args.brief and not found.same:
            print()
            print(*lines(found, ink, diffs=not args.no_files), sep="\n")
    return 0 if found.same else DIFFERENT


def _heading(found: Comparison) -> str:
    return f"{_called(found.before)} -> {_called(found.after)}"


def _called(side: Side) -> str:
    from tmplbuild.ui.words import printable

    return printable(f"{side.name}@{side.build}" if side.build else side.name)


def _one_form(args: argparse.Namespace) -> None:
    if args.json and args.atom:
        raise UsageError("--json and --atom exclude each other", hint="leave one of them out")


def _write(data: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
