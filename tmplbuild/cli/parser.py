"""The command line's grammar: one parser, its verbs added by the modules that run them."""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

from tmplbuild import errors
from tmplbuild.cli.options import GENERAL, add_global

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


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are UsageErrors, with a guess at what was meant."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("add_help", False)  # it is among the general options
        kwargs.setdefault("formatter_class", _Formatter)
        super().__init__(**kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print. Raises UsageError, always."""
        choice = re.search(r"invalid choice: '(.*?)'(?: \((?:maybe you meant.*|choose from .*)\))?", message)
        unknown = re.match(r"unrecognized arguments: (.*)", message)
        help_ = f"{self.prog} --help shows what there is"
        if choice and message.startswith("argument VERB"):
            near = _near(choice[1], verbs(self))
            raise errors.UsageError(f'there is no verb "{choice[1]}"', hint=near or help_)
        if choice:
            action = message.split(":")[0]
            known = re.findall(r"[\w.-]+", message.partition("choose from ")[2])
            what = f'{action}: "{choice[1]}" is not known'
            raise errors.UsageError(what, hint=_near(choice[1], known) or f"one of: {', '.join(known)}")
        if unknown:
            word = unknown[1].split()[0]
            near = _near(word.partition("=")[0], option_strings(self)) if word.startswith("-") else ""
            raise errors.UsageError(f"{self.prog} does not know {unknown[1]}", hint=near or help_)
        raise errors.UsageError(message, hint=help_)


class _Formatter(argparse.HelpFormatter):
    """Wraps a text unless it has line ends of its own; leaves the general options out of the usage."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=22, width=min(shutil.get_terminal_size().columns, 100) - 2)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" not in text:
            return super()._fill_text(text, width, indent)
        return "".join(indent + line for line in text.splitlines(keepends=True))

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None = None,
    ) -> None:
        """The usage line without what every verb has."""
        shown = [action for action in actions if action.dest not in GENERAL]
        super().add_usage(usage, shown, groups, prefix)


def _near(word: str, known: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(word, sorted(set(known)), n=2, cutoff=0.6)
    return f"did you mean {' or '.join(close)}?" if close else ""


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


def _subparsers(parser: argparse.ArgumentParser) -> list[argparse._SubParsersAction[Parser]]:
    return [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]


def verbs(parser: argparse.ArgumentParser) -> dict[str, Parser]:
    """The parser's verbs by name; none for a verb that has no verbs of its own."""
    return {name: sub for action in _subparsers(parser) for name, sub in action.choices.items()}


def leaves(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Parser]]:
    """Every verb with its full name ("recipe show"), those that only group others left out."""
    for name, sub in verbs(parser).items():
        if verbs(sub):
            yield from leaves(sub, (*path, name))
        else:
            yield " ".join((*path, name)), sub


def option_strings(parser: argparse.ArgumentParser) -> Iterator[str]:
    """All options of a parser and of the verbs below it."""
    for action in parser._actions:
        yield from action.option_strings
    for sub in verbs(parser).values():
        yield from option_strings(sub)
