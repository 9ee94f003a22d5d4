"""All packages of a recipe's trees."""

from __future__ import annotations

from dataclasses import dataclass

from tmplbuild.archives.model import Package


@dataclass(frozen=True, slots=True)
class Pool:
    """The packages by name: of several suites that have one, the last one's. `series` has the names by
    series."""

    found: dict[str, Package]
    series: dict[str, list[str]]
    arch: str
