"""passwd and its kin: files of lines with a key, brought together line by line.

What is in use wins: its lines stay, in their order. Added are the lines whose key only the package's
version has, except those that were there once and that the recipe took out. Of groups that both
have, the members that the package's version gained are added. Formats: passwd(5), group(5),
shadow(5), gshadow(5), subuid(5), subgid(5), shells(5), services(5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tmplbuild.errors import StageError


@dataclass(frozen=True, slots=True)
class Union:
    """The text that came of it, and the keys of the lines that were added."""

    text: bytes
    added: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Format:
    """How a keyed file is read.

    `fields`: colon-separated fields of a line, 0 for lines of words. `id`: the field with a number
    that must be one line's alone. `members`: the fields that list names.
    """

    key: Callable[[str], str]
    fields: int = 0
    id: int = 0
    members: tuple[int, ...] = ()
    ranges: bool = False


def _first(line: str) -> str:
    return line.split(":", 1)[0]


def _service(line: str) -> str:
    words = line.split("#", 1)[0].split()
    return f"{words[0]} {words[1].rpartition('/')[2]}" if len(words) > 1 else ""


FORMATS: dict[str, Format] = {
    "passwd": Format(_first, fields=7, id=2),
    "group": Format(_first, fields=4, id=2, members=(3,)),
    "shadow": Format(_first, fields=9),
    "gshadow": Format(_first, fields=4, members=(2, 3)),
    "subuid": Format(_first, fields=3, ranges=True),
    "subgid": Format(_first, fields=3, ranges=True),
    "shells": Format(str.strip),
    "services": Format(_service),
}
"""By the file's name."""


def union(path: str, ours: bytes, theirs: bytes, base: bytes | None = None) -> Union:
    """The lines of `ours`, and what only `theirs` has.

    Parameters:
        path: of the file: its last part names the format, and messages name it.
        ours: what is in use.
        theirs: the package's version.
        base: what both come from, if it is known: what it has and `ours` has not was taken out.

    Raises StageError when a line that would be added claims a user's, group's or range's number that
    a line in use has under another name.
    """
    form = FORMATS[path.rpartition("/")[2]]
    mine, new = _rows(form, ours), _rows(form, theirs)
    old = _rows(form, base) if base is not None else {}
    added = {key: row for key, row in new.items() if key not in mine and key not in old}
    if not form.ranges:  # a name may have several ranges; one that has any is left alone
        added = {key: rows[:1] for key, rows in added.items()}
    _no_clash(path, form, mine, new, added)
    lines = [_with_members(line, form, old, new) for line in _lines(ours)]
    at = _end_of_own_lines(lines)
    lines[at:at] = [line for rows in added.values() for line in rows]
    if not added and lines == _lines(ours):
        return Union(ours, ())
    text = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    return Union(text, tuple(added))


Rows = dict[str, list[str]]


def _rows(form: Format, text: bytes) -> Rows:
    """The lines by key; comments, empty and malformed lines have none."""
    rows: Rows = {}
    for line in _lines(text):
        if _is_row(form, line):
            rows.setdefault(form.key(line), []).append(line)
    return rows


def _is_row(form: Format, line: str) -> bool:
    if not line.strip() or line[0] in "#+-" or not form.key(line):
        return False
    fields = line.split(":")
    if form.fields and len(fields) != form.fields:
        return False
    return not form.id or fields[form.id].isdecimal()


def _lines(text: bytes) -> list[str]:
    lines = text.decode("utf-8", "surrogateescape").split("\n")
    return lines[:-1] if not lines[-1] else lines


def _end_of_own_lines(lines: list[str]) -> int:
    """Where lines are added: before the "+" and "-" lines at the end, which stand for other sources
    and hide what follows (nsswitch.conf(5), compat)."""
    at = len(lines)
    while at and (lines[at - 1][:1] in ("+", "-")):
        at -= 1
    return at


def _with_members(line: str, form: Format, old: Rows, new: Rows) -> str:
    """A group's line with the members that the package's version gained."""
    if not form.members or not _is_row(form, line) or (key := form.key(line)) not in new:
        return line
    fields, theirs = line.split(":"), new[key][0].split(":")
    was = old[key][0].split(":") if key in old else [""] * form.fields
    for at in form.members:
        mine = _names(fields[at])
        gained = [name for name in _names(theirs[at]) if name not in mine and name not in _names(was[at])]
        if gained:
            fields[at] = ",".join([*mine, *gained])
    return ":".join(fields)


def _names(value: str) -> list[str]:
    return [name for name in value.strip().split(",") if name]


def _no_clash(path: str, form: Format, mine: Rows, new: Rows, added: Rows) -> None:
    for key, rows in added.items():
        for row in rows:
            if form.id and (other := _same_id(form, row, mine, new)):
                raise _clash(path, f"{key} and {other} both have the number {row.split(':')[form.id]}")
            if form.ranges and (other := _overlapping(row, mine)):
                raise _clash(path, f"the ranges of {key} and {other} overlap")


def _same_id(form: Format, row: str, mine: Rows, new: Rows) -> str:
    """The name in use that has this row's number; two names for one number may be meant so, which
    they are where the package's own version has both."""
    number = row.split(":")[form.id]

    def has(rows: Iterable[str]) -> bool:
        return any(line.split(":")[form.id] == number for line in rows)

    return next((name for name, rows in mine.items() if has(rows) and not has(new.get(name, ()))), "")


def _overlapping(row: str, mine: Rows) -> str:
    start, count = _range(row)
    for name, rows in mine.items():
        for first, size in map(_range, rows):
            if start < first + size and first < start + count:
                return name
    return ""


def _range(row: str) -> tuple[int, int]:
    start, count = row.split(":")[1:]
    return (int(start), int(count)) if start.isdecimal() and count.isdecimal() else (0, 0)


def _clash(path: str, why: str) -> StageError:
    return StageError(
        "accounts of the template and of an upgraded package cannot be brought together",
        where=path,
        why=why,
        hint="make the account with its own number in the recipe, before the package that brings it",
    )
