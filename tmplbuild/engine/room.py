"""Is there room for what a build will write? Asked before it writes anything, of each file system that it
writes to. The estimate is from above: a build that is let in should not die of a full disk half-way.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.model import Package
from tmplbuild.config import Settings
from tmplbuild.engine.budget import BUILD_MIB, Need
from tmplbuild.engine.pins import Pins
from tmplbuild.engine.plan import Plan
from tmplbuild.errors import StoreError

if TYPE_CHECKING:
    from tmplbuild.engine.look import Seen

UNPACKED = 5
"""A package's files take up to four times its own size; its maintainer scripts write some more."""
_PREPARED = 2  # its form that unpacks fast, beside it in the cache, is up to twice as large
_PACKED = 1.5  # a template's file against the packages it is made of
_GROWN = 1.2  # or against the last one
_SMALL = 16 << 20  # records, logs, the layers of stages that only change a few files
_MB = 1_000_000
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """So many bytes in a directory, and what they are."""

    place: Path
    size: int
    what: str


def wanted(
    settings: Settings, cache: PackageCache, pins: Pins, plan: Plan, last: dict[str, Any] | None
) -> list[Wanted]:
    """What the steps of a plan that run will write, and where.

    Parameters:
        last: the record of the last good build, which knows how large the packed file was.
    """
    names = {row.step.name for row in plan.todo}
    if not names:
        return []
    unpack: list[Package] = []
    if "bootstrap" in names:
        unpack += pins.base.packages
    if "install" in names:
        base = {package.sha256 for package in pins.base.packages}
        unpack += [package for package in pins.full.packages if package.sha256 not in base]
    if "upgrade" in names:
        have = {package.sha256 for package in pins.full.packages}
        unpack += [package for package in pins.target.packages if package.sha256 not in have]
    fetch = [package for package in unpack if not cache.has(package.sha256)]
    packed = 0
    if "pack" in names:
        known = last.get("summary", {}).get("size", 0) if last is not None else 0
        packed = int(_GROWN * known) or int(_PACKED * _size(pins.target.packages))
    rows = [
        Wanted(settings.cache_dir, (1 + _PREPARED) * _size(fetch), f"{len(fetch)} packages to download"),
        Wanted(settings.cache_dir, packed, "compressed members"),
        Wanted(settings.state_dir, UNPACKED * _size(unpack) + _SMALL, f"{len(unpack)} packages unpacked"),
        Wanted(settings.state_dir, packed, "the packed template"),
    ]
    if _device(settings.template_cache) != _device(settings.state_dir):  # else it is the same file
        rows.append(Wanted(settings.template_cache, packed, "the template"))
    return [row for row in rows if row.size]


def foresee(rows: Iterable[Wanted]) -> None:
    """Raise StoreError when a file system has less room than is wanted of it."""
    by_device: dict[int, list[Wanted]] = {}
    for row in rows:
        by_device.setdefault(_device(row.place), []).append(row)
    for some in by_device.values():
        need, place = sum(row.size for row in some), _there(some[-1].place)
        state = os.statvfs(place)
        free = state.f_bavail * state.f_frsize
        if free >= need:
            continue
        parts = ", ".join(f"{row.what} {row.size // _MB} MB" for row in some)
        where = ", ".join(dict.fromkeys(str(row.place) for row in some))
        raise StoreError(
            "there is not enough room on the disk for this build; nothing was begun",
            where=where,
            why=f"about {need // _MB} MB are needed ({parts}), {free // _MB} MB are free",
            hint="make room (tmplbuild cache prune), or name other places: "
            "TMPLBUILD_STATE_DIR, TMPLBUILD_CACHE_DIR, --cache",
        )


def _size(packages: Iterable[Package]) -> int:
    return sum(package.size for package in packages)


def _there(place: Path) -> Path:
    """The directory, or the nearest above it that exists."""
    while not place.exists():
        place = place.parent
    return place


def _device(place: Path) -> int:
    return _there(place).stat().st_dev


def need_of(seen: Seen) -> Need:
    """An estimate from above, made of what the plan is to bring (`wanted`)."""
    assert seen.world is not None
    assert seen.plan is not None
    assert seen.resolved is not None
    world = seen.world
    limit = world.loaded.recipe.limits.memory_mib
    rows = wanted(world.settings, world.cache, seen.resolved.pins, seen.plan, seen.last)
    size = sum(row.size for row in rows if row.place == world.settings.state_dir)
    return Need(min(limit, BUILD_MIB), size // _MIB)
