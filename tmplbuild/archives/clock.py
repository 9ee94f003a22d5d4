"""Times: as messages show them, as archives' files say them."""

from __future__ import annotations

import datetime
from email.utils import parsedate_to_datetime

from tmplbuild.errors import VerifyError

SKEW_S = 3600
"""Seconds by which this machine's clock and the archive's may differ."""


def utc(seconds: float) -> str:
    """Seconds since the epoch as people read it, in UTC."""
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} s"
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def refuse_future(what: str, date: int, now: float, where: str) -> None:
    """Refuse what is dated (seconds since the epoch) later than now. Raises VerifyError."""
    if date > now + SKEW_S:
        raise VerifyError(
            f"{what} is from the future",
            where=where,
            why=f"it is dated {utc(date)}; this machine's clock says {utc(now)}",
            hint="set this machine's clock",
        )


def seconds(text: str, field: str, where: str) -> int:
    """The date of a signed file's field (RFC 5322), seconds since the epoch; 0 for an empty one.

    One without a zone, or of zone -0000 (3.3: it is UTC, the writer's own zone is not told), is no date of
    this machine's zone.

    Raises VerifyError for what is no date.
    """
    if not text:
        return 0
    try:
        moment = parsedate_to_datetime(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp())
    except (ValueError, TypeError, IndexError, OverflowError):
        raise VerifyError(f"the release's {field} is no date: {text[:60]!r}", where=where) from None
