"""All that is kept to save time, in one list: what it takes, when it was last used, who needs it; and what
of it goes.

    packages    cache_dir/packages    downloaded packages and their prepared form
    indexes     cache_dir/indexes     archives' indexes, and what broken off downloads and uploads left
    members     cache_dir/members     compressed members of templates
    layers      state_dir/layers      trees after each stage
    artifacts   state_dir/artifacts   packed templates, and facts of them in state_dir/facts
    failed      state_dir/failed      trees of failed builds, for `tmplbuild shell`
    logs        state_dir/logs        logs of each template's last run
    known       state_dir/known       what check and pack found in each template's tree

Needed is what the last good build of any template is made of, what a failed one goes on from, and the
indexes that were last accepted: it never goes. All else can be fetched or made again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tmplbuild.archives.cache import PackageCache, remove_unlocked
from tmplbuild.artifact.members import MemberCache
from tmplbuild.cacheconf import Keep
from tmplbuild.config import Settings
from tmplbuild.core.filelock import is_held
from tmplbuild.engine.locks import PART
from tmplbuild.engine.store import Store

KINDS = ("packages", "indexes", "members", "layers", "artifacts", "failed", "logs", "known")
SIZED = ("packages", "indexes", "members")
"""What `Keep.max_size` bounds."""
_BUSY_S = 6 * 3600.0
"""While a build runs, what was used within this (seconds) may be its own: no record names it yet."""
_PART_S = 2 * 3600.0
"""The same while only parts of a fleet's builds run, which are short."""
_HELD_S = 60.0
"""Layers such a part holds, as soon as it has them."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One thing that is kept. `size` in bytes on the disk, `used` in seconds since 1970."""

    kind: str
    path: Path
    size: int
    used: float
    needed: bool


def keep_of(settings: Settings, *, days: float | None, size: int | None, layers: int | None) -> Keep:
    """The settings' bounds, with what the command line says instead: `days` for every age."""
    keep = settings.cache
    if days is not None:
        keep = replace(keep, max_age_days=days, members_days=days, layers_hours=days * 24)
    if size is not None:
        keep = replace(keep, max_size=size or 1)  # asked for no bytes: that is a bound
    return keep if layers is None else replace(keep, max_layers=layers)


def kept(settings: Settings, *, measured: bool = True) -> list[Kept]:
    """Everything, by kind and path.

    Parameters:
        measured: false leaves the sizes of trees 0, which saves looking at each of their files.

    Raises StoreError.
    """
    cache = PackageCache(settings.cache_dir)
    members, fetched = settings.cache_dir / "members", settings.cache_dir / "fetch"
    fleet = settings.state_dir / "fleet"  # layers that were on their way
    store = Store(settings.state_dir) if settings.state_dir.is_dir() else None
    known = list(records(store)) if store else []
    rows = [
        *_files("packages", cache.files(cache.packages), _packages(known)),
        *_files("indexes", cache.files(cache.indexes, cache.incoming, fetched), cache.accepted()),
        *_files("indexes", cache.files(fleet / "incoming", fleet / "layers"), frozenset()),
        *_files("indexes", fleet.glob("layer-*"), frozenset()),
        *_files("members", MemberCache.files(members), frozenset()),
    ]
    if store:
        rows += _in_store(store, known, measured)
    return sorted(rows, key=_order)


def _in_store(store: Store, records: Iterable[dict[str, Any]], measured: bool) -> Iterator[Kept]:
    wanted = store.wanted()
    built = {str(record.get("template", "")) for record in records}
    yield from _files("artifacts", (*store.dir.glob("artifacts/*"), *store.dir.glob("facts/*")), wanted)
    for path in store.dir.glob("layers/*"):
        yield _tree("layers", path, path.name in wanted, store.used(path), measured)
    for path in store.dir.glob("trash/*"):
        yield _tree("layers", path, False, 0.0, measured)
    for path in store.abandoned():
        with suppress(FileNotFoundError):
            yield _tree("layers", path, False, path.lstat().st_mtime, measured)
    for kind in ("failed", "logs"):
        for path in store.dir.glob(f"{kind}/*"):
            with suppress(FileNotFoundError):  # another run took it away
                used = path.lstat().st_mtime
                yield _tree(kind, path, kind == "logs" and path.name in built, used, measured)
    for path in store.dir.glob("known/*.json"):
        template = path.name.rsplit(".", 2)[0]
        yield from _files("known", [path], {path.name.partition(".")[0]} if template in built else set())


