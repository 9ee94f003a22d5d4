"""A template that was found on a mirror: where it lies there, and by what it is verified."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """`path` below the mirror's address, `compression` "gz" or "xz", `size` bytes and `sha256` of the file.

    `manifest`, `members` and `patch` are (path, size, sha256) of a tmplbuild mirror's manifest, member index
    and patch, the last from the file with the sha256 `patch_from`.
    """

    template: str
    kind: str
    path: str
    compression: str
    size: int
    sha256: str
    build: str = ""
    manifest: tuple[str, int, str] | None = None
    members: tuple[str, int, str] | None = None
    patch: tuple[str, int, str] | None = None
    patch_from: str = ""
