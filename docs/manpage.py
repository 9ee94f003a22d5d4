"""Write the manual page (roff, man(7)) from the parser's own words: docs/manpage.py > docs/tmplbuild.1.

What the parser does not say stands in docs/manpage.txt, in order of appearance: a line "# NAME" begins a
section, "$ " a command, two blanks a piece of code, "- TERM: text" an entry.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tmplbuild import __version__
from tmplbuild.cli.grammar import build_parser, exit_codes
from tmplbuild.cli.options import GENERAL
from tmplbuild.cli.parser import leaves

TEXT = Path(__file__).with_name("manpage.txt")


def quoted(text: str) -> str:
    """Text as roff: backslashes and hyphens as they are typed, no line that begins with a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line[:1] in ".'" else line for line in text.split("\n"))


def prose(text: str) -> str:
    """As `quoted`, with `words in backquotes` in bold."""
    return re.sub(r"`([^`]+)`", r"\\fB\1\\fR", quoted(text))


def manual() -> Iterator[str]:
    """The page, line by line."""
    parser = build_parser()
    sections = hand_written()
    yield '.\\" Written by docs/manpage.py; edit docs/manpage.txt or the parser instead.'
    yield f'.TH TMPLBUILD 1 "" "tmplbuild {__version__}" "System Manager\'s Manual"'
    yield from sections["NAME"]
    yield ".SH SYNOPSIS"
    yield ".B tmplbuild"
    yield "[\\fIOPTIONS\\fR] \\fIVERB\\fR ..."
    yield from sections["DESCRIPTION"]
    yield from sections["OPERATION"]
    yield ".SH VERBS"
    for name, verb in leaves(parser):
        yield from verb_lines(name, verb)
    yield ".SH GENERAL OPTIONS"
    yield "They may stand before and after the verb."
    yield from entries(action for action in parser._actions if action.option_strings)
    yield ".SH EXIT STATUS"
    for code, text in exit_codes():
        yield f".TP\n.B {code}\n{quoted(text)}"
    for name, lines in sections.items():
        if name not in ("NAME", "DESCRIPTION", "OPERATION"):
            yield from lines


def verb_lines(name: str, verb: argparse.ArgumentParser) -> Iterator[str]:
    """One verb: its usage, what it does, its arguments."""
    own = [action for action in verb._actions if action.dest not in GENERAL]
    words = [usage(action) for action in own]
    yield f'.SS "tmplbuild {quoted(name)}{" " if words else ""}{" ".join(words)}"'
    yield quoted(verb.description or "")
    yield from entries(own)


def usage(action: argparse.Action) -> str:
    """One argument within a verb's heading."""
    metavar = str(action.metavar or action.dest.upper())
    if action.option_strings:
        word = action.option_strings[-1]
        shown = f"[{word}]" if action.nargs == 0 else f"[{word} {metavar}]"
    else:
        if action.choices:
            metavar = "|".join(map(str, action.choices))
        shown = {"?": f"[{metavar}]", "*": f"[{metavar}...]"}.get(str(action.nargs), metavar)
    return quoted(shown)


def entries(actions: Iterator[argparse.Action] | list[argparse.Action]) -> Iterator[str]:
    """Arguments with their help."""
    for action in actions:
        metavar = str(action.metavar or action.dest.upper())
        if action.option_strings:
            names = ", ".join(f"\\fB{quoted(name)}\\fR" for name in action.option_strings)
            value = "" if action.nargs == 0 else f" \\fI{quoted(metavar)}\\fR"
        else:
            names, value = f"\\fI{quoted(metavar)}\\fR", ""
        yield f".TP\n{names}{value}\n{quoted(action.help or '')}"


def hand_written() -> dict[str, list[str]]:
    """The sections of docs/manpage.txt as roff."""
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    code = False
    for line in TEXT.read_text().splitlines():
        if code and not line.startswith("  "):
            lines.append(".fi\n.RE")
            code = False
        if line.startswith("# "):
            lines = sections.setdefault(line[2:], [])
            lines.append(f'.SH "{line[2:]}"')
        elif line.startswith("  "):
            if not code:
                lines.append(".PP\n.RS 4\n.nf")
            code = True
            lines.append(quoted(line[2:]))
        elif line.startswith("- "):
            term, _, text = line[2:].partition(": ")
            lines.append(f".TP\n\\fB{quoted(term)}\\fR\n{prose(text)}")
        elif not line:
            lines.append(".PP")
        else:
            lines.append(prose(line))
    return {name: tidy(lines) for name, lines in sections.items()}


def tidy(lines: list[str]) -> list[str]:
    """Without paragraphs that are followed by nothing of their own."""
    while lines and lines[-1] == ".PP":
        lines.pop()
    return [
        line
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
        if not (line == ".PP" and after.startswith((".PP", ".TP")))
    ]


if __name__ == "__main__":
    sys.stdout.write("\n".join(manual()) + "\n")