def spare(rows: Iterable[Kept], keep: Keep, now: float) -> list[Kept]:
    """What of it goes, within the bounds of `keep`. Pure."""
    free = [row for row in rows if not row.needed]
    day = 86400.0
    longest = dict.fromkeys(KINDS, keep.max_age_days * day) | {
        "members": keep.members_days * day,
        "layers": keep.layers_hours * 3600,
        "artifacts": keep.layers_hours * 3600,
    }
    going = [row for row in free if now - row.used >= longest[row.kind]]
    gone = {row.path for row in going}
    rest = sorted((row for row in free if row.path not in gone), key=lambda row: row.used)
    layers = [row for row in rest if row.kind == "layers"]
    going += layers[: max(0, len(layers) - keep.max_layers)]
    left = sum(row.size for row in rows if row.kind in SIZED and row.path not in gone)
    for row in rest:
        if keep.max_size and left > keep.max_size and row.kind in SIZED:
            going.append(row)
            left -= row.size
    return sorted(going, key=_order)


def prune(
    settings: Settings, keep: Keep, *, dry_run: bool = False, measured: bool = True, building: bool = False
) -> list[Kept]:
    """Let go of what is beyond the bounds. Returns what went (or would go). Raises StoreError.

    Parameters:
        measured: see `kept`.
        building: the caller is itself a build that is done.

    A build that runs meanwhile loses nothing that it uses, nor does a part of one that is done for a fleet.
    """
    now = time.time()
    going = spare(kept(settings, measured=measured), keep, now)
    others, parts = _builds(settings.state_dir, apart=building)
    if building or others or parts:
        # what a build has fetched is in no record yet, either; its own is, when it is done
        kinds = KINDS if others or parts else [kind for kind in KINDS if kind not in SIZED]
        alone = not building and not others
        busy_s = dict.fromkeys(kinds, _PART_S if alone else _BUSY_S)
        if alone:
            busy_s["layers"] = _HELD_S
        going = [row for row in going if now - row.used >= busy_s.get(row.kind, 0)]
    return going if dry_run else [row for row in going if _remove(settings, row)]


def _remove(settings: Settings, row: Kept) -> bool:
    if row.kind in SIZED:
        return remove_unlocked(row.path, row.used)
    store = Store(settings.state_dir)
    with suppress(FileNotFoundError):  # another run lets go of the same
        if row.path.parent.name == "layers":
            return store.let_go(row.path, row.used)
        return store.discard(row.path)
    return False


def _builds(state_dir: Path, *, apart: bool) -> tuple[int, int]:
    """How many builds run, and parts of a fleet's, as the locks tell that they hold.

    Parameters:
        apart: from the one that asks, which tidies up, and may be of a nightly run.
    """
    # who tidies up, or makes a layer, is a build or a part of one, and holds that one's lock as well
    names = (
        path for path in state_dir.glob("locks/*.lock") if not path.name.startswith((".tidy", ".layer-"))
    )
    held = [path for path in names if not (apart and path.name == ".nightly.lock") and is_held(path)]
    parts = sum(path.name.startswith(PART) for path in held)
    return len(held) - parts - apart, parts


def records(store: Store) -> Iterator[dict[str, Any]]:
    """The records of all templates' good builds and failures, as far as they can be read."""
    for path in store.dir.glob("records/*.json"):
        with suppress(OSError, ValueError):
            found = json.loads(path.read_bytes())
            if isinstance(found, dict):
                yield found


def _packages(records: Iterable[dict[str, Any]]) -> frozenset[str]:
    """The file names, without suffix, of the packages that good builds were made of."""
    found: set[str] = set()
    for record in records:
        for part in ("base", "full", "target"):
            rows = record.get("pins", {}).get(part, {}).get("packages", ())
            found.update(PackageCache.stem(str(row[6])) for row in rows)
    return frozenset(found)


def _files(kind: str, paths: Iterable[Path], needed: frozenset[str] | set[str]) -> Iterator[Kept]:
    for path in paths:
        with suppress(OSError):
            state = path.lstat()
            stem = path.name.partition(".")[0]
            yield Kept(kind, path, state.st_blocks * 512, state.st_mtime, bool(stem) and stem in needed)


def _tree(kind: str, path: Path, needed: bool, used: float, measured: bool) -> Kept:
    size = 0
    seen: set[tuple[int, int]] = set()
    for folder, _, names in os.walk(path) if measured else ():
        for name in names:
            with suppress(OSError):
                state = os.lstat(os.path.join(folder, name))
                if (state.st_dev, state.st_ino) not in seen:
                    seen.add((state.st_dev, state.st_ino))
                    size += state.st_blocks * 512
    return Kept(kind, path, size, used, needed)


def _order(row: Kept) -> tuple[int, str]:
    return KINDS.index(row.kind), str(row.path)
