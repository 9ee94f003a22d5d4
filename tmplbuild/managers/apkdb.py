"""apk's database, read as a file: which packages are installed, and which files are theirs.

/lib/apk/db/installed has a stanza a package: P: its name, V: its version, A: the architecture, o: the
source; F: a directory, R: a file in it, Z: the file's digest ("Q1" and the base64 of its SHA-1).
apk-index(5), apk-package(5).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

INSTALLED = "/lib/apk/db/installed"
WORLD = "/etc/apk/world"


class Reads(Protocol):
    """What the database is read through: a tree, or a view of a tarball."""

    def is_file(self, path: str, /) -> bool: ...
    def read_text(self, path: str, /) -> str: ...


@dataclass(slots=True)
class Package:
    """An installed package. `files` are paths with the SHA-1 in hex, "" where none is known."""

    name: str = ""
    version: str = ""
    arch: str = ""
    source: str = ""
    files: dict[str, str] = field(default_factory=dict)


def packages(files: Reads) -> list[Package]:
    """All packages, by name; none where there is no database."""
    text = files.read_text(INSTALLED) if files.is_file(INSTALLED) else ""
    return sorted((one for one in _stanzas(text) if one.name), key=lambda one: one.name)


def asked_for(files: Reads) -> frozenset[str]:
    """The names in /etc/apk/world: what was asked for, without conditions."""
    text = files.read_text(WORLD) if files.is_file(WORLD) else ""
    return frozenset(_bare(word) for word in text.split() if not word.startswith("!"))


def _bare(word: str) -> str:
    for sign in "<>=~@":
        word = word.partition(sign)[0]
    return word


def _stanzas(text: str) -> Iterator[Package]:
    for stanza in text.split("\n\n"):
        found = Package()
        folder = path = ""
        for line in stanza.split("\n"):
            kind, _, value = line.partition(":")
            if kind == "P":
                found.name = value
            elif kind == "V":
                found.version = value
            elif kind == "A":
                found.arch = value
            elif kind == "o":
                found.source = value
            elif kind == "F":
                folder = value
            elif kind == "R":
                path = f"/{folder}/{value}" if folder else f"/{value}"
                found.files[path] = ""
            elif kind == "Z" and value.startswith("Q1") and path in found.files:
                found.files[path] = _hex(value[2:])
        found.source = found.source or found.name
        yield found


def _hex(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).hex()
    except binascii.Error:
        return ""
