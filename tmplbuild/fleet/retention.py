"""What of the shared store goes: after a time results that no good build of this machine is made of, then
the blobs that nothing names any more, and what is left of uploads that were broken off. All can be made or
fetched again."""

from __future__ import annotations

import time
from collections.abc import Set
from typing import Any

from tmplbuild.fleet import layers
from tmplbuild.fleet.shared import SharedStore

_BUSY_S = 24 * 3600.0
"""A build that runs has blobs that nothing names yet, seconds."""


def prune(shared: SharedStore, *, max_age_s: float, needed: Set[str], dry_run: bool = False) -> list[str]:
    """Remove entries, then blobs. Returns their names.

    Parameters:
        max_age_s: entries younger than this (seconds) stay.
        needed: the short keys of layers that stay whatever their age (`Store.wanted`).
        dry_run: remove nothing.

    Raises StoreError.
    """
    now = time.time()
    gone: list[str] = []
    named: set[str] = set()
    for name in _entries(shared):
        key = name.partition("/")[2].partition("/")[0].removesuffix(".json")
        if key[:32] not in needed and now - shared.written(name) >= max_age_s:
            gone.append(name)
        else:
            named |= _blobs(name, shared.read_json(name) or {})
    oldest = max(max_age_s, _BUSY_S)
    for sha256, written in shared.blobs():
        if sha256 not in named and now - written >= oldest:
            gone.append(f"blobs/{sha256[:2]}/{sha256}")
    gone += [name for name, written in shared.unfinished() if now - written >= oldest]
    for name in gone if not dry_run else ():
        shared.remove(name)
    return gone


def _entries(shared: SharedStore) -> list[str]:
    found = [f"{kind}/{name}" for kind in ("layers", "packed") for name in shared.names(kind)]
    for key in shared.names("artifacts"):
        found += [f"artifacts/{key}/{name}" for name in shared.names(f"artifacts/{key}")]
    return found


def _blobs(name: str, entry: dict[str, Any]) -> set[str]:
    if name.startswith("layers/") and entry:
        return layers.blobs(entry)
    return {str(entry[name]) for name in ("pack", "check") if entry.get(name)}
