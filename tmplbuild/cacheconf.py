"""The settings' table [cache]: how much of what only saves time is kept, and how long.

[cache]
max_size = "20G"
max_age_days = 60
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tmplbuild.tomlfile import Node, number, quote, table

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


@dataclass(frozen=True, slots=True)
class Keep:
    """The table [cache]. What a template's last good build needs, and what a failed one goes on from, is
    kept whatever these say.

    max_size: bytes of packages, indexes and compressed members together; the longest unused go first.
        0: no bound.
    max_age_days: packages, indexes, trees of failed builds and logs of templates that are built no more
        go when they were not used for so long.
    members_days: the same for compressed members.
    layers_hours: layers and packed files that no build needs are kept so long since they were used, for
        recipes that are being worked on. max_layers: and no more than so many of them.
    """

    max_size: int = 0
    max_age_days: float = 90
    members_days: float = 14
    layers_hours: float = 6
    max_layers: int = 100


def size_of(value: object) -> int:
    """Bytes of "500M", "5G" (powers of 1000) or a number. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgt]?)b?", str(value).lower())
    if isinstance(value, bool) or not match:
        raise ValueError(f"{quote(str(value))} is not a size (500M, 5G)")
    return int(float(match[1]) * _UNITS[match[2]])


def from_table(node: Node, faults: list[str]) -> Keep:
    """The table [cache]; what is wrong with it is added to `faults`, each with its line."""
    kinds = {
        "max_size": size_of,
        "max_age_days": number(0, 36_500),
        "members_days": number(0, 36_500),
        "layers_hours": number(0, 876_000),
        "max_layers": number(0, 1_000_000),
    }
    return Keep(**table(node, "cache", kinds, faults))  # type: ignore[arg-type]
