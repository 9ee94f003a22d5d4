"""Times as messages show them."""

from __future__ import annotations

import datetime


def utc(seconds: float) -> str:
    """Seconds since the epoch as people read it, in UTC."""
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} s"
    return moment.strftime("%Y-%m-%d %H:%M UTC")
