"""What an upstream archive holds, whatever its format: the words that all readers share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Package:
    """One binary package as an archive's verified index names it.

    `archive` is the role in the recipe ("debian", "debian-security"), `filename` the path below
    the archive's address, `size` bytes, `fields` the other index fields that a reader needs later
    (keys as the index spells them). `essential` and `priority` as the index says.

    `sha256` is the digest that identifies the package: SHA-256 in hex or, where the archive names
    none, "blake2b:HEX" or "md5:HEX" (tmplbuild.archives.digest).
    """

    name: str
    version: str
    arch: str
    archive: str
    filename: str
    size: int
    sha256: str
    essential: bool = False
    priority: str = "optional"
    fields: dict[str, str] = field(default_factory=dict, compare=False, hash=False, repr=False)


@dataclass(frozen=True, slots=True)
class Listed:
    """A file that a release vouches for: its digest (SHA-256 in hex, "blake2b:HEX", "md5:HEX"), and its
    size in bytes."""

    digest: str
    size: int


def safe_path(path: str) -> bool:
    """Whether a path that an archive names stays below the archive's address."""
    parts = path.split("/")
    plain = path.isascii() and path.isprintable() and not any(sign in path for sign in "\\?#%")
    return plain and bool(path) and not any(part in ("", ".", "..") for part in parts)


@dataclass(frozen=True, slots=True)
class IndexFile:
    """One verified file of a suite: `path` below the archive's address, and where it lies here."""

    path: str
    sha256: str
    size: int
    local: Path


@dataclass(frozen=True, slots=True)
class SuiteState:
    """A verified suite: what its signed Release said, and the verified indexes of our architecture.

    `date` and `valid_until` are seconds since the epoch (0: the suite does not say).
    `release` is the signed file itself (InRelease); `signed_by` the primary fingerprints whose
    signatures were good. `signature` is the detached one (Release.gpg) of a suite without InRelease.
    """

    suite: str
    release: IndexFile
    date: int
    valid_until: int
    signed_by: tuple[str, ...]
    indexes: tuple[IndexFile, ...]
    signature: IndexFile | None = None


@dataclass(frozen=True, slots=True)
class ArchiveState:
    """All suites of one archive role, as verified in this run. `modules` are the module streams that the
    recipe enables (rpm-md alone)."""

    role: str
    suites: tuple[SuiteState, ...]
    modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Closure:
    """The packages that a request comes to. `auto` are the names that were only pulled in
    (apt's "automatically installed"). `choices` tells, in words, each alternative that was settled."""

    packages: tuple[Package, ...]
    auto: frozenset[str]
    choices: tuple[str, ...] = ()
