"""Changes to a VE's files, thought out before anything is touched.

A `Draft` shows a tree as it will be: writers read from it and write to it, and see what those before
them wrote. What comes of it is written into a stopped tree, or handed as one shell script to a VE
that runs; the writers need not know which.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass

from tmplbuild.core.tree import Tree
from tmplbuild.errors import StageError


@dataclass(frozen=True, slots=True)
class File:
    """A file's new content. `mode`: permission bits; None keeps those of the old file (else 0644)."""

    text: str
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str


Change = File | Link | None
"""What a path becomes; None: it is removed."""


class Draft:
    """A tree with changes that were not made yet.

    Parameters:
        tree: the files as they are; only read.
        after: changes that will have been made by then; they are seen, and made once more.

    Attributes:
        changes: by path, in order.
        commands: shell commands that a running VE needs afterwards, in order.
        notes: what could not be done, for a person.
    """

    def __init__(self, tree: Tree, after: Draft | None = None) -> None:
        self._tree = tree
        self.changes: dict[str, Change] = dict(after.changes) if after else {}
        self.commands: list[str] = []
        self.notes: list[str] = []

    # -- looking ---------------------------------------------------------------------------------

    def text(self, path: str) -> str | None:
        """The content of a regular file, or None. Links are followed inside the tree."""
        if path in self.changes:
            change = self.changes[path]
            return change.text if isinstance(change, File) else None
        try:
            return self._tree.read_text(path)
        except OSError:
            return None

    def exists(self, path: str) -> bool:
        """Whether a path is or leads to something."""
        return self.changes[path] is not None if path in self.changes else self._tree.exists(path)

    def is_dir(self, path: str) -> bool:
        """Whether a path leads to a directory; one that would be made for a new file counts."""
        return self._tree.is_dir(path) or any(
            change is not None and known.startswith(path.rstrip("/") + "/")
            for known, change in self.changes.items()
        )

    def is_program(self, *paths: str) -> bool:
        """Whether one of the paths is a program."""
        states = (self._tree.stat(path) for path in paths)
        return any(
            state is not None and stat.S_ISREG(state.st_mode) and state.st_mode & 0o111 for state in states
        )

    def link(self, path: str) -> str | None:
        """Where a link points, None for what is none."""
        if path in self.changes:
            change = self.changes[path]
            return change.target if isinstance(change, Link) else None
        return self._tree.readlink(path) if self._tree.is_link(path) else None

    def names(self, folder: str) -> list[str]:
        """The sorted names in a directory."""
        found = set(self._tree.listdir(folder))
        for path, change in self.changes.items():
            if os.path.dirname(path) == folder.rstrip("/"):
                name = os.path.basename(path)
                found.discard(name) if change is None else found.add(name)
        return sorted(found)

    # -- changing --------------------------------------------------------------------------------

    def write(self, path: str, text: str, mode: int | None = None) -> None:
        """Give a file a content. One that has it already is left alone; a link is replaced."""
        if path not in self.changes and not self._tree.is_link(path) and self.text(path) == text:
            state = self._tree.lstat(path)
            if mode is None or (state is not None and stat.S_IMODE(state.st_mode) == mode):
                return
        self.changes[path] = File(text, mode)

    def symlink(self, target: str, path: str) -> None:
        """Make a link."""
        if self.link(path) != target:
            self.changes[path] = Link(target)

    def remove(self, path: str) -> None:
        """Remove a file or a link."""
        if path in self.changes or self._tree.lstat(path) is not None:
            self.changes[path] = None

    def assign(self, path: str, values: Mapping[str, str | None]) -> None:
        """Set variables of a file in the shell's form, all else kept; None takes one away."""
        from tmplbuild.vzconf import edited

        before = self.text(path) or ""
        after = edited(before, values)
        if after != before:
            self.write(path, after)

    def block(self, path: str, text: str, mode: int | None = None) -> None:
        """Put our part into a file that is others' too, between two lines that mark it; "" takes it out."""
        before = self.text(path)
        if before is None and not text:
            return
        after = re.sub(rf"(?ms)^{re.escape(BEGIN)}\n.*?^{re.escape(END)}\n", "", before or "")
        if text:
            after = (after if not after or after.endswith("\n") else after + "\n") + f"{BEGIN}\n{text}{END}\n"
        if after != before:
            self.write(path, after, mode)

    def run(self, command: str) -> None:
        """Have a running VE do something once the files are written."""
        self.commands.append(command)


BEGIN = "# venet0: written by tmplbuild, do not edit"
END = "# end of venet0"


def write_into(draft: Draft, tree: Tree) -> list[str]:
    """Make a draft's changes in a stopped VE's tree. Returns the paths that changed.

    Raises StageError when the tree refuses one.
    """
    for path, change in draft.changes.items():
        try:
            if change is None:
                tree.remove(path)
            elif isinstance(change, Link):
                tree.symlink(change.target, path)
            else:
                tree.write(path, change.text, mode=change.mode)
        except OSError as error:
            raise StageError("a file of the VE cannot be written", where=path, why=str(error)) from error
    return list(draft.changes)


_FUNCTIONS = """\
set -e
new() { d=${1%/*}; [ -d "${d:-/}" ] || mkdir -p "$d"; t="$d/.${1##*/}.tmplbuild-new"; rm -f "$t"; }
file() {
    new "$1"
    if [ -f "$1" ] && [ ! -L "$1" ]; then cp -p "$1" "$t"; cat > "$t"; [ -z "$2" ] || chmod "$2" "$t"
    else (umask 077; cat > "$t"); chmod "${2:-644}" "$t"; fi
    mv -f "$t" "$1"
}
link() { new "$2"; ln -s "$1" "$t"; mv -f "$t" "$2"; }
"""


def as_script(draft: Draft) -> bytes:
    """A draft as a script for a POSIX shell in the VE: every file by rename, then the commands."""
    lines = [_FUNCTIONS]
    for path, change in draft.changes.items():
        name = shlex.quote(path)
        if change is None:
            lines.append(f"rm -rf {name}\n")
        elif isinstance(change, Link):
            lines.append(f"link {shlex.quote(change.target)} {name}\n")
        else:
            mode = "''" if change.mode is None else f"{change.mode:o}"
            end = _end_of(change.text)
            lines.append(f"file {name} {mode} <<'{end}'\n{_lines(change.text)}{end}\n")
    lines += [f"{command}\n" for command in draft.commands]
    return "".join(lines).encode("utf-8", "surrogateescape")


def _lines(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _end_of(text: str) -> str:
    """A word that is no line of the text."""
    word = "END"
    while word in text:
        word += "_"
    return word
