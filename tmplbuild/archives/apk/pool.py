"""All packages of a recipe's repositories."""

from __future__ import annotations

from dataclasses import dataclass

from tmplbuild.archives.apk.solver import Universe


@dataclass(frozen=True, slots=True)
class Pool:
    """The packages of verified repositories, and where each of these is: its role and its directory."""

    universe: Universe
    homes: tuple[tuple[str, str], ...]
    arch: str
