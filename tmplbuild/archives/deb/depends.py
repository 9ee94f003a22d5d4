"""Relations between packages, deb-control fields Depends, Conflicts, Provides and their kin.

Debian Policy 7.1: groups are parted by commas, alternatives by `|`; each may carry an architecture
qualifier (`:any`, `:native`, `:amd64`) and a version in brackets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_RELATION = re.compile(
    r"""\s*(?P<name>[^\s:()\[\]|,<>]+)
        (?::(?P<arch>[^\s()\[\]|,]+))?
        \s*(?:\(\s*(?P<op><<|<=|>=|>>|=|<|>)\s*(?P<version>[^\s()<>=]+)\s*\))?
        \s*(?:\[[^\]]*\]\s*)?\Z""",
    re.VERBOSE,
)
# "<" and ">" are old spellings of "<=" and ">=" (deb-control(5))
_OLD = {"<": "<=", ">": ">="}


@dataclass(frozen=True, slots=True)
class Relation:
    """One alternative: a package name, an architecture qualifier and a version bound ("" for none)."""

    name: str
    arch: str = ""
    op: str = ""
    version: str = ""

    def __str__(self) -> str:
        name = f"{self.name}:{self.arch}" if self.arch else self.name
        return f"{name} ({self.op} {self.version})" if self.op else name


Group = tuple[Relation, ...]


def text(group: Group) -> str:
    """A group as it stands in a control file."""
    return " | ".join(str(relation) for relation in group)


@lru_cache(maxsize=8192)
def parse(field: str) -> tuple[Group, ...]:
    """The groups of a relation field; alternatives of a group in the order written.

    Raises ValueError for what is no relation.
    """
    return tuple(
        tuple(_relation(alternative) for alternative in part.split("|"))
        for part in field.split(",")
        if part.strip()
    )


def _relation(raw: str) -> Relation:
    found = _RELATION.match(raw)
    if found is None:
        raise ValueError(f"not a package relation: {raw.strip()!r}")
    op = found["op"] or ""
    return Relation(found["name"], found["arch"] or "", _OLD.get(op, op), found["version"] or "")
