"""pacman's local database, read as files: which packages are installed, and which files are theirs.

/var/lib/pacman/local has a directory a package, NAME-VERSION-RELEASE: `desc` with sections as in a
repository's database, `files` with %FILES% and, for configuration, %BACKUP% (path, tab, MD5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

LOCAL = "/var/lib/pacman/local"


class Reads(Protocol):
    """What the database is read through: a tree, or a view of a tarball."""

    def is_file(self, path: str, /) -> bool: ...
    def listdir(self, path: str, /) -> list[str]: ...
    def read_text(self, path: str, /) -> str: ...


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package; `auto`: it was only pulled in. `backup` has the MD5 of configuration by path."""

    name: str
    version: str
    arch: str
    source: str
    auto: bool
    files: tuple[str, ...]
    backup: dict[str, str]


def packages(files: Reads) -> list[Package]:
    """All packages, by name; none where there is no database."""
    found = []
    for entry in files.listdir(LOCAL):
        parts = entry.rsplit("-", 2)
        if len(parts) == 3:
            found.append(_package(files, entry, parts[0], f"{parts[1]}-{parts[2]}"))
    return sorted(found, key=lambda one: one.name)


def _package(files: Reads, entry: str, name: str, version: str) -> Package:
    desc = _sections(files, f"{LOCAL}/{entry}/desc")
    listed = _sections(files, f"{LOCAL}/{entry}/files")
    backup = (row.partition("\t") for row in listed.get("BACKUP", []))
    return Package(
        name=name,
        version=version,
        arch="".join(desc.get("ARCH", [])[:1]),
        source="".join(desc.get("BASE", [])[:1]) or name,
        auto=desc.get("REASON") == ["1"],
        files=tuple(f"/{path}" for path in listed.get("FILES", []) if not path.endswith("/")),
        backup={f"/{path}": md5 for path, _, md5 in backup},
    )


def _sections(files: Reads, path: str) -> dict[str, list[str]]:
    text = files.read_text(path) if files.is_file(path) else ""
    found: dict[str, list[str]] = {}
    values: list[str] = []
    for line in text.split("\n"):
        if line.startswith("%") and line.endswith("%") and len(line) > 2:
            values = found.setdefault(line[1:-1], [])
        elif line:
            values.append(line)
    return found
