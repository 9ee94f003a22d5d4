"""TOML files whose every value knows the line that it comes from.

The standard library's `tomllib` reads values but no positions; a person who made a mistake needs the
line. `read` parses a file with `tomllib`, then walks the text once more for the places alone.
Recipes and settings are both read with it, so that their faults look alike.
"""

from __future__ import annotations

import datetime
import difflib
import re
import tomllib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

Scalar = str | int | float | bool | datetime.datetime | datetime.date | datetime.time
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value is written. `line` counts from 1; 0 is unknown."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else str(self.file)


@dataclass(frozen=True, slots=True)
class Node:
    """A TOML value with its place; tables and arrays hold nodes."""

    value: Scalar | list[Node] | dict[str, Node]
    place: Place

    def plain(self) -> object:
        """The value as `tomllib` would give it."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def walk(self, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Node]]:
        """This node and all below it with their key paths, parents first."""
        yield path, self
        if isinstance(self.value, dict):
            for key, node in self.value.items():
                yield from node.walk((*path, key))
        elif isinstance(self.value, list):
            for index, node in enumerate(self.value):
                yield from node.walk((*path, index))


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake in a file: what is wrong at `key`, and what was perhaps meant."""

    place: Place
    key: str
    text: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.place}: {self.key}: " if self.key else f"{self.place}: "
        return where + self.text + (f"; {self.hint}" if self.hint else "")


class Unreadable(Exception):
    """The file is not there, not text, or not TOML; `fault` tells."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def read(path: Path) -> Node:
    """The table that the file holds. Raises Unreadable."""
    try:
        text = path.read_bytes().decode("utf-8")
        plain = tomllib.loads(text)
        lines = _Scan(text.replace("\r\n", "\n")).run()
    except OSError as error:
        raise Unreadable(Fault(Place(path, 0), "", error.strerror or str(error))) from error
    except UnicodeDecodeError as error:
        line = 1 + error.object[: error.start].count(b"\n")
        raise Unreadable(Fault(Place(path, line), "", "not UTF-8 text")) from error
    except RecursionError as error:
        raise Unreadable(Fault(Place(path, 0), "", "nested too deep")) from error
    except ValueError as error:
        found = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        line = int(found[1]) if found else 0
        words = str(error)[: found.start()] if found else str(error)
        raise Unreadable(Fault(Place(path, line), "", f"not valid TOML: {words}")) from error
    return _node(plain, (), lines, path, 1)


def spell(path: KeyPath) -> str:
    """A key path as people write it: install.packages[3], configure.files."/etc/fstab".mode"""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + quote_key(part)
    return text


def quote_key(key: str) -> str:
    """A key as TOML spells it: bare where it may be."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else quote(key)


