"""What a foreign recipe becomes: changes to one of ours, and what could not be converted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tmplbuild.errors import UsageError
from tmplbuild.recipes.catalogue import entries
from tmplbuild.recipes.load import LoadedRecipe, load
from tmplbuild.recipes.model import File
from tmplbuild.tomlfile import quote


@dataclass(frozen=True, slots=True)
class Left:
    """A part of the foreign recipe that has no counterpart: where it stands, and what to do about it."""

    key: str
    why: str


@dataclass
class Draft:
    """A recipe in the making, which extends `parent`.

    `left` is what was not converted, in the order of the foreign file. The other fields are what the
    recipe's sections of that name get.
    """

    origin: Path
    parent: LoadedRecipe
    name: str = ""
    title: str = ""
    add: list[str] = field(default_factory=list)
    drop: list[str] = field(default_factory=list)
    purge: list[str] = field(default_factory=list)
    files: dict[str, File] = field(default_factory=dict)
    commands: list[list[str]] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)

    def leave(self, key: str, why: str) -> None:
        """Note what is not converted."""
        self.left.append(Left(key, why))

    def install(self, packages: Sequence[str]) -> None:
        """Packages that are to be there."""
        have = {*self.parent.recipe.install.packages, *self.parent.recipe.bootstrap.include}
        self.add += [name for name in dict.fromkeys(packages) if name not in have and name not in self.add]

    def uninstall(self, packages: Sequence[str]) -> None:
        """Packages that are to go: not installed where our recipe would, purged where another brings them."""
        for name in dict.fromkeys(packages):
            if name in self.parent.recipe.install.packages:
                self.drop.append(name)
            elif name not in self.parent.recipe.strip.purge:
                self.purge.append(name)

    def text(self) -> str:
        """The recipe's file."""
        parent = self.parent.path.resolve()
        lines = [f"# Made from {self.origin.name} by `tmplbuild recipe import`.", *self._left_lines()]
        lines += [f"extends = {quote(f'{parent.parent.name}/{parent.stem}')}", "", "[image]"]
        lines += [f"name = {quote(self.name)}"] if self.name else []
        lines += [f"title = {quote(self.title)}"] if self.title else []
        install = [*_edit("add.packages", self.add), *_edit("drop.packages", self.drop)]
        lines += ["", "[install]", *install] if install else []
        if self.commands:
            word = "add.commands" if self.parent.recipe.configure.commands else "commands"
            lines += ["", "[configure]", f"{word} = ["]
            lines += [f"  [{', '.join(map(_string, argv))}]," for argv in self.commands] + ["]"]
        for path, file in self.files.items():
            lines += ["", f"[configure.files.{quote(path)}]", *_file(file)]
        strip = self.parent.recipe.strip
        edits = [
            *_edit("add.purge" if strip.purge else "purge", self.purge),
            *_edit("add.remove" if strip.remove else "remove", self.remove),
        ]
        lines += ["", "[strip]", *edits] if edits else []
        return "\n".join(lines) + "\n"

    def _left_lines(self) -> list[str]:
        if not self.left:
            return []
        rows = [f"#   {row.key}: {row.why}".replace("\n", " ") for row in self.left]
        return ["# Not converted:", *rows]


def of_release(origin: Path, distro: str, release: str, roots: Sequence[Path]) -> LoadedRecipe:
    """The recipe of ours for a release, by its number or by its name in the archive.

    Raises UsageError where there is none.
    """
    known = [entry.name for entry in entries(roots)]
    for entry in entries(roots):
        if entry.path.parent.name == distro and re.fullmatch(r"[A-Za-z0-9.]+", entry.path.stem):  # no flavour
            found = load(entry.name, roots=roots)
            if release in (found.recipe.image.release, found.recipe.image.suite):
                return found
    raise UsageError(
        f"no recipe is for {distro} {release}",
        where=str(origin),
        hint=f"there are {', '.join(known)}; write one for the release first: it is one short file",
    )


def _edit(key: str, items: list[str]) -> list[str]:
    return [f"{key} = [{', '.join(map(quote, items))}]"] if items else []


def _file(file: File) -> list[str]:
    lines = [f"text = {_string(file.text)}"] if file.text is not None else []
    lines += [f"mode = {quote(file.mode)}"] if file.mode else []
    return lines + [f"{key} = {value}" for key, value in (("uid", file.uid), ("gid", file.gid)) if value]


def _string(text: str) -> str:
    """A string of TOML; several lines are several lines."""
    if "\n" not in text:
        return quote(text)
    return '"""\n' + "\n".join(quote(line)[1:-1] for line in text.split("\n")) + '"""'
