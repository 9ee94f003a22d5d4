"""OpenVZ's configuration files: assignments in the shell's form, read without a shell.

Format: vz.conf(5). A value is a word, or quoted with ' or "; $NAME and ${NAME} stand for an earlier
value of the same file, except $VEID, which stays since it is filled in for each container.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from pathlib import Path

from tmplbuild.tomlfile import Fault, Place

_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


class Malformed(Exception):
    """The file cannot be read, or the line of a wanted value is no assignment; the text tells which."""


def read(path: Path, wanted: Collection[str]) -> dict[str, tuple[str, int]]:
    """The values of the file that are wanted, each with its line. Raises Malformed.

    Lines of other values may be as odd as a shell takes them: they are OpenVZ's own affair.
    """
    try:
        text = path.read_text("utf-8", "surrogateescape")
    except OSError as error:
        raise Malformed(str(Fault(Place(path, 0), "", error.strerror or str(error)))) from error
    values: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        found = _ASSIGNMENT.fullmatch(line)
        if not found:
            continue
        try:
            words = shlex.split(found[2], comments=True)
        except ValueError as error:
            if found[1] in wanted:
                raise Malformed(str(Fault(Place(path, number), found[1], str(error).lower()))) from error
            continue
        values[found[1]] = _expanded(words[0] if words else "", values), number
    return {name: value for name, value in values.items() if name in wanted}


def _expanded(word: str, values: dict[str, tuple[str, int]]) -> str:
    def one(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        return "$VEID" if name == "VEID" else values.get(name, ("", 0))[0]

    return _VARIABLE.sub(one, word)
