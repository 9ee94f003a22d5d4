"""Pins: the verified state of the world that a build uses. Only `resolve` makes them.

A template's tree is made in three moves, each from a closure of packages: the `base` (bootstrap),
the `full` set (install) and the `target` (what the live upgrade brings the tree to). In a first
build they come from the same archive state; on later nights `base` and `full` stay and only
`target` moves. Equal pins mean equal bytes, so each closure carries the epoch that it was built
with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tmplbuild.archives.model import ArchiveState, Closure, Package
from tmplbuild.engine import keys


@dataclass(frozen=True, slots=True)
class Pinned:
    """A closure and the epoch (seconds) of the archive state that it was resolved from."""

    packages: tuple[Package, ...]
    auto: frozenset[str]
    epoch: int

    @property
    def digest(self) -> str:
        """A hash of what the packages are, whatever mirror or day they came from."""
        return keys.digest([sorted(p.sha256 for p in self.packages), sorted(self.auto)])

    @property
    def asked(self) -> frozenset[str]:
        """The names of the packages that were asked for, or that the base consists of."""
        return frozenset(package.name for package in self.packages) - self.auto

    def versions(self) -> dict[str, str]:
        """Version by package name (name:arch for a foreign architecture is not needed here)."""
        return {package.name: package.version for package in self.packages}

    def to_json(self) -> dict[str, Any]:
        """Plain values, from which `from_json` makes an equal object."""
        rows = [
            [p.name, p.version, p.arch, p.archive, p.filename, p.size, p.sha256, p.essential, p.priority]
            for p in self.packages
        ]
        return {"packages": rows, "auto": sorted(self.auto), "epoch": self.epoch}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Pinned:
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError for other data."""
        packages = tuple(Package(*row) for row in data["packages"])
        return cls(packages, frozenset(data["auto"]), int(data["epoch"]))

    @classmethod
    def of(cls, closure: Closure, epoch: int) -> Pinned:
        """A closure as resolved, with its epoch."""
        return cls(closure.packages, closure.auto, epoch)


@dataclass(frozen=True, slots=True)
class Pins:
    """All that a build takes from outside.

    `archives` tells of each suite: role, suite, date, release sha256, signers and the
    module streams that the recipe enables (for the manifest).
    `resolved_at` is when `base` was resolved, seconds: it decides when a base is too old.
    """

    arch: str
    archives: tuple[dict[str, Any], ...]
    base: Pinned
    full: Pinned
    target: Pinned
    resolved_at: int

    def to_json(self) -> dict[str, Any]:
        """Plain values for a record or a manifest."""
        return {
            "arch": self.arch,
            "archives": list(self.archives),
            "base": self.base.to_json(),
            "full": self.full.to_json(),
            "target": self.target.to_json(),
            "resolved_at": self.resolved_at,
        }

    @property
    def added(self) -> tuple[str, ...]:
        """Packages that were asked for after `full` was installed: the upgrade brings them as such."""
        return tuple(sorted(self.target.asked - self.full.asked))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Pins:
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError for other data."""
        return cls(
            arch=data["arch"],
            archives=tuple(data["archives"]),
            base=Pinned.from_json(data["base"]),
            full=Pinned.from_json(data["full"]),
            target=Pinned.from_json(data["target"]),
            resolved_at=int(data["resolved_at"]),
        )


def describe_archives(states: tuple[ArchiveState, ...]) -> tuple[dict[str, Any], ...]:
    """What the manifest says of the archives."""
    return tuple(
        {
            "archive": state.role,
            "suite": suite.suite,
            "date": suite.date,
            "release_sha256": suite.release.sha256,
            "signed_by": list(suite.signed_by),
            **({"modules": list(state.modules)} if state.modules else {}),
        }
        for state in states
        for suite in state.suites
    )


def newest_date(states: tuple[ArchiveState, ...]) -> int:
    """The epoch: the newest date of any suite, seconds."""
    return max(suite.date for state in states for suite in state.suites)
