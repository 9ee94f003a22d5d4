"""How a command line is read: argparse's parser with our errors and our help."""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn, TypeAlias

from tmplbuild import errors
from tmplbuild.cli.options import GENERAL

Verbs: TypeAlias = "argparse._SubParsersAction[Parser]"
"""What a verb's module is handed to add its parsers to."""


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
