"""A recipe as text: flattened, its defaults included, each value with the place that it comes from.

The text is itself a recipe: loaded again, it gives the same.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from tmplbuild.recipes.chain import FEATURES
from tmplbuild.recipes.kinds import Section
from tmplbuild.recipes.load import LoadedRecipe
from tmplbuild.recipes.model import Archive
from tmplbuild.tomlfile import KeyPath, Place, quote, quote_key, spell

_LINE = 100


def show(loaded: LoadedRecipe, *, origin: bool = False) -> str:
    """The recipe as TOML.

    Parameters:
        origin: end each line with a comment: the file and line that the value comes from, or "default".
    """
    notes = _Notes(loaded.origin, loaded.chain) if origin else None
    head = f"# {loaded.name} for {loaded.arch}"
    if loaded.features:
        head += f"; features: {', '.join(loaded.features)}"
    return "\n".join([head, *_table(_plain(loaded.recipe), (), notes)]).rstrip("\n") + "\n"


class _Notes:
    """The comments: where each value comes from, files named below the directory of recipes."""

    def __init__(self, origin: Mapping[str, Place], chain: tuple[Path, ...]) -> None:
        self.origin = origin
        self.names = {path: _below_its_root(path) for path in chain}

    def of(self, path: KeyPath) -> str:
        place = self.origin.get(spell(path))
        return f"{self.names.get(place.file, place.file)}:{place.line}" if place else "default"


def _below_its_root(path: Path) -> str:
    """debian/12.toml, debian/_features/ssh.toml."""
    return "/".join(path.parts[-3:] if path.parent.name == FEATURES else path.parts[-2:])


def _plain(section: Section, *, whole: bool = True) -> dict[str, object]:
    """The keys in the model's order; of single files and edits only those that say something."""
    table: dict[str, object] = {}
    for field in msgspec.structs.fields(section):
        value = getattr(section, field.name)
        if value is not None and (whole or value != field.default):
            table[field.encode_name] = _value(value)
    return table


def _value(value: object) -> object:
    if isinstance(value, Section):
        return _plain(value)
    if isinstance(value, dict):
        return {
            key: _value(item) if isinstance(item, Archive) else _item(item) for key, item in value.items()
        }
    return [_item(item) for item in value] if isinstance(value, tuple) else value


def _item(value: object) -> object:
    return _plain(value, whole=False) if isinstance(value, Section) else _value(value)


def _table(table: Mapping[str, object], path: KeyPath, notes: _Notes | None) -> Iterator[str]:
    """The table's own values, then its tables, each below its header."""
    below = {
        key: value for key, value in table.items() if isinstance(value, dict) and not _short(value, path)
    }
    for key, value in table.items():
        if key not in below:
            yield from _pair(key, value, (*path, key), notes)
    for key, value in below.items():
        here = (*path, key)
        if not value or any(not isinstance(item, dict) or _short(item, here) for item in value.values()):
            yield ""
            yield f"[{spell(here)}]"
        yield from _table(value, here, notes)


def _short(value: Mapping[str, object], path: KeyPath) -> bool:
    """True for a table that reads well on one line."""
    if not value or not path or any(isinstance(item, dict | list) for item in value.values()):
        return False
    line = _inline(value)
    return len(line) <= 60 and "\\n" not in line and len(path) > 1


def _pair(key: str, value: object, path: KeyPath, notes: _Notes | None) -> Iterator[str]:
    name = quote_key(key)
    if isinstance(value, str) and "\n" in value:
        body = "\n".join(quote(line)[1:-1] for line in value.split("\n"))
        if notes:
            yield _note(path, value, notes).lstrip()
        yield f'{name} = """\n{body}"""'
        return
    line = f"{name} = {_inline(value)}"
    if not isinstance(value, list) or (not notes and len(line) <= _LINE) or len(value) < 2:
        yield line + _note(path, value, notes)
        return
    yield f"{name} = ["
    for index, item in enumerate(value):
        yield f"  {_inline(item)}," + _note((*path, index), item, notes)
    yield "]"


def _note(path: KeyPath, value: object, notes: _Notes | None) -> str:
    if notes is None:
        return ""
    if isinstance(value, dict) and value:
        path = (*path, next(iter(value)))
    return f"  # {notes.of(path)}"


def _inline(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = "\\" in value and "'" not in value and value.isprintable()
        return f"'{value}'" if plain else quote(value)
    if isinstance(value, dict):
        pairs = ", ".join(f"{quote_key(key)} = {_inline(item)}" for key, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, datetime.date):
        return value.isoformat()
    return repr(value)
