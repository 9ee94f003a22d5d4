"""All packages of a recipe's repositories, in their order: an earlier repository's come first."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tmplbuild.archives.alpm.database import Entry, entries
from tmplbuild.archives.model import ArchiveState, Package

SIGNATURE = "PGPSIG"
"""The field of a package that has its detached signature, base64, where its repository has it."""


@dataclass(slots=True)
class Pool:
    """`named` has the packages by name, `providers` those that provide a name, `groups` those of a group."""

    homes: tuple[tuple[str, str], ...] = ()
    arch: str = ""
    named: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    providers: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    groups: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, states: Sequence[ArchiveState], arch: str = "") -> Pool:
        """The packages of read repositories. Raises VerifyError."""
        rows = [(state.role, suite) for state in states for suite in state.suites]
        pool = cls(tuple((role, suite.suite) for role, suite in rows), arch)
        for number, (_, suite) in enumerate(rows):
            pool.add(entries(suite.release.local.read_bytes(), number, suite.release.path))
        return pool

    def add(self, found: Iterable[Entry]) -> None:
        """Take in a repository's packages."""
        for entry in found:
            self.named[entry.name].append(entry)
            for one in entry.provides:
                self.providers[one.name].append(entry)
            for group in entry.groups:
                self.groups[group].append(entry)

    def copy(self) -> Pool:
        """Another one with the same packages."""
        tables = (self.named, self.providers, self.groups)
        copies = [defaultdict(list, {name: list(row) for name, row in one.items()}) for one in tables]
        return Pool(self.homes, self.arch, *copies)

    def package(self, entry: Entry) -> Package:
        """A package in the words of all archives."""
        role, suite = self.homes[entry.place[0]]
        return Package(
            name=entry.name,
            version=entry.version,
            arch=entry.arch,
            archive=role,
            filename=f"{suite}/{entry.filename}",
            size=entry.size,
            sha256=entry.sha256,
            fields={SIGNATURE: base64.b64encode(entry.signature).decode()} if entry.signature else {},
        )
