"""CHECKSUMS.md5, whose signature vouches for all files of a tree, and PACKAGES.TXT, which describes its
packages.

CHECKSUMS.md5 has lines as md5sum(1) writes them, after some words for people. PACKAGES.TXT has a stanza a
package: PACKAGE NAME (the file), PACKAGE LOCATION (its directory below the tree), then sizes and a
description.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from tmplbuild.archives.model import safe_path
from tmplbuild.errors import VerifyError

_LINE = re.compile(r"([0-9a-f]{32}) [ *]\./(\S.*)")
FILE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9+._-]*)-(?P<version>[^-\s/]+)-(?P<arch>[^-\s/]+)-(?P<build>[^-\s/]+)\.t[xglb]z"
)
_HEAD = re.compile(
    r"PACKAGES\.TXT;\s+(?P<day>\w{3}) (?P<month>\w{3}) +(?P<date>\d+) (?P<time>[\d:]+) UTC (?P<year>\d{4})"
)


@dataclass(slots=True)
class Checksums:
    """A signed list: the MD5 of each file, by path below its directory. `date` is when it was signed, seconds
    since the epoch, or, where the recipe's digest vouches for it, what PACKAGES.TXT says."""

    date: int = 0
    valid_until: int = 0
    files: dict[str, str] = field(repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """A package: `path` is its file's below the archive's address."""

    name: str
    version: str
    arch: str
    series: str
    path: str
    md5: str


def checksums(content: bytes, where: str) -> Checksums:
    """Read a CHECKSUMS.md5. Raises VerifyError for what is none."""
    found: dict[str, str] = {}
    for line in content.decode("utf-8", "replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        if not safe_path(match[2]):
            continue  # names with blanks and the like are no packages
        if found.setdefault(match[2], match[1]) != match[1]:
            raise _bad("CHECKSUMS.md5", where, f"it has two digests for {match[2][:100]}")
    if "PACKAGES.TXT" not in found:
        raise _bad("CHECKSUMS.md5", where, "it does not name PACKAGES.TXT")
    return Checksums(files=found)


def packages(text: bytes, listed: Checksums, suite: str, where: str) -> Iterator[Entry]:
    """The packages of a suite's PACKAGES.TXT, each with the digest that its CHECKSUMS.md5 has.

    Raises VerifyError for a package that the signed list does not name.
    """
    file = ""
    for line in text.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition(":")
        if key == "PACKAGE NAME":
            file = value.strip()
        elif key == "PACKAGE LOCATION" and file:
            match = FILE.fullmatch(file)
            if match is None:
                raise _bad("PACKAGES.TXT", where, f"a package's file is called {file[:100]!r}")
            folder = value.strip().removeprefix("./").rstrip("/")
            path = _listed_path(folder, file, listed)
            if path is None:
                raise _bad("PACKAGES.TXT", where, f"CHECKSUMS.md5 does not name {folder[:80]}/{file}")
            yield Entry(
                name=match["name"],
                version=f"{match['version']}-{match['build']}",
                arch=match["arch"],
                series=folder.rpartition("/")[2],
                path=f"{suite}/{path}",
                md5=listed.files[path],
            )
            file = ""


def _listed_path(folder: str, file: str, listed: Checksums) -> str | None:
    """The path by which the signed list names a file. Lists below the tree's top (patches/) leave its first
    directory out, PACKAGES.TXT does not."""
    for place in (folder, folder.partition("/")[2]):
        path = f"{place}/{file}" if place else file
        if path in listed.files:
            return path
    return None


def date_of(text: bytes) -> int:
    """When a PACKAGES.TXT was made, seconds since the epoch; 0 where it does not say."""
    match = _HEAD.match(text[:200].decode("utf-8", "replace"))
    if match is None:
        return 0
    words = f"{match['day']}, {match['date']} {match['month']} {match['year']} {match['time']} +0000"
    try:
        return int(parsedate_to_datetime(words).timestamp())
    except (ValueError, TypeError, OverflowError):
        return 0


def _bad(what: str, where: str, why: str) -> VerifyError:
    return VerifyError(
        f"an archive's {what} cannot be read", where=where, why=why, hint="use another mirror (MIRROR=)"
    )
