"""compare: the differences of two templates' facts. Pure; changelogs are asked for what was mended."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from tmplbuild.archives.alpm import version as alpmversion
from tmplbuild.archives.apk import version as apkversion
from tmplbuild.archives.aptrpm import evr
from tmplbuild.archives.deb import version as debversion
from tmplbuild.changes import changelog
from tmplbuild.changes.breaking import breaking
from tmplbuild.changes.comparison import Change, Comparison, FileChange, PackageChange, Side, SizeChange
from tmplbuild.changes.facts import Facts, File, Group, Package, Privileged, User

Changelogs = Callable[[Package, Package], Iterable[changelog.Entry]]
"""What the changelogs say of a package's versions after the first one up to the second one."""

DIFF_LINES = 400
"""Longer diffs are cut."""

_DATE = 1900  # a first number from here on is a year, or a date: it says nothing of what breaks
# Their first number hardly ever moves, and the second one's move breaks as much.
_SECOND_COUNTS = re.compile(
    r"(lib)?python3(\.\d+)?(-minimal|-stdlib)?|perl(-base)?|libc6|glibc(-.*)?|ruby|lua"
)

One = TypeVar("One")


def no_changelogs(before: Package, after: Package) -> Iterable[changelog.Entry]:
    """Where there are none."""
    return ()


def compare(
    before: Facts, after: Facts, *, sides: tuple[Side, Side], changelogs: Changelogs = no_changelogs
) -> Comparison:
    """How `after` differs from `before`.

    Parameters:
        sides: what the two are called.
    """
    found = Comparison(
        before=dataclasses.replace(sides[0], size=before.size),
        after=dataclasses.replace(sides[1], size=after.size),
        packages=tuple(_packages(before, after, changelogs)),
        files=tuple(_files(before.files, after.files)),
        others=tuple(_others(before, after)),
        sizes=tuple(_sizes(before, after)),
    )
    return dataclasses.replace(found, breaking=breaking(found))


def order_of(family: str) -> Callable[[str, str], int]:
    """The order of versions in a family: its own, or rpm's for all others."""
    return _ORDERS.get(family, _rpm_order)


def _rpm_order(one: str, two: str) -> int:
    """Epoch, version, release. The disttag that ALT adds is left aside, as a changelog has none."""
    left, right = evr.split(one), evr.split(two)
    for a, b in (
        (left.epoch or "0", right.epoch or "0"),
        (left.version, right.version),
        (left.release, right.release),
    ):
        if order := evr.vercmp(a, b):
            return order
    return 0


def _apk_order(one: str, two: str) -> int:
    if apkversion.is_version(one) and apkversion.is_version(two):
        return apkversion.compare(one, two)
    return (one > two) - (one < two)


_ORDERS: dict[str, Callable[[str, str], int]] = {
    "dpkg": debversion.compare,
    "apk": _apk_order,
    "pacman": alpmversion.compare,
}


# -- packages -----------------------------------------------------------------------------------------


def _packages(before: Facts, after: Facts, changelogs: Changelogs) -> Iterator[PackageChange]:
    comparable = before.family == after.family
    order = order_of(after.family)
    for name, olds, news in _paired(before.packages, after.packages, lambda one: one.name):
        for old, new in _instances(olds, news):
            if old is None or new is None:
                yield _came_or_went(old, new)
            elif old.version != new.version:
                way = order(new.version, old.version) if comparable else 0
                change = "upgraded" if way > 0 else "downgraded" if way < 0 else "changed"
                entries = tuple(changelogs(old, new)) if change == "upgraded" else ()
                yield _moved(name, change, old, new, entries)


def _instances(olds: list[Package], news: list[Package]) -> Iterator[tuple[Package | None, Package | None]]:
    """Which of several packages of one name is which: by architecture, then by version; a single one may
    change its architecture."""
    if len(olds) == len(news) == 1:
        yield olds[0], news[0]
        return
    left = {(one.arch, one.version): one for one in olds}
    right = {(one.arch, one.version): one for one in news}
    same = left.keys() & right.keys()
    gone = sorted(left.keys() - same)
    come = sorted(right.keys() - same)
    for key in gone:
        partner = next((other for other in come if other[0] == key[0]), None)
        if partner is not None:
            come.remove(partner)
        yield left[key], right[partner] if partner is not None else None
    yield from ((None, right[key]) for key in come)


def _came_or_went(old: Package | None, new: Package | None) -> PackageChange:
    one = new or old
    assert one is not None
    return PackageChange(
        name=one.name,
        change="added" if old is None else "removed",
        before=old.version if old else "",
        after=new.version if new else "",
        arch=one.arch,
        source=one.source,
        size_before=old.size if old else 0,
        size_after=new.size if new else 0,
        auto=one.auto and one.priority not in ("essential", "required", "important"),
    )


def _moved(
    name: str, change: str, old: Package, new: Package, entries: tuple[changelog.Entry, ...]
) -> PackageChange:
    mends = [entry for entry in entries if entry.is_security]
    cves = {cve for entry in mends for cve in entry.cves}
    return PackageChange(
        name=name,
        change=change,
        before=old.version,
        after=new.version,
        arch=new.arch,
        source=new.source,
        size_before=old.size,
        size_after=new.size,
        security=bool(mends) or (change == "upgraded" and "security" in new.origin),
        cves=tuple(sorted(cves, key=changelog.by_number)),
        urgency=changelog.most_urgent(entry.urgency for entry in mends or entries),
        major=_major(name, old.version) != _major(name, new.version),
        auto=new.auto,
    )


