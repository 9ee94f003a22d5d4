"""Sizes as vzctl's options and files have them (vzctl(8), ctid.conf(5))."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from tmplbuild.errors import UsageError

_UNITS = {"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 4096}
NO_LIMIT = (1 << 63) - 1
"""LONG_MAX, which OpenVZ writes for "unlimited"."""


def size(text: str, unit: int = 1) -> int | None:
    """Bytes for a number with B, K, M, G, T or P (pages); None for "unlimited".

    Parameters:
        unit: bytes of a number without one.

    Raises UsageError.
    """
    text = text.strip()
    if text.lower() == "unlimited":
        return None
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([BKMGTP]?)(?:i?b)?", text, re.IGNORECASE)
    if not found:
        raise UsageError(f"{text!r} is no size", hint="such as 512M, 2G, unlimited")
    try:
        count = int(Decimal(found[1]) * _UNITS.get(found[2].upper(), unit))
    except (InvalidOperation, OverflowError) as error:
        raise UsageError(f"{text!r} is no size") from error
    return None if count >= NO_LIMIT // unit * unit else count


def shown(count: float) -> str:
    """Bytes as the options take them, so that what was set is read again: "256M", "17.6M", "2G", "0"."""
    left = count
    for unit in ("", "K", "M", "G"):
        if left < (1024 if unit == "" else 1023.95):
            break
        left /= 1024
    else:
        unit = "T"
    return f"{left:.1f}".removesuffix(".0") + unit
