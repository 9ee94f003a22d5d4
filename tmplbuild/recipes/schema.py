"""The JSON Schema of a recipe file, for editors (https://json-schema.org/draft/2020-12/schema).

A file is not a whole recipe: what its parent gives may be left out, and lists may be edited by `add`
and `drop`. So nothing is required here; `tmplbuild recipe lint` sees the whole.
"""

from __future__ import annotations

from typing import Any, get_args, get_origin

import msgspec

from tmplbuild.recipes import docs
from tmplbuild.recipes.additions import Feature
from tmplbuild.recipes.kinds import Section
from tmplbuild.recipes.model import Recipe
from tmplbuild.recipes.validate import bare

_ITEMS = ("File", "Edit")
"""Tables that are written whole: they are not merged with a parent's."""


def schema() -> dict[str, Any]:
    """The schema as plain tables; the same bytes for the same model."""
    made: dict[str, Any] = msgspec.json.schema(Recipe)
    made["$defs"] |= msgspec.json.schema(Feature)["$defs"]
    sections = {kind.__name__: kind for kind in [*_sections(Recipe), *_sections(Feature)]}
    for name, table in made["$defs"].items():
        _describe(table, sections[name])
        if name not in _ITEMS:
            table.pop("required", None)
            _allow_edits(table)
    recipe = made["$defs"]["Recipe"]
    extends = {"type": "string", "description": 'The parent, below the directory of recipes: "debian/_base".'}
    features = {
        "type": "array",
        "items": {"type": "string"},
        "description": 'Features laid between the parent and this file: "ssh" is _features/ssh.toml.',
    }
    feature = {
        "$ref": "#/$defs/Feature",
        "description": "Of a file _features/NAME.toml: what it says of itself.",
    }
    recipe["properties"] = {
        "extends": extends,
        "features": features,
        "feature": feature,
        **recipe["properties"],
    }
    recipe["properties"]["archives"].pop("minProperties", None)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A recipe of tmplbuild"}
    return head | made


def _sections(kind: Any) -> list[type[Section]]:
    """A section's type and those of all sections below it."""
    inner = bare(kind)
    if isinstance(inner, type) and issubclass(inner, Section):
        below = [found for field in msgspec.structs.fields(inner) for found in _sections(field.type)]
        return [inner, *below]
    if get_origin(inner) in (dict, tuple):
        return [found for part in get_args(inner) if part is not Ellipsis for found in _sections(part)]
    return []


def _describe(table: dict[str, Any], kind: type[Section]) -> None:
    table["description"] = docs.summary(kind)
    for key, text in docs.keys(kind).items():
        old = table["properties"][key].get("description")
        table["properties"][key]["description"] = f"{text} ({old})" if old else text
        # A default that the parent may overrule is no default of the file.
        table["properties"][key].pop("default", None)


def _allow_edits(table: dict[str, Any]) -> None:
    lists = {key: item for key, item in table["properties"].items() if item.get("type") == "array"}
    tables = [key for key, item in table["properties"].items() if "additionalProperties" in item]
    if not lists and not tables:
        return
    added = {key: {"type": "array", "items": item["items"]} for key, item in lists.items()}
    dropped = added | {key: {"type": "array", "items": {"type": "string"}} for key in tables}
    for word, properties, text in (
        ("add", added, "Items added at the end of inherited lists."),
        ("drop", dropped, "Items taken from inherited lists, or keys from inherited tables."),
    ):
        if properties:
            table["properties"][word] = {
                "type": "object",
                "description": text,
                "properties": properties,
                "additionalProperties": False,
            }
