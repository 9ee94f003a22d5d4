"""What the model's docstrings say, key by key: the one source of the schema and of docs/recipes.md."""

from __future__ import annotations

import inspect
import re

from tmplbuild.recipes.kinds import Section

_KEY = re.compile(r"^    (\w+): (.*)$")


def summary(kind: type[Section]) -> str:
    """What a section is, without its keys."""
    return (inspect.getdoc(kind) or "").partition("\n\nKeys:")[0]


def keys(kind: type[Section]) -> dict[str, str]:
    """What each key of a section is, in the section's own order."""
    found: dict[str, str] = {}
    name = ""
    for line in (inspect.getdoc(kind) or "").partition("\n\nKeys:\n")[2].splitlines():
        if start := _KEY.match(line):
            name, found[name] = start[1], start[2]
        elif name:
            found[name] += " " + line.strip()
    return {key: text.strip() for key, text in found.items()}
