"""One file in its versions, and who made the one in use what it is."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import Literal

from tmplbuild.core.tree import Tree
from tmplbuild.leftovers.facts import Config
from tmplbuild.leftovers.intent import Intent

Cause = Literal["nobody", "recipe", "script", "recipe and script", "unknown"]
"""Who changed the file since its package delivered it. `script`: a package's script, a command of
the recipe, or a program that ran in the tree."""


@dataclass(frozen=True, slots=True)
class File:
    """A file as it lies in a tree: `data` is the content of a regular one, else None; `link` a
    symbolic link's target."""

    mode: int
    uid: int
    gid: int
    data: bytes | None = None
    link: str = ""

    @property
    def attributes(self) -> tuple[int, int, int]:
        """Permission bits, owner, group."""
        return self.mode, self.uid, self.gid

    @property
    def sha256(self) -> str:
        """Of the content, "" for what is no regular file."""
        return hashlib.sha256(self.data).hexdigest() if self.data is not None else ""

    def holds_the_same(self, other: File | None) -> bool:
        """Whether the other is of the same kind and content."""
        if other is None or (self.data is None and not self.link):
            return False
        return (self.data, self.link) == (other.data, other.link)


def look(tree: Tree, path: str) -> File | None:
    """The file at `path` itself (a link is not followed), None where there is none. Raises OSError."""
    state = tree.lstat(path)
    if state is None:
        return None
    attributes = stat.S_IMODE(state.st_mode), state.st_uid, state.st_gid
    if stat.S_ISREG(state.st_mode):
        return File(*attributes, data=tree.read_bytes(path))
    link = os.fspath(tree.readlink(path)) if stat.S_ISLNK(state.st_mode) else ""
    return File(*attributes, link=link)


@dataclass(frozen=True, slots=True)
class Versions:
    """One configuration file through time.

    Parameters:
        pristine: after its package was installed, before the recipe touched it.
        before: right before the upgrade.
        mine: what the template had in use (with a new side: the file itself; with an old side: what
            was put aside).
        new: what the package brought.
        config: what the old package database said of it, None where it was no configuration.
    """

    pristine: File | None
    before: File | None
    mine: File | None
    new: File | None
    config: Config | None

    @property
    def base(self) -> bytes | None:
        """The old package's own content; None when it is not known for sure what that was."""
        if self.pristine is None or self.pristine.data is None or self.config is None:
            return None
        return None if self.config.is_pristine(self.pristine.data) is False else self.pristine.data

    @property
    def is_first(self) -> bool:
        """Whether the file was there before any package had it."""
        return self.config is None and self.before is not None


def cause_of(path: str, versions: Versions, intent: Intent) -> Cause:
    """Who made the file in use differ from what its package delivered."""
    mine, base = versions.mine, versions.base
    if intent.writes(path):
        return "recipe"
    if mine is None or mine.data is None:
        return "recipe" if intent.removes(path) else "unknown"
    edits = path in intent.edits
    if base is None:
        known_changed = versions.config is not None and versions.config.is_pristine(mine.data) is False
        if edits:
            return "recipe"
        return "script" if known_changed else "unknown"
    if mine.data == base:
        return "nobody"
    if edits and mine.data == intent.edit(path, base):
        return "recipe"
    return "recipe and script" if edits and intent.edit(path, base) != base else "script"
