"""Slackware's package database, read as files: a list a package, called NAME-VERSION-ARCH-BUILD.

The files of a package stand after the words "FILE LIST:". One that it ships as NAME.new is the configuration
NAME, which is never a package's file itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

PLACES = ("/var/lib/pkgtools/packages", "/var/log/packages")


class Reads(Protocol):
    """What the database is read through: a tree, or a view of a tarball."""

    def is_dir(self, path: str, /) -> bool: ...
    def is_link(self, path: str, /) -> bool: ...
    def is_file(self, path: str, /) -> bool: ...
    def listdir(self, path: str, /) -> list[str]: ...
    def read_text(self, path: str, /) -> str: ...


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package; `version` has the build with it. `configs` are those that came as NAME.new."""

    name: str
    version: str
    arch: str
    files: tuple[str, ...]
    configs: tuple[str, ...]

    @property
    def source(self) -> str:
        """The name of what it is made of, which is the same."""
        return self.name


def packages(files: Reads) -> list[Package]:
    """All packages, by name; none where there is no database."""
    place = next((one for one in PLACES if files.is_dir(one)), "")
    found = []
    for entry in files.listdir(place) if place else ():
        parts = entry.rsplit("-", 3)
        if len(parts) == 4 and files.is_file(f"{place}/{entry}"):
            paths = _listed(files.read_text(f"{place}/{entry}"))
            plain = tuple(path for path in paths if not path.endswith(".new"))
            configs = tuple(path.removesuffix(".new") for path in paths if path.endswith(".new"))
            found.append(Package(parts[0], f"{parts[1]}-{parts[3]}", parts[2], plain, configs))
    return sorted(found, key=lambda one: one.name)


def _listed(text: str) -> list[str]:
    _, _, listed = text.partition("\nFILE LIST:\n")
    rows = (line.removeprefix("./") for line in listed.split("\n"))
    return [f"/{row}" for row in rows if row and not row.endswith("/") and not row.startswith("install/")]
