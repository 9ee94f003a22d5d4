"""What the recipe does to files, so that it can be done again on a package's new version."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Edited = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Intent:
    """The recipe's word on files of the tree.

    Parameters:
        files: paths that the recipe writes whole and can write again.
        written: patterns of further paths that are written whole.
        edits: by path, what is done to its text, all rules in order. Doing it twice must be the
            same as doing it once.
        removed: patterns of paths that the recipe takes out.

    Patterns are the recipe's: `*`, `?`, `[..]` within a name, `**` for any depth.
    """

    files: frozenset[str] = frozenset()
    written: tuple[str, ...] = ()
    edits: Mapping[str, Edited] = field(default_factory=dict)
    removed: tuple[str, ...] = ()

    def writes(self, path: str) -> bool:
        """Whether the recipe gives this file its whole content."""
        return path in self.files or matches(path, self.written)

    def edit(self, path: str, text: bytes) -> bytes:
        """The text with the recipe's changes to lines made."""
        change = self.edits.get(path)
        if change is None:
            return text
        return change(text.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def removes(self, path: str) -> bool:
        """Whether the recipe takes this file, or a directory above it, out."""
        parts = path.split("/")
        return any(matches("/".join(parts[:count]), self.removed) for count in range(2, len(parts) + 1))


def matches(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether a path of the tree is among those that the patterns name (see `Tree.glob`)."""
    parts = path.strip("/").split("/")
    return any(_matches(parts, pattern.strip("/").split("/")) for pattern in patterns)


def _matches(parts: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not parts
    head, rest = pattern[0], pattern[1:]
    if head == "**":
        return any(_matches(parts[count:], rest) for count in range(len(parts) + 1))
    if not parts or not fnmatch.fnmatchcase(parts[0], head):
        return False
    return (parts[0][0] != "." or head[0] == ".") and _matches(parts[1:], rest)
