"""A workshop that builds one recipe from a stand-in's archive, and what came of it."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

from tests.workshop import Run, Workshop


class StandinShop:
    """Parameters:
    name: the recipe's; the template is called so too, with x86_64 behind.
    recipes: the directory of recipes that pin the stand-in's keys.
    mirror: as --mirror takes it.
    """

    def __init__(self, place: Path, packages: Path, name: str, recipes: Path, mirror: str) -> None:
        self.shop = Workshop(place / "shop", packages)
        self._name = name
        self._template = f"{name}-x86_64"
        self._options = ("--recipes", str(recipes), "--mirror", mirror)
        self.shop.first = self.build()

    @property
    def file(self) -> Path:
        """The packed template."""
        return self.shop.templates / f"{self._template}.tar.gz"

    @property
    def identity(self) -> tuple[int, int]:
        """Other for each template that is put in place."""
        state = os.stat(self.file)
        return state.st_ino, state.st_mtime_ns

    def build(self, *words: str, ok: bool = True) -> Run:
        """Build it, or bring it up to date."""
        return self.shop.build(self._name, *self._options, *words, ok=ok)

    def versions(self) -> dict[str, str]:
        """The version of each package, by the manifest."""
        manifest = json.loads((self.shop.templates / f"{self._template}.manifest.json").read_text())
        return {row["name"]: row["version"] for row in manifest["packages"]}

    def members(self) -> dict[str, tarfile.TarInfo]:
        """What the template holds, by name ("./etc/motd")."""
        with tarfile.open(self.file) as tar:
            return {member.name: member for member in tar}

    def text(self, name: str) -> str:
        """What a file of the template holds."""
        with tarfile.open(self.file) as tar:
            file = tar.extractfile(name)
            assert file is not None
            return file.read().decode()
