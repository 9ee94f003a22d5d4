"""Frozen dataclasses as JSON and back: strict, and with every fault told at once.

Fields are texts, numbers, booleans, dataclasses, tuples of one of these (`tuple[X, ...]`), or any of
them or None. What has its default need not be in the JSON.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from typing import Any


def plain(value: Any) -> Any:
    """A dataclass as dictionaries and lists; what is None is left out."""
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    if dataclasses.is_dataclass(value):
        return {
            name: plain(found)
            for name in _names(value.__class__)
            if (found := getattr(value, name)) is not None
        }
    return value


def decode(value: Any, wanted: Any, where: str, faults: list[str]) -> Any:
    """`value` (from JSON) as the annotated type `wanted`.

    Parameters:
        where: the key path of the value, for messages ("" for the whole).
        faults: what does not fit is added here, a line each; the result is then of no use.
    """
    if isinstance(wanted, types.UnionType) and any(map(_is_nested, typing.get_args(wanted))):
        if value is None:
            return None
        (wanted,) = filter(_is_nested, typing.get_args(wanted))
    if dataclasses.is_dataclass(wanted):
        return _decode_object(value, wanted, where, faults)
    if typing.get_origin(wanted) is tuple:
        item = typing.get_args(wanted)[0]
        if isinstance(value, list):
            return tuple(decode(one, item, f"{where}[{at}]", faults) for at, one in enumerate(value))
        faults.append(f"{where}: a list was expected")
        return ()
    if wanted is float and type(value) is int:  # JSON has one kind of numbers
        return float(value)
    choices = typing.get_args(wanted) if isinstance(wanted, types.UnionType) else (wanted,)
    if type(value) not in choices:
        faults.append(f"{where}: {choices[0].__name__} was expected, it is {type(value).__name__}")
    elif value.__class__ is int and value < 0:
        faults.append(f"{where}: it is negative")
    return value


def _decode_object(value: Any, wanted: Any, where: str, faults: list[str]) -> Any:
    prefix = f"{where}." if where else ""
    if not isinstance(value, dict):
        faults.append(f"{where or 'the whole'}: a table was expected")
        return None
    hints = _hints(wanted)
    faults += [f"{prefix}{key}: unknown" for key in sorted(value.keys() - hints.keys())]
    filled = {}
    incomplete = False
    for one in dataclasses.fields(wanted):
        if one.name in value:
            filled[one.name] = decode(value[one.name], hints[one.name], prefix + one.name, faults)
        elif one.default is dataclasses.MISSING:
            faults.append(f"{prefix}{one.name}: missing")
            incomplete = True
    return None if incomplete else wanted(**filled)


def _is_nested(wanted: Any) -> bool:
    return dataclasses.is_dataclass(wanted) or typing.get_origin(wanted) is tuple


@functools.cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(one.name for one in dataclasses.fields(kind))


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)
