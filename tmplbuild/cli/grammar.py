"""The command line's grammar: one parser, its verbs added by the modules that run them."""

from __future__ import annotations

import argparse
import importlib
import textwrap
from collections.abc import Sequence

from tmplbuild import errors
from tmplbuild.cli.options import add_global
from tmplbuild.cli.parser import Parser, verbs

_VERBS = {
    "build": ("build", "plan"),
    "nightly": ("nightly", "update"),
    "status": ("status", "why"),
    "upgrade": ("upgrade",),
    "shell": ("shell",),
    "history": ("history", "diff"),
    "log": ("log",),
    "check": ("check",),
    "publish": ("publish", "mirror"),
    "verify": ("verify",),
    "fetch": ("fetch",),
    "recipe": ("recipe",),
    "ve": ("ve",),
    "cache": ("cache",),
    "fleet": ("scheduler", "worker", "task"),
    "doctor": ("doctor",),
    "about": ("completion", "version"),
}
"""Which module of this package adds which verbs, in the order of --help."""

_WIDTH = 79  # columns, of what argparse does not fill itself

_DESCRIPTION = """\
Builds, updates and checks OS templates (NAME.tar.gz with a root file system)
for system containers.

A build takes the recipe, asks the archives what is new, and runs only the
stages whose inputs changed: bootstrap, install, configure, strip, clean,
upgrade in the booted container, check, pack."""

_EXAMPLES = """\
examples:
  tmplbuild build debian-12               build or update the template
  tmplbuild plan debian-12                show what a build would do, and why
  tmplbuild nightly --quiet-unchanged     bring all up to date (from cron)
  tmplbuild status                        which are fresh, due, failed or old
  tmplbuild upgrade debian-12 --to debian-13
                                          make one out of an earlier release's
  tmplbuild shell debian-12 --at upgrade  look into the tree after a stage
  tmplbuild check FILE.tar.gz             lint any template, ours or not
  tmplbuild diff debian-12                show what the last build changed
"""


def build_parser(verb: str | None = None) -> Parser:
    """The whole grammar, or of it what one verb needs. Cheap: nothing that does the work is imported."""
    parser = Parser(
        prog="tmplbuild",
        usage="tmplbuild [OPTIONS] VERB ...",
        description=_DESCRIPTION,
        epilog=f"{_EXAMPLES}\n{exit_table()}",
    )
    found = parser.add_subparsers(
        title="verbs", metavar="VERB", dest="verb", required=True, prog="tmplbuild", parser_class=Parser
    )
    add_global(parser, top=True)
    for name, added in _VERBS.items():
        if verb is None or verb in added:
            importlib.import_module(f"tmplbuild.cli.{name}").add(found)
    _add_general_below(parser)
    return parser


def _add_general_below(parser: argparse.ArgumentParser) -> None:
    for verb in verbs(parser).values():
        add_global(verb, top=False)
        _add_general_below(verb)


def first_verb(words: Sequence[str]) -> str | None:
    """The verb of a command line that begins with one, general options before it; None where it is not so
    clear, or the whole grammar is wanted to tell what is wrong."""
    known = {verb for added in _VERBS.values() for verb in added}
    rest = iter(words)
    for word in rest:
        if word in ("--config", "--recipes", "--color"):
            next(rest, None)
        elif not word.startswith("-"):
            return word if word in known else None
        elif word in ("-h", "--help"):
            return None
    return None


def exit_codes() -> list[tuple[int, str]]:
    """Each exit status and what it means: the words are those of the error classes."""
    rows = [
        (0, "All went well."),
        (1, "A bug in tmplbuild; or, from check, findings; from diff, differences."),
    ]
    classes = sorted(errors.TmplbuildError.__subclasses__(), key=lambda kind: kind.exit_code)
    rows += [
        (kind.exit_code, (kind.__doc__ or "").splitlines()[0].split(". ")[0].rstrip(".") + ".")
        for kind in classes
    ]
    rows.append((errors.INTERRUPTED, "Interrupted by Ctrl-C or SIGTERM; nothing is left behind."))
    return rows


def exit_table() -> str:
    """The exit statuses as the end of --help."""
    rows = (
        textwrap.fill(text, _WIDTH, initial_indent=f"  {code:>3}  ", subsequent_indent=" " * 7)
        for code, text in exit_codes()
    )
    return "\n".join(["exit status:", *rows])
