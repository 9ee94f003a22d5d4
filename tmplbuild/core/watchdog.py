"""The limits that no controller of the kernel holds: time, idleness, and disk space that is measured.

The monitor asks at intervals; a VE over one of them is ended, and told why.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from tmplbuild.core import resources

TYPE_CHECKING = False  # `typing` itself would cost the monitor 3 ms
if TYPE_CHECKING:
    from typing import Protocol

    class Gauge(Protocol):
        """Tells what a VE takes on the disk."""

        def held(self) -> tuple[int, int]:
            """(bytes, inodes) in use."""


_DISK_EVERY_S = 0.5
_MOST_OF_THE_TIME = 20  # measuring takes at most a 20th of the time
_BUSY = 0.01
"""Below a 100th of one processor, a VE is idle: timers and a waiting init stay under that."""


class Watchdog:
    """Looks after the limits of one VE.

    Parameters:
        group: the VE's control group of version 2.
        gauge: tells its disk use; where the file system holds the limit, that is never above it.
    """

    def __init__(self, group: str, limits: Mapping[str, float], gauge: Gauge | None) -> None:
        self._group = group
        self._gauge = gauge
        self.begun = time.monotonic()
        self.most_disk, self.most_inodes = 0, 0
        self.change(limits)

    def change(self, limits: Mapping[str, float]) -> None:
        """Take other limits."""
        now = time.monotonic()
        self._limits = limits
        self._busy_at, self._used_at, self._used = now, now, resources.seconds_used(self._group)
        self._next_disk = now
        self._measures = self._gauge is not None and not {"disk_mib", "inodes"}.isdisjoint(limits)

    def next_s(self) -> float | None:
        """Seconds until `verdict` wants to be asked again; None is never."""
        now = time.monotonic()
        moments = []
        if "wall_s" in self._limits:
            moments.append(self.begun + self._limits["wall_s"])
        if "idle_s" in self._limits:
            moments.append(self._used_at + min(1.0, self._limits["idle_s"]))
        if self._measures:
            moments.append(self._next_disk)
        return max(0.0, min(moments) - now) if moments else None

    def verdict(self) -> str:
        """Why the VE must end; "" when it need not."""
        now = time.monotonic()
        wall = self._limits.get("wall_s")
        if wall is not None and now >= self.begun + wall:
            return f"it ran longer than its limit of {wall:g} seconds"
        return self._idle(now) or self._disk(now)

    def _idle(self, now: float) -> str:
        limit = self._limits.get("idle_s")
        if limit is None or now < self._used_at + min(1.0, limit):
            return ""
        used = resources.seconds_used(self._group)
        if used - self._used > _BUSY * (now - self._used_at):
            self._busy_at = now
        self._used_at, self._used = now, used
        return f"it was idle for {limit:g} seconds, its limit" if now - self._busy_at >= limit else ""

    def _disk(self, now: float) -> str:
        if not self._measures or now < self._next_disk:
            return ""
        size, inodes = self.measure()
        self._next_disk = now + max(_DISK_EVERY_S, _MOST_OF_THE_TIME * (time.monotonic() - now))
        mib, count = self._limits.get("disk_mib"), self._limits.get("inodes")
        if mib is not None and size > int(mib) << 20:
            return f"its files take {size >> 20} MiB, and its limit is {mib:g} MiB"
        if count is not None and inodes > count:
            return f"it has {inodes} files of its own, and its limit is {count:g}"
        return ""

    def rows(self) -> list[list[object]]:
        """Its part of what the VE uses, as `resources.usage` has it."""
        limits = self._limits
        seconds = time.monotonic() - self.begun
        rows: list[list[object]] = [["wall", "s", seconds, seconds, limits.get("wall_s"), 0]]
        if self._gauge is not None:
            size, inodes = self.measure()
            mib = limits.get("disk_mib")
            space = None if mib is None else int(mib) << 20
            rows.insert(0, ["inodes", "", inodes, self.most_inodes, limits.get("inodes"), 0])
            rows.insert(0, ["disk", "bytes", size, self.most_disk, space, 0])
        return rows

    def measure(self) -> tuple[int, int]:
        """(bytes, inodes) that it takes now; (0, 0) when nothing counts them."""
        if self._gauge is None:
            return 0, 0
        size, inodes = self._gauge.held()
        self.most_disk, self.most_inodes = max(self.most_disk, size), max(self.most_inodes, inodes)
        return size, inodes
