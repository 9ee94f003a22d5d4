"""A package of a list: what its header says, as far as resolving and downloading need it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from tmplbuild.archives import digest
from tmplbuild.archives.aptrpm import depends, evr, header
from tmplbuild.archives.aptrpm.depends import Dep
from tmplbuild.archives.aptrpm.evr import Build
from tmplbuild.archives.aptrpm.header import Header
from tmplbuild.archives.model import Package, safe_path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._@~#-]*\Z")
_DIGESTS = (
    ("blake2b", header.APT_BLAKE2B),
    ("sha256", header.APT_SHA256),
    ("md5", header.APT_MD5),
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a list is from: the archive's role, and the suite's directory below the archive's
    address ("p11/branch/x86_64")."""

    role: str
    suite: str


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One package. `number` is its place among all packages of a pool."""

    number: int
    name: str
    build: Build
    arch: str
    provides: tuple[Dep, ...] = field(repr=False)
    requires: tuple[Dep, ...] = field(repr=False)
    conflicts: tuple[Dep, ...] = field(repr=False)
    obsoletes: tuple[Dep, ...] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.name}-{self.build.evr}"

    @property
    def itself(self) -> Dep:
        """The package by its name and version: what an Obsoletes is matched with."""
        version = f"{self.build}:{self.build.disttag}" if self.build.disttag else str(self.build)
        return Dep(self.name, evr.EQUAL, version)


def read(head: Header, number: int) -> Entry:
    """The package of a header. Raises VerifyError."""
    name = head.text(header.NAME)
    if not _NAME.match(name):
        raise head.bad(f"the package's name is {name[:100]!r}")
    version, release = head.text(header.VERSION), head.text(header.RELEASE)
    if not version or not release:
        raise head.bad(f"{name} has no version or no release")
    return Entry(
        number=number,
        name=name,
        build=Build(
            epoch=head.number(header.EPOCH),
            version=version,
            release=release,
            disttag=head.text(header.DISTTAG),
            built=head.number(header.BUILDTIME),
        ),
        arch=head.text(header.ARCH),
        provides=depends.read(head, header.PROVIDENAME, header.PROVIDEFLAGS, header.PROVIDEVERSION),
        requires=_unique(depends.read(head, header.REQUIRENAME, header.REQUIREFLAGS, header.REQUIREVERSION)),
        conflicts=depends.read(head, header.CONFLICTNAME, header.CONFLICTFLAGS, header.CONFLICTVERSION),
        obsoletes=depends.read(head, header.OBSOLETENAME, header.OBSOLETEFLAGS, header.OBSOLETEVERSION),
    )


def package(head: Header, entry: Entry, source: Source, needs: Iterable[str]) -> Package:
    """The package as every reader knows it.

    `fields` holds DIRECTORY, FILENAME, DISTTAG, BUILDTIME, SIZE (installed bytes), GROUP, SOURCERPM
    as the header has them, and NEEDS: the names in `needs`, one a line (the packages of the closure
    that satisfy what this one requires).

    Raises VerifyError for a header without size, digest or file name, or one whose file would lie
    outside the archive.
    """
    folder, name = head.text(header.APT_DIRECTORY), head.text(header.APT_FILENAME)
    path = _path(source.suite, folder, name)
    size = head.number(header.APT_FILESIZE)
    if path is None or size is None:
        raise head.bad(f"{entry} has no file, or one outside the archive: {folder[:100]!r}, {name[:100]!r}")
    fields = {
        "DIRECTORY": folder,
        "FILENAME": name,
        "DISTTAG": entry.build.disttag,
        "BUILDTIME": "" if entry.build.built is None else str(entry.build.built),
        "SIZE": str(head.number(header.SIZE) or 0),
        "GROUP": head.text(header.GROUP),
        "SOURCERPM": head.text(header.SOURCERPM),
        "NEEDS": "\n".join(needs),
    }
    return Package(
        name=entry.name,
        version=str(entry.build),
        arch=entry.arch,
        archive=source.role,
        filename=path,
        size=size,
        sha256=_digest(head, entry),
        fields={key: value for key, value in fields.items() if value},
    )


def _digest(head: Header, entry: Entry) -> str:
    for kind, tag in _DIGESTS:
        if tag in head:
            value = head.text(tag).lower()
            found = value if kind == "sha256" else f"{kind}:{value}"
            try:
                digest.split(found)
            except ValueError:
                raise head.bad(f"the digest of {entry} is malformed") from None
            return found
    raise head.bad(f"{entry} has no digest")


def _path(suite: str, folder: str, name: str) -> str | None:
    """The file's path below the archive's address, None if it would lie outside it. A list may name
    a directory beside the suite's ("../SRPMS.classic")."""
    if folder.startswith("../"):
        suite, folder = suite.rpartition("/")[0], folder.removeprefix("../")
    path = f"{suite}/{folder}/{name}" if folder else f"{suite}/{name}"
    return path if safe_path(path) and "/" not in name else None


def _unique(deps: tuple[Dep, ...]) -> tuple[Dep, ...]:
    """The dependencies that have to be met, each once, in their order: the same name and version is
    often stated again for a script, which only the other flags tell."""
    seen = {(dep.name, dep.flags & evr.SENSE, dep.version): dep for dep in deps if not dep.optional}
    return tuple(Dep(*key) for key in seen)
