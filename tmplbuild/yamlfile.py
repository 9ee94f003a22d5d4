"""YAML documents as plain values: the only module that imports PyYAML.

What is read comes from people and from archives, so that little of YAML is taken: no aliases, with which a
small file can stand for an endless one, no tags, no key that is given twice, no deep nesting. The document is
built from the parser's events, by no recursion. Numbers and dates stay as they are written: the stream
"1.10" is not 1.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import yaml

Value: TypeAlias = "bool | str | list[Value] | dict[str, Value] | None"

_Loader: Any = getattr(
    yaml, "CBaseLoader", yaml.BaseLoader
)  # libyaml's, where PyYAML has it: ten times faster
_DEEPEST = 32
_TEXT = ("tag:yaml.org,2002:str", "!")
_TRUE, _FALSE = frozenset({"true", "yes", "on"}), frozenset({"false", "no", "off"})
_NULL = frozenset({"", "~", "null", "Null", "NULL"})


class YamlError(ValueError):
    """What cannot be read: `why`, and at which line (0 where that is not known)."""

    def __init__(self, why: str, line: int = 0) -> None:
        super().__init__(why)
        self.why = why
        self.line = line


def documents(data: bytes | str, *, typed: bool = False) -> Iterator[Value]:
    """The documents of a file, one after the other.

    Parameters:
        typed: plain words for truth and for nothing become True, False and None; else they are text, too.

    Raises YamlError for what is no YAML, or more of it than is taken.
    """
    try:
        builder = _Builder(typed)
        for event in yaml.parse(data, Loader=_Loader):
            if isinstance(event, yaml.DocumentEndEvent):
                yield builder.take()
            else:
                builder.add(event)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        why = getattr(error, "problem", None) or str(error)
        raise YamlError(why, mark.line + 1 if mark is not None else 0) from error


class _Builder:
    """One document after the other, from events."""

    def __init__(self, typed: bool) -> None:
        self._typed = typed
        self._open: list[tuple[Any, list[str]]] = []  # collections under way; of a table the key that waits
        self._root: Any = None

    def add(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._put(self._scalar(event), event)
        elif isinstance(event, yaml.AliasEvent):
            raise _bad("aliases are not read", event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if event.tag is not None and event.tag != "!":
                raise _bad("tags are not read", event)
            if len(self._open) >= _DEEPEST:
                raise _bad(f"more than {_DEEPEST} levels", event)
            made: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
            self._put(made, event)
            self._open.append((made, []))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._open.pop()

    def take(self) -> Any:
        found, self._root = self._root, None
        return found

    def _put(self, value: Any, event: Any) -> None:
        if not self._open:
            self._root = value
            return
        home, waiting = self._open[-1]
        if isinstance(home, list):
            home.append(value)
        elif waiting:
            home[waiting.pop()] = value
        else:
            key = event.value if isinstance(event, yaml.ScalarEvent) else None
            if key is None:
                raise _bad("a key that is no text", event)
            if key in home:
                raise _bad(f"the key {key[:80]!r} is given twice", event)
            waiting.append(key)

    def _scalar(self, event: Any) -> bool | str | None:
        text: str = event.value
        if event.tag is not None and event.tag not in _TEXT:
            raise _bad("tags are not read", event)
        if not self._typed or event.tag is not None or not event.implicit[0]:
            return text
        word = text.lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        return None if text in _NULL else text


def _bad(why: str, event: Any) -> YamlError:
    return YamlError(why, event.start_mark.line + 1)
