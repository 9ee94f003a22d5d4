"""What a worker's machine keeps of the parts that it did: within bounds, and on a full disk only what is in
use. All of it is in the shared store as well, or can be fetched again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from tmplbuild.config import Settings
from tmplbuild.engine.keeping import prune
from tmplbuild.engine.locks import tidy_lock
from tmplbuild.engine.room import Wanted, foresee
from tmplbuild.errors import BusyError, StoreError

_NIGHT_H = 36.0
"""What one night has used is there in the next, hours."""


def tidy(settings: Settings, *, full: bool = False) -> None:
    """Let go of what is beyond the bounds of the settings' table [cache], unless another part is at it.

    Parameters:
        full: the disk is: of all that no build and no part needs right now.

    Raises StoreError.
    """
    if full:
        keep = replace(settings.cache, layers_hours=0, members_days=0, max_age_days=0)
    else:
        keep = replace(settings.cache, layers_hours=max(settings.cache.layers_hours, _NIGHT_H))
    with suppress(BusyError), tidy_lock(settings.state_dir, grace_s=60 if full else 0):
        prune(settings, keep, measured=False)


def see_room(settings: Settings, rows: Sequence[Wanted]) -> None:
    """See that there is room for what a part will write, and make it if need be. Raises StoreError."""
    rows = [row for row in rows if row.place != settings.template_cache]  # which is another machine's
    try:
        foresee(rows)
    except StoreError:
        tidy(settings, full=True)
        foresee(rows)