def _major(name: str, version: str) -> tuple[str, ...]:
    """What of a version tells its kind: the first number, or the first two."""
    upstream = version.partition(":")[2] or version
    numbers = re.findall(r"\d+", upstream.partition("-")[0])[:2]
    if not numbers or len(numbers[0]) > 4 or int(numbers[0]) >= _DATE:
        return ()
    return tuple(numbers) if numbers[0] == "0" or _SECOND_COUNTS.fullmatch(name) else (numbers[0],)


def _sizes(before: Facts, after: Facts) -> Iterator[SizeChange]:
    old = {(one.name, one.arch, one.version): one.size for one in before.packages}
    for one in after.packages:
        size = old.get((one.name, one.arch, one.version), one.size)
        if size != one.size and before.family == after.family:
            yield SizeChange(one.name, size, one.size)
    if before.unowned != after.unowned:
        yield SizeChange("", before.unowned, after.unowned)


# -- files --------------------------------------------------------------------------------------------


def _files(before: Iterable[File], after: Iterable[File]) -> Iterator[FileChange]:
    for path, olds, news in _paired(before, after, lambda one: one.path):
        if not olds:
            yield FileChange(path, "added", detail=_state(news[0]), secret=news[0].secret)
        elif not news:
            yield FileChange(path, "removed", detail=_state(olds[0]), secret=olds[0].secret)
        elif what := tuple(_what(olds[0], news[0])):
            yield _changed(olds[0], news[0], what)


def _what(old: File, new: File) -> Iterator[str]:
    if old.kind != new.kind:
        yield "kind"
        return
    if old.digest != new.digest:
        yield "content"
    if old.target != new.target:
        yield "target"
    if (old.uid, old.gid) != (new.uid, new.gid):
        yield "owner"
    if old.mode != new.mode:
        yield "mode"


def _changed(old: File, new: File, what: tuple[str, ...]) -> FileChange:
    told = {
        "kind": f"{old.kind} -> {new.kind}",
        "target": f"{old.target} -> {new.target}",
        "owner": f"{old.uid}:{old.gid} -> {new.uid}:{new.gid}",
        "mode": f"{old.mode:04o} -> {new.mode:04o}",
    }
    secret = old.secret or new.secret
    return FileChange(
        path=new.path,
        change="changed",
        what=what,
        detail=", ".join(told[one] for one in what if one in told),
        diff="" if secret or "content" not in what else _diff(old, new),
        secret=secret,
    )


def _diff(old: File, new: File) -> str:
    if old.text is None or new.text is None:
        return ""
    rows = difflib.unified_diff(
        old.text.splitlines(), new.text.splitlines(), f"a{old.path}", f"b{new.path}", lineterm=""
    )
    lines = list(rows)
    more = len(lines) - DIFF_LINES
    cut = [*lines[:DIFF_LINES], f"... and {more} lines more"] if more > 0 else lines
    return "".join(f"{line}\n" for line in cut)


def _state(file: File) -> str:
    if file.kind == "link":
        return f"link to {file.target}"
    return f"{file.kind}, {file.mode:04o}, {file.uid}:{file.gid}"


# -- all else -----------------------------------------------------------------------------------------


def _others(before: Facts, after: Facts) -> Iterator[Change]:
    for field in dataclasses.fields(before.traits):
        old, new = getattr(before.traits, field.name), getattr(after.traits, field.name)
        of_ssh = field.name.startswith("ssh_") and not (before.traits.ssh and after.traits.ssh)
        if old != new and not of_ssh:  # without a server on both sides there is no more to tell of it
            yield Change("trait", field.name, old, new)
    yield from _told("service", before.services, after.services, lambda one: one.name, lambda one: one.state)
    yield from _told("user", before.users, after.users, lambda one: one.name, _user)
    yield from _told("group", before.groups, after.groups, lambda one: one.name, _group)
    yield from _told("privileged", before.privileged, after.privileged, lambda one: one.path, _privileged)


def _told(
    kind: str,
    before: Iterable[One],
    after: Iterable[One],
    key: Callable[[One], str],
    tell: Callable[[One], str],
) -> Iterator[Change]:
    for name, olds, news in _paired(before, after, key):
        old = tell(olds[0]) if olds else ""
        new = tell(news[0]) if news else ""
        if old != new:
            yield Change(kind, name, old, new)


def _user(one: User) -> str:
    login = "" if one.login == "locked" else f", {one.login}"
    return f"{one.uid}:{one.gid}, {one.home}, {one.shell}{login}"


def _group(one: Group) -> str:
    return f"{one.gid}" + (f": {', '.join(one.members)}" if one.members else "")


def _privileged(one: Privileged) -> str:
    capability = f", capability {one.capability}" if one.capability else ""
    return f"{one.mode:04o}, {one.uid}:{one.gid}{capability}"


def _paired(
    before: Iterable[One], after: Iterable[One], key: Callable[[One], str]
) -> Iterator[tuple[str, list[One], list[One]]]:
    """What both sides have by each key, sorted by it."""
    left, right = _grouped(before, key), _grouped(after, key)
    for name in sorted(left.keys() | right.keys()):
        yield name, left.get(name, []), right.get(name, [])


def _grouped(rows: Iterable[One], key: Callable[[One], str]) -> Mapping[str, list[One]]:
    found: dict[str, list[One]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return found
