"""Two trees side by side: their packages, and the files of /etc. Used to tell how a template that was
upgraded differs from one that was built anew."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tmplbuild.core.tree import Tree


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a tree differs from another: names and paths, sorted.

    `other_versions` holds (name, version here, version there); `other_files` (path, what differs:
    "content", "mode", "owner", "kind", "target").
    """

    only_packages: tuple[str, ...] = ()
    missing_packages: tuple[str, ...] = ()
    other_versions: tuple[tuple[str, str, str], ...] = ()
    only_files: tuple[str, ...] = ()
    missing_files: tuple[str, ...] = ()
    other_files: tuple[tuple[str, str], ...] = ()

    def rows(self) -> tuple[str, ...]:
        """A line for each difference, "KIND: NAME"."""
        return (
            *(f"more packages: {name}" for name in self.only_packages),
            *(f"fewer packages: {name}" for name in self.missing_packages),
            *(f"other versions: {name} {here} (not {there})" for name, here, there in self.other_versions),
            *(f"more files: {path}" for path in self.only_files),
            *(f"fewer files: {path}" for path in self.missing_files),
            *(f"other files: {path} ({what})" for path, what in self.other_files),
        )


def compare_trees(
    tree: Tree,
    other: Tree,
    here: Mapping[str, str],
    there: Mapping[str, str],
    *,
    roots: Iterable[str] = ("/etc",),
) -> Comparison:
    """How `tree` differs from `other`.

    Parameters:
        here, there: version by name of the packages of the one and the other.
        roots: directories whose files are compared: kind, mode, owner, content or target. Times are not.
    """
    files, others = _states(tree, roots), _states(other, roots)
    return Comparison(
        only_packages=tuple(sorted(here.keys() - there.keys())),
        missing_packages=tuple(sorted(there.keys() - here.keys())),
        other_versions=tuple(
            (name, here[name], there[name])
            for name in sorted(here.keys() & there.keys())
            if here[name] != there[name]
        ),
        only_files=tuple(sorted(files.keys() - others.keys())),
        missing_files=tuple(sorted(others.keys() - files.keys())),
        other_files=tuple(
            (path, what)
            for path in sorted(files.keys() & others.keys())
            if (what := _difference(files[path], others[path]))
        ),
    )


@dataclass(frozen=True, slots=True)
class _State:
    kind: int
    mode: int
    owner: tuple[int, int]
    content: str


def _states(tree: Tree, roots: Iterable[str]) -> dict[str, _State]:
    found: dict[str, _State] = {}
    for root in roots:
        for path, state in tree.walk(root):
            content = ""
            if stat.S_ISREG(state.st_mode):
                content = hashlib.sha256(tree.read_bytes(path)).hexdigest()
            elif stat.S_ISLNK(state.st_mode):
                content = tree.readlink(path)
            found[path] = _State(
                stat.S_IFMT(state.st_mode),
                stat.S_IMODE(state.st_mode),
                (state.st_uid, state.st_gid),
                content,
            )
    return found


def _difference(one: _State, other: _State) -> str:
    if one.kind != other.kind:
        return "kind"
    if one.content != other.content:
        return "target" if stat.S_ISLNK(one.kind) else "content"
    if one.owner != other.owner:
        return "owner"
    return "mode" if one.mode != other.mode else ""
