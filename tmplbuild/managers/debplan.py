"""Whose a path is when several packages have it: settled before the first file is written.

dpkg meets such paths one by one while it unpacks; we unpack in parallel, so the outcome is worked
out beforehand, by dpkg's own rules (Policy 7.6.1; dpkg's src/main/archives.c): a package may take
a file that it Replaces, whichever of the two comes first; the same file of two architectures of one
Multi-Arch: same package is shared; anything else is an error. A path that two packages spell
differently (/bin/x and /usr/bin/x on a merged tree) is one file: the later package's stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tmplbuild.archives.deb.prepared import Entry
from tmplbuild.errors import StageError
from tmplbuild.managers.debpackage import DebPackage


@dataclass(frozen=True, slots=True)
class Plan:
    """What is not simply unpacked: by package (its place in the order), the paths left out because
    another package's file stands there, and of these the ones that leave its list of files too."""

    skipped: tuple[frozenset[str], ...]
    lost: tuple[frozenset[str], ...]


def settle(
    packages: Sequence[DebPackage],
    aliases: Mapping[str, str],
    diversions: Mapping[str, tuple[str, str]] | None = None,
) -> Plan:
    """Give each path of a file or link one owner.

    Parameters:
        packages: in the order in which they are unpacked.
        aliases: top directories that are links into /usr ("bin" -> "usr/bin").
        diversions: by path, where a package's file goes instead, and the package whose own stays.

    Raises StageError for two packages that have the same file and no right to it.
    """
    skipped: list[set[str]] = [set() for _ in packages]
    lost: list[set[str]] = [set() for _ in packages]
    owners: dict[str, tuple[int, Entry]] = {}
    diverted = diversions or {}
    for index, package in enumerate(packages):
        for entry in package.entries:
            if entry.kind == "dir":
                continue
            to, keeper = diverted.get(entry.path, (entry.path, package.name))
            path = canonical(entry.path if package.name == keeper else to, aliases)
            first = owners.get(path)
            if first is None:
                owners[path] = (index, entry)
                continue
            other, theirs = first
            keeps, loses_list = _decide(packages[other], theirs, package, entry)
            loser, spelled = (other, theirs.path) if keeps else (index, entry.path)
            skipped[loser].add(spelled)
            if loses_list:
                lost[loser].add(spelled)
            if keeps:
                owners[path] = (index, entry)
    return Plan(tuple(map(frozenset, skipped)), tuple(map(frozenset, lost)))


def _decide(one: DebPackage, theirs: Entry, later: DebPackage, entry: Entry) -> tuple[bool, bool]:
    """Whether the later package's file stands, and whether the other one's list loses the path."""
    if theirs.path != entry.path:
        return True, False  # dpkg does not see that they are one
    if one.name == later.name and one.fields.get("multi-arch") == "same":
        return False, False
    if later.replaces(one.name, one.version):
        return True, True
    if one.replaces(later.name, later.version):
        return False, True
    raise conflict(entry.path, later, one.name)


def conflict(path: str, package: DebPackage, other: str) -> StageError:
    """The error for a file that belongs to another package."""
    return StageError(
        f"package {package.name} would overwrite a file of package {other}",
        where=f"/{path}",
        why=f"{package.name} {package.version} does not replace {other}",
        hint="The two cannot be installed together: leave one out of the recipe.",
    )


def canonical(path: str, aliases: Mapping[str, str]) -> str:
    """`path` with its top directory's alias resolved."""
    top, slash, rest = path.partition("/")
    return aliases[top] + "/" + rest if slash and top in aliases else path