_SHORT = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def quote(text: str) -> str:
    """A basic string of TOML, on one line."""
    escaped = (
        _SHORT.get(sign) or (f"\\u{ord(sign):04x}" if ord(sign) < 32 or ord(sign) == 127 else sign)
        for sign in text
    )
    return '"' + "".join(escaped) + '"'


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """'did you mean "packages"?', or an empty text when nothing comes near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else ""


def _node(plain: object, path: KeyPath, lines: dict[KeyPath, int], file: Path, near: int) -> Node:
    line = lines.get(path, near)
    place = Place(file, line)
    if isinstance(plain, dict):
        return Node({key: _node(item, (*path, key), lines, file, line) for key, item in plain.items()}, place)
    if isinstance(plain, list):
        return Node([_node(item, (*path, at), lines, file, line) for at, item in enumerate(plain)], place)
    assert isinstance(plain, Scalar)
    return Node(plain, place)


_GAP = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN = re.compile(r"[^,\]}\n#]+")
_STRINGS = (
    re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}', re.DOTALL),
    re.compile(r"'''.*?'{3,5}", re.DOTALL),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)


class _Scan:
    """The line of every key and array item. The text must be valid TOML (https://toml.io/en/v1.0.0)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0
        self.starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self.lines: dict[KeyPath, int] = {}
        self.arrays: dict[KeyPath, int] = {}

    def run(self) -> dict[KeyPath, int]:
        base: KeyPath = ()
        while self._skip(_GAP) < len(self.text):
            base = self._header() if self.text[self.pos] == "[" else self._pair(base)
        return self.lines

    def _skip(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self.text, self.pos)
        self.pos = found.end() if found else self.pos
        return self.pos

    def _note(self, path: KeyPath) -> None:
        self.lines.setdefault(path, bisect_right(self.starts, self.pos))

    def _header(self) -> KeyPath:
        double = self.text.startswith("[[", self.pos)
        start = self.pos
        self.pos += 2 if double else 1
        keys = self._keys()
        self.pos, after = start, self.text.index("]", self.pos) + (2 if double else 1)
        path: KeyPath = ()
        for count, key in enumerate(keys, 1):
            path = (*path, key)
            if double and count == len(keys):
                self.arrays[path] = self.arrays.get(path, 0) + 1
            self._note(path)
            if path in self.arrays:
                path = (*path, self.arrays[path] - 1)
                self._note(path)
        self.pos = after
        return path

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(_BLANK)
            start = self.pos
            if self.text[start] in "\"'":
                self._string()
                keys.append(str(tomllib.loads("k = " + self.text[start : self.pos])["k"]))
            else:
                keys.append(self.text[start : self._skip(_BARE)])
            self._skip(_BLANK)
            if self.text[self.pos] != ".":
                return keys
            self.pos += 1

    def _pair(self, base: KeyPath) -> KeyPath:
        start, path = self.pos, base
        keys = self._keys()
        self.pos, after = start, self.pos
        for key in keys:
            path = (*path, key)
            self._note(path)
        self.pos = after + 1  # the equals sign
        self._value(path)
        return base

    def _string(self) -> None:
        for pattern in _STRINGS:
            if self._skip_if(pattern):
                return

    def _skip_if(self, pattern: re.Pattern[str]) -> bool:
        before = self.pos
        return self._skip(pattern) > before

    def _value(self, path: KeyPath) -> None:
        self._skip(_BLANK)
        sign = self.text[self.pos]
        if sign in "\"'":
            self._string()
        elif sign == "[":
            self._items(path)
        elif sign == "{":
            self._inline(path)
        else:
            self._skip(_PLAIN)

    def _items(self, path: KeyPath) -> None:
        self.pos += 1
        index = 0
        while self.text[self._skip(_GAP)] != "]":
            self._note((*path, index))
            self._value((*path, index))
            index += 1
            self._skip(_GAP)
            self.pos += self.text[self.pos] == ","
        self.pos += 1

    def _inline(self, path: KeyPath) -> None:
        self.pos += 1
        while self.text[self._skip(_GAP)] != "}":
            self._pair(path)
            self._skip(_GAP)
            self.pos += self.text[self.pos] == ","
        self.pos += 1


# -- tables of settings --------------------------------------------------------------------------


Kind = Callable[[object], object]
"""Takes a plain value and gives the setting's, or raises ValueError with what was expected."""


def table(node: Node, name: str, kinds: Mapping[str, Kind | None], faults: list[str]) -> dict[str, object]:
    """The values of a table of settings by key; what is wrong is added to `faults`, each with its line."""
    values: dict[str, object] = {}
    if not isinstance(node.value, dict):
        faults.append(str(Fault(node.place, name, "expected a table")))
        return values
    for key, item in node.value.items():
        place = f"{name}.{key}"
        if key not in kinds:
            hint = did_you_mean(key, kinds) or "there are " + ", ".join(kinds)
            faults.append(str(Fault(item.place, place, "unknown setting", hint)))
        elif (kind := kinds[key]) is not None:
            try:
                values[key] = kind(item.plain())
            except ValueError as error:
                faults.append(str(Fault(item.place, place, str(error))))
    return values


def number(low: int, high: int) -> Kind:
    """A setting that is a whole number within these bounds."""

    def check(value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise ValueError(f"expected a whole number from {low} to {high}, found {shown(value)}")

    return check


def shown(value: object) -> str:
    """A value as a message shows it."""
    if isinstance(value, bool):
        return str(value).lower()
    return quote(value) if isinstance(value, str) else str(value)
