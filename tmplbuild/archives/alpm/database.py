"""pacman's databases of repositories (core.db): a tar with a directory a package, in it a file `desc`.

`desc` has sections, a line %NAME% and the values below it, parted by empty lines; repo-add(8), PKGBUILD(5).
What is read here nobody may have signed: each package is verified by its own signature, later.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from tmplbuild.archives import zstd
from tmplbuild.archives.alpm import version
from tmplbuild.archives.model import safe_path
from tmplbuild.core.tarread import Limits, TarReader
from tmplbuild.core.untar import decompressed
from tmplbuild.errors import VerifyError

_LIMITS = Limits(members=500_000, size=2 << 30, stored=2 << 30)
_ENTRY_LIMIT = 4 << 20
_PLAIN_LIMIT = 1 << 30
_CHUNK = 1 << 20
_BUILT = re.compile(rb"%BUILDDATE%\n(\d{1,12})\n")
_NAME = re.compile(r"[A-Za-z0-9@_+][A-Za-z0-9@._+-]*")
_DEP = re.compile(r"(?P<name>[^<>=\s]+)(?:(?P<op><=|>=|=|<|>)(?P<version>\S+))?(?::\s.*)?")


@dataclass(frozen=True, slots=True)
class Database:
    """A repository's own words. `date` is when its newest package was built, seconds since the epoch;
    `valid_until` is 0, as the format has no such field."""

    date: int
    valid_until: int = 0


@dataclass(frozen=True, slots=True)
class Dep:
    """A dependency, or what is provided; without an operator any version fits."""

    name: str
    op: str = ""
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name}{self.op}{self.version}"

    def fits(self, provided: str) -> bool:
        """Whether it allows this version of its name ("" where none is said)."""
        return not self.op or (bool(provided) and version.satisfies(provided, self.op, self.version))


@dataclass(frozen=True, slots=True)
class Entry:
    """A package of a repository; `signature` is empty where the database has none, `place` where it
    stands."""

    name: str
    version: str
    arch: str
    base: str
    filename: str
    size: int
    sha256: str
    built: int
    signature: bytes
    depends: tuple[Dep, ...]
    provides: tuple[Dep, ...]
    conflicts: tuple[Dep, ...]
    replaces: tuple[Dep, ...]
    groups: tuple[str, ...]
    place: tuple[int, int]


def head(body: bytes, where: str) -> Database:
    """What a database tells of itself; its entries are not looked at one by one, which takes a second.

    Raises VerifyError for what is no database.
    """
    plain = bytearray()
    try:
        with _uncompressed(body, where) as stream:
            while data := stream.read(_CHUNK):
                plain += data
                if len(plain) > _PLAIN_LIMIT:
                    raise _bad(where, "it is too large")
    except VerifyError:
        raise
    except Exception as error:  # each kind of compression has errors of its own
        raise _bad(where, str(error)) from error
    if plain[257:262] != b"ustar" and any(plain):
        raise _bad(where, "not tar")
    return Database(max(map(int, _BUILT.findall(plain)), default=0))


def _uncompressed(body: bytes, where: str) -> BinaryIO:
    return decompressed(io.BufferedReader(io.BytesIO(body)), where, zstd=zstd.open_reader)


def entries(body: bytes, repository: int, where: str) -> Iterator[Entry]:
    """The packages of a database. Raises VerifyError for one that cannot be read, or names files outside
    of it."""
    try:
        reader = TarReader(_uncompressed(body, where), _LIMITS)
        number = 0
        for member in reader:
            if member.kind == "file" and member.name.endswith("/desc"):
                if member.size > _ENTRY_LIMIT:
                    raise _bad(where, f"{member.name[:100]} is too large")
                text = b"".join(reader.chunks()).decode("utf-8", "replace")
                number += 1
                yield entry_of(_sections(text), (repository, number), where)
    except VerifyError:
        raise
    except Exception as error:  # each kind of compression has errors of its own
        raise _bad(where, str(error)) from error


def _sections(text: str) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    values: list[str] = []
    for line in text.split("\n"):
        if line.startswith("%") and line.endswith("%") and len(line) > 2:
            values = found.setdefault(line[1:-1], [])
        elif line:
            values.append(line)
    return found


def entry_of(fields: Mapping[str, list[str]], place: tuple[int, int], where: str) -> Entry:
    """The package of a `desc`, by the names of its sections. Raises VerifyError."""

    def one(name: str) -> str:
        return fields.get(name, [""])[0]

    name, filename, sha256 = one("NAME"), one("FILENAME"), one("SHA256SUM").lower()
    if not _NAME.fullmatch(name) or not one("VERSION") or not safe_path(filename) or "/" in filename:
        raise _bad(where, f"a package is called {name[:80]!r}, its file {filename[:80]!r}")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise _bad(where, f"the package {name} has no SHA-256")
    try:
        return Entry(
            name=name,
            version=one("VERSION"),
            arch=one("ARCH"),
            base=one("BASE") or name,
            filename=filename,
            size=int(one("CSIZE")),
            sha256=sha256,
            built=int(one("BUILDDATE") or 0),
            signature=base64.b64decode(one("PGPSIG"), validate=True),
            depends=_deps(fields.get("DEPENDS", [])),
            provides=_deps(fields.get("PROVIDES", [])),
            conflicts=_deps(fields.get("CONFLICTS", [])),
            replaces=_deps(fields.get("REPLACES", [])),
            groups=tuple(fields.get("GROUPS", [])),
            place=place,
        )
    except (ValueError, binascii.Error) as error:
        raise _bad(where, f"the package {name}: {error}") from error


def _deps(rows: list[str]) -> tuple[Dep, ...]:
    return tuple(map(parse, rows))


def parse(text: str) -> Dep:
    """A dependency. Raises ValueError for what is none."""
    found = _DEP.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"not a dependency: {text[:80]!r}")
    return Dep(found["name"], found["op"] or "", found["version"] or "")


def _bad(where: str, why: str) -> VerifyError:
    return VerifyError(
        "a repository's database cannot be read", where=where, why=why, hint="use another mirror (MIRROR=)"
    )
