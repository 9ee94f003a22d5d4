"""OpenVZ's configuration files: assignments in the shell's form, read and edited without a shell.

Format: vz.conf(5), ctid.conf(5). A value is a word, or quoted with ' or "; $NAME and ${NAME} stand
for an earlier value of the same file, except $VEID, which stays since it is filled in for each
container. The last assignment of a name counts, as in a shell.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tmplbuild.tomlfile import Fault, Place

_ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_VEID = re.compile(r"\$(?:VEID\b|\{VEID\})")


class Malformed(Exception):
    """The file cannot be read, or the line of a wanted value is no assignment; the text tells which."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One assignment: its value, its line (from 1), where the text of the value begins and ends.

    `value` is None when its quotes are not closed.
    """

    name: str
    value: str | None
    line: int
    start: int
    end: int


def read(path: Path, wanted: Collection[str]) -> dict[str, tuple[str, int]]:
    """The values of the file that are wanted, each with its line. Raises Malformed.

    Lines of other values may be as odd as a shell takes them: they are OpenVZ's own affair.
    """
    values: dict[str, tuple[str, int]] = {}
    for found in assignments(text_of(path)):
        if found.name not in wanted:
            continue
        if found.value is None:
            raise Malformed(str(Fault(Place(path, found.line), found.name, "no closing quotation")))
        values[found.name] = found.value, found.line
    return values


def text_of(path: Path) -> str:
    """The file's text; bytes that are not UTF-8 survive. Raises Malformed."""
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except OSError as error:
        raise Malformed(str(Fault(Place(path, 0), "", error.strerror or str(error)))) from error


def assignments(text: str) -> Iterator[Assignment]:
    """All assignments of a file, in order."""
    values: dict[str, str] = {}
    at, line = 0, 1
    while at < len(text):
        stop = _line_end(text, at)
        found = _ASSIGNMENT.match(text, at, stop)
        if found:
            value, end = _value(text, found.end(), values)
            yield Assignment(found[1], value, line, found.end(), end)
            if value is not None:
                values[found[1]] = value
                stop = _line_end(text, end)
        line += text.count("\n", at, stop + 1)
        at = stop + 1


def edited(text: str, changes: Mapping[str, str | None]) -> str:
    """The text with other values: all else, comments and order included, stays as it is.

    Parameters:
        changes: new values by name; None removes the assignment. New names go to the end.
    """
    left = dict(changes)
    for found in reversed(list(assignments(text))):
        if found.name not in changes:
            continue
        value = left.pop(found.name, None)
        if value is None:  # to be removed, or overruled by a later one that has the new value
            begin = text.rfind("\n", 0, found.start) + 1
            text = text[:begin] + text[_line_end(text, found.end) + 1 :]
        else:
            text = text[: found.start] + quoted(value) + text[found.end :]
    new = [f"{name}={quoted(value)}\n" for name, value in left.items() if value is not None]
    if new and text and not text.endswith("\n"):
        text += "\n"
    return text + "".join(new)


def quoted(value: str) -> str:
    """A value in double quotes, as vzctl writes it; $VEID stays to be filled in."""
    safe = re.sub(r'([\\"`$])', r"\\\1", value)
    return '"' + re.sub(r"\\\$(?=VEID\b|\{VEID\})", "$", safe) + '"'


def for_veid(value: str, veid: str) -> str:
    """A value with $VEID filled in."""
    return _VEID.sub(veid, value)


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _value(text: str, start: int, values: Mapping[str, str]) -> tuple[str | None, int]:
    """The word at `start` with quotes taken away and variables filled in, and where it ends."""
    out: list[str] = []
    at = start
    while at < len(text) and text[at] not in " \t\r\n;":
        sign = text[at]
        if sign == "#" and at == start:
            break
        if sign == "'":
            end = text.find("'", at + 1)
            if end < 0:
                return None, _line_end(text, at)
            out.append(text[at + 1 : end])
            at = end + 1
        elif sign == '"':
            piece, at = _double(text, at + 1, values)
            if piece is None:
                return None, at
            out.append(piece)
        else:
            piece, at = _piece(text, at, values, escaped="")
            out.append(piece)
    return "".join(out), at


def _double(text: str, at: int, values: Mapping[str, str]) -> tuple[str | None, int]:
    out: list[str] = []
    start = at
    while at < len(text) and text[at] != '"':
        piece, at = _piece(text, at, values, escaped='$`"\\\n')
        out.append(piece)
    if at >= len(text):
        return None, _line_end(text, start)
    return "".join(out), at + 1


def _piece(text: str, at: int, values: Mapping[str, str], *, escaped: str) -> tuple[str, int]:
    """One character, escape or variable. `escaped`: what a backslash may stand before; "" for anything."""
    if text[at] == "\\" and at + 1 < len(text) and (not escaped or text[at + 1] in escaped):
        return "" if text[at + 1] == "\n" else text[at + 1], at + 2
    found = _VARIABLE.match(text, at)
    if found:
        name = found[1] or found[2]
        return "$VEID" if name == "VEID" else values.get(name, ""), found.end()
    return text[at], at + 1
