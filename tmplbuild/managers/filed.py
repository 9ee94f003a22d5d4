"""What tables of package managers share whose database is files: packages, owners, lines of their output."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from tmplbuild.core.tree import Tree
from tmplbuild.managers import Installed, Place
from tmplbuild.managers.dpkg import RealPaths


class Filed(Protocol):
    """A package of such a database; `files` are its paths."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def arch(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def files(self) -> Collection[str]: ...


Read = Callable[[Tree], Sequence[Filed]]


def installed(read: Read) -> Callable[[Place], list[Installed]]:
    """What a table has as `installed`, out of what reads the database."""

    def found(place: Place) -> list[Installed]:
        with place.tree() as tree:
            return [Installed(one.name, one.version, one.arch, one.source) for one in read(tree)]

    return found


def owners(read: Read) -> Callable[[Place], dict[str, str]]:
    """What a table has as `owners`."""

    of_tree = listed(read)

    def found(place: Place) -> dict[str, str]:
        with place.tree() as tree:
            return of_tree(tree)

    return found


def listed(read: Read) -> Callable[[Tree], dict[str, str]]:
    """What a table has as `listed`."""

    def found(tree: Tree) -> dict[str, str]:
        real = RealPaths(tree)
        return {real(path): one.name for one in read(tree) for path in one.files}

    return found


def lines(pattern: re.Pattern[bytes], said: bytes) -> str:
    """The parts of an output that match, each once, a line each."""
    found = [match.group().decode("utf-8", "replace").strip() for match in pattern.finditer(said)]
    return "\n".join(dict.fromkeys(found))
