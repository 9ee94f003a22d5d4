"""What a rule is, and what it says.

A rule is a function that looks at a `Subject` and yields (path, text) for every fault, under
`@rule(...)`, which keeps its name, reason and remedy beside it: docs/checks.md is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from tmplbuild.checks.subject import Family, Subject

Severity = Literal["error", "warning"]
Faults = Iterator[tuple[str, str]]
Look = Callable[[Subject], Faults]


@dataclass(frozen=True, slots=True)
class Rule:
    """A named rule.

    `id` is what waivers name (kebab-case); `text` says in one line what it wants of a tree;
    `why` the harm it does, `fix` the remedy. `families`: the rule is for trees that belong to one
    of them (none: for all).
    """

    id: str
    text: str
    why: str
    fix: str
    severity: Severity
    families: tuple[Family, ...]
    look: Look


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: the rule's id and severity, the path it is about, and what is wrong there."""

    rule: str
    severity: Severity
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.rule}: {printable(self.path)}: {printable(self.text)}"


def rule(
    id: str,  # noqa: A002 (a rule's id is its id)
    text: str,
    *,
    why: str,
    fix: str,
    severity: Severity = "error",
    families: tuple[Family, ...] = (),
) -> Callable[[Look], Rule]:
    """Make a rule of a function."""
    return lambda look: Rule(id, text, why, fix, severity, families, look)


def printable(text: str) -> str:
    """Text of a tree, safe for a terminal and for JSON: control characters and bytes that are no
    UTF-8 become escapes."""
    return "".join(_shown(sign) for sign in text)


def _shown(sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":
        return f"\\x{ord(sign) - 0xDC00:02x}"
    return sign if sign.isprintable() else sign.encode("unicode_escape", "replace").decode()
