"""A merged recipe held against the types of `model`, every fault collected.

msgspec's own decoder stops at the first fault; here each table is walked field by field, and msgspec
is asked about single values only.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from tmplbuild.recipes.kinds import Section
from tmplbuild.tomlfile import Fault, KeyPath, Node, did_you_mean, quote, quote_key, spell

fields_of = functools.cache(msgspec.structs.fields)
"""The fields of a section; msgspec itself works them out anew each time."""


def faults_of(node: Node, kind: Any, path: KeyPath = ()) -> Iterator[Fault]:
    """What is wrong with `node` as a value of the type `kind`, all of it."""
    inner = bare(kind)
    if isinstance(inner, type) and issubclass(inner, Section):
        yield from _section(node, inner, path)
    elif get_origin(inner) is tuple:
        yield from _items(node, kind, path)
    elif get_origin(inner) is dict:
        yield from _table(node, kind, path)
    elif not _converts(node, kind):
        yield Fault(node.place, spell(path), f"expected {wanted(kind)}, found {found(node)}")


def free_text(node: Node, kind: Any) -> Iterator[int]:
    """`id()` of every node below that is free text: braces in it are no placeholders."""
    inner = bare(kind)
    if is_free(kind):
        yield id(node)
    elif isinstance(node.value, dict) and isinstance(inner, type) and issubclass(inner, Section):
        for field in fields_of(inner):
            if field.encode_name in node.value:
                yield from free_text(node.value[field.encode_name], field.type)
    elif isinstance(node.value, dict) and get_origin(inner) is dict:
        for item in node.value.values():
            yield from free_text(item, get_args(inner)[1])
    elif isinstance(node.value, list) and get_origin(inner) is tuple:
        for item in node.value:
            yield from free_text(item, get_args(inner)[0])


def bare(kind: Any) -> Any:
    """A type without `Annotated` and without `| None`."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif get_origin(kind) in (Union, types.UnionType):
            choices = [choice for choice in get_args(kind) if choice is not type(None)]
            if len(choices) != 1:
                return kind
            kind = choices[0]
        else:
            return kind


def metas(kind: Any) -> Iterator[msgspec.Meta]:
    """The constraints on a type, the outermost first."""
    if get_origin(kind) is Annotated:
        yield from (meta for meta in get_args(kind)[1:] if isinstance(meta, msgspec.Meta))
        yield from metas(get_args(kind)[0])
    elif get_origin(kind) in (Union, types.UnionType):
        for choice in get_args(kind):
            yield from metas(choice)


def is_free(kind: Any) -> bool:
    """True for free text, in which braces are no placeholders."""
    return any((meta.extra or {}).get("braces") for meta in metas(kind))


def wanted(kind: Any) -> str:
    """In words, what values a type has."""
    inner = bare(kind)
    if get_origin(inner) is Literal:
        choices = [quote(str(choice)) for choice in get_args(inner)]
        return choices[0] if len(choices) == 1 else "one of " + ", ".join(choices)
    if get_origin(inner) is tuple:
        return _list(get_args(inner)[0])
    if get_origin(inner) is dict or (isinstance(inner, type) and issubclass(inner, Section)):
        return "a table"
    for meta in metas(kind):
        if meta.description and (meta.pattern or inner is not int):
            return meta.description
    words = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}
    return words.get(inner, "a date such as 2028-06-30") + "".join(_bounds(kind))


def found(node: Node) -> str:
    """In words, what a value is, as TOML spells it."""
    value = node.value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return quote(value if len(value) <= 60 else value[:57] + "...")
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list) else str(value)


def _section(node: Node, kind: type[Section], path: KeyPath) -> Iterator[Fault]:
    if not isinstance(node.value, dict):
        yield Fault(node.place, spell(path), f"expected a table, found {found(node)}")
        return
    fields = {field.encode_name: field for field in fields_of(kind)}
    for key, item in node.value.items():
        if key in fields:
            yield from faults_of(item, fields[key].type, (*path, key))
        else:
            known = ", ".join(name for name in fields if name not in node.value)
            hint = did_you_mean(key, fields) or (f"there are {known}" if known else "")
            yield Fault(item.place, spell((*path, key)), "unknown key", hint)
    for name, field in fields.items():
        if field.required and name not in node.value:
            yield Fault(node.place, spell((*path, name)), "missing", f"expected {wanted(field.type)}")


def _items(node: Node, kind: Any, path: KeyPath) -> Iterator[Fault]:
    if not isinstance(node.value, list):
        yield Fault(node.place, spell(path), f"expected {wanted(kind)}, found {found(node)}")
        return
    if any(len(node.value) < (meta.min_length or 0) for meta in metas(kind)):
        yield Fault(node.place, spell(path), "expected at least one item")
    for index, item in enumerate(node.value):
        yield from faults_of(item, get_args(bare(kind))[0], (*path, index))


def _table(node: Node, kind: Any, path: KeyPath) -> Iterator[Fault]:
    if not isinstance(node.value, dict):
        yield Fault(node.place, spell(path), f"expected a table, found {found(node)}")
        return
    if any(len(node.value) < (meta.min_length or 0) for meta in metas(kind)):
        yield Fault(node.place, spell(path), "expected at least one entry")
    key_kind, value_kind = get_args(bare(kind))
    for key, item in node.value.items():
        if not _converts(Node(key, item.place), key_kind):
            yield Fault(
                item.place, spell((*path, key)), f"expected {wanted(key_kind)}, found {quote_key(key)}"
            )
        yield from faults_of(item, value_kind, (*path, key))


def _converts(node: Node, kind: Any) -> bool:
    try:
        msgspec.convert(node.plain(), kind)
    except msgspec.ValidationError:
        return False
    return True


def _bounds(kind: Any) -> Iterator[str]:
    for meta in metas(kind):
        if meta.ge is not None:
            yield f" of at least {meta.ge:g}"
        if meta.le is not None:
            yield f" and at most {meta.le:g}"
        if meta.gt is not None:
            yield f" above {meta.gt:g}"
        if meta.pattern:
            yield f" that matches {meta.pattern}"


def _list(kind: Any) -> str:
    inner = bare(kind)
    if isinstance(inner, type) and issubclass(inner, Section):
        return "a list of tables"
    if get_origin(inner) is tuple:
        return "a list of lists"
    described = next((meta.description for meta in metas(kind) if meta.description), "")
    return f"a list; each {described}" if described else "a list of strings"
