"""How two templates differ, as plain data: what a manifest, a feed, a report and a screen are made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tmplbuild.artifact.atomic import write_atomic
from tmplbuild.artifact.typed import decode, plain
from tmplbuild.errors import StoreError

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: what it is called, its build, the digest and bytes of its file, the bytes in it."""

    name: str
    build: str = ""
    sha256: str = ""
    file_size: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class PackageChange:
    """A package that came, went or changed.

    `change` is added, removed, upgraded, downgraded, or changed (versions that have no order: another
    distribution's). Versions are "" where it is not there; sizes are bytes. `security`: one of the
    versions between them mends a vulnerability; `cves` names these, `urgency` is the highest that the
    changelog gives. `major`: the first number of its upstream version is another one.
    """

    name: str
    change: str
    before: str = ""
    after: str = ""
    arch: str = ""
    source: str = ""
    size_before: int = 0
    size_after: int = 0
    security: bool = False
    cves: tuple[str, ...] = ()
    urgency: str = ""
    major: bool = False
    auto: bool = False


@dataclass(frozen=True, slots=True)
class FileChange:
    """A name in /etc. `change` is added, removed or changed; `what` tells of a changed one: kind, content,
    target, owner, mode. `diff` is unified; none for a secret, a binary or a very long file."""

    path: str
    change: str
    what: tuple[str, ...] = ()
    detail: str = ""
    diff: str = ""
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """Anything else: `kind` is trait, service, user, group or privileged; "" is what is not there."""

    kind: str
    name: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class SizeChange:
    """A package of the same version on both sides whose files take another number of bytes; "" is what
    no package brought."""

    package: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """All differences, each list sorted. `breaking` says, a line each, what would break those who use the
    template; it is made of the rest."""

    before: Side
    after: Side
    breaking: tuple[str, ...] = ()
    packages: tuple[PackageChange, ...] = ()
    files: tuple[FileChange, ...] = ()
    others: tuple[Change, ...] = ()
    sizes: tuple[SizeChange, ...] = ()

    @property
    def same(self) -> bool:
        """Whether nothing differs that is looked at."""
        return not (self.packages or self.files or self.others or self.sizes)

    def of(self, change: str) -> tuple[PackageChange, ...]:
        """The packages that were added, removed, upgraded..."""
        return tuple(one for one in self.packages if one.change == change)

    def kind(self, kind: str) -> tuple[Change, ...]:
        """The other changes of a kind."""
        return tuple(one for one in self.others if one.kind == kind)

    @property
    def cves(self) -> tuple[str, ...]:
        """Every vulnerability that the changelogs name, each once."""
        return tuple(dict.fromkeys(cve for one in self.packages for cve in one.cves))


def to_json(found: Comparison) -> dict[str, object]:
    """Plain values, from which `from_json` makes an equal object."""
    data: dict[str, object] = plain(found)
    return {"schema": SCHEMA, "same": found.same, **data}


def from_json(data: object) -> Comparison:
    """The inverse of `to_json`. Raises ValueError for other data."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ValueError("no comparison of this version")
    faults: list[str] = []
    rest = {key: value for key, value in data.items() if key not in ("schema", "same")}
    found: Comparison = decode(rest, Comparison, "", faults)
    if faults:
        raise ValueError("\n".join(faults[:5]))
    return found


def write_comparison(path: Path, found: Comparison) -> None:
    """Write a comparison as JSON, whole or not at all. Raises StoreError."""
    write_atomic(path, json.dumps(to_json(found), indent=1).encode() + b"\n")


def read_comparison(path: Path) -> Comparison:
    """Read what `write_comparison` wrote. Raises StoreError."""
    try:
        return from_json(json.loads(path.read_bytes()))
    except OSError as error:
        raise StoreError("a comparison cannot be read", where=str(path), why=str(error.strerror)) from error
    except ValueError as error:
        raise StoreError("a comparison cannot be read", where=str(path), why=str(error)) from error
