"""What a page tells of a build beside its files: the packages in it, and what it changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from tmplbuild.artifact.manifest import PackageRef
from tmplbuild.artifact.typed import decode
from tmplbuild.changes.comparison import Comparison, PackageChange, Side, from_json
from tmplbuild.publish.model import Build

Read = Callable[[str], bytes]
"""Gives a file of the mirror by its path; raises OSError where it is not there."""


@dataclass(frozen=True, slots=True)
class Record:
    """A build's packages, and what it changed: None where there was nothing before it, or it is not known.

    `against` is the published build that it is compared with, "" where the machine that built it compared it
    with one that was not published.
    """

    packages: tuple[PackageRef, ...]
    changes: Comparison | None
    against: str = ""


def record_of(build: Build, before: Build | None, read: Read) -> Record:
    """A build's record.

    Parameters:
        before: the published build before it.

    What cannot be read is left out: a page tells what is there.
    """
    packages = _packages(build, read)
    told = _told(build, read)
    if told is not None and (before is None or told.before.sha256 == before.artifact):
        return Record(packages, told, before.build if before else "")
    if before is None:
        return Record(packages, told)
    return Record(packages, _compared(before, build, _packages(before, read), packages), before.build)


def _packages(build: Build, read: Read) -> tuple[PackageRef, ...]:
    try:
        rows = json.loads(_bytes(build, "manifest", read))["packages"]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    faults: list[str] = []
    found: tuple[PackageRef, ...] = decode(rows, tuple[PackageRef, ...], "", faults)
    return () if faults else found


def _told(build: Build, read: Read) -> Comparison | None:
    """What the machine that built it found."""
    try:
        return from_json(json.loads(_bytes(build, "changes", read)))
    except (OSError, ValueError):
        return None


def _bytes(build: Build, kind: str, read: Read) -> bytes:
    file = build.file(kind)
    if file is None:
        raise FileNotFoundError(kind)
    return read(file.path)


def _compared(
    before: Build, after: Build, old: tuple[PackageRef, ...], new: tuple[PackageRef, ...]
) -> Comparison | None:
    """The difference of two lists of packages, where nobody has looked closer."""
    if not old or not new:
        return None
    was = {(one.name, one.arch): one for one in old}
    now = {(one.name, one.arch): one for one in new}
    rows = []
    for key in sorted(was.keys() | now.keys()):
        first, second = was.get(key), now.get(key)
        if first == second:
            continue
        one = second or first
        assert one is not None
        change = "changed" if first and second else "added" if second else "removed"
        versions = (first.version if first else "", second.version if second else "")
        if versions[0] != versions[1]:
            rows.append(PackageChange(one.name, change, *versions, arch=one.arch, source=one.source or ""))
    sides = [Side(one.template, one.build, one.artifact) for one in (before, after)]
    return Comparison(sides[0], sides[1], packages=tuple(rows))
