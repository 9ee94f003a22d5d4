"""Digests as the project writes them: "sha256:HEX", "blake2b:HEX", "md5:HEX"; bare hex is SHA-256.

Debian's archives name SHA-256, ALT's BLAKE2b (512 bits) and older ones of it MD5 alone. Alpine's name the
SHA-1 of a package's control member, which names the rest ("apk:HEX", `tmplbuild.archives.segments`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Protocol

from tmplbuild.archives.segments import SegmentHash


class Hasher(Protocol):
    """What hashlib's objects do."""

    def update(self, data: bytes | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


_DIGITS = {"sha256": 64, "blake2b": 128, "md5": 32, "apk": 40}
_MAKERS: dict[str, Callable[[], Hasher]] = {
    "sha256": hashlib.sha256,
    "blake2b": hashlib.blake2b,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "apk": SegmentHash,
}
_HEX = re.compile(r"[0-9a-f]+\Z")


def split(digest: str) -> tuple[str, str]:
    """The kind of a digest and its lower-case hex. Raises ValueError for what is none."""
    kind, colon, value = digest.partition(":")
    if not colon:
        kind, value = "sha256", digest
    if len(value) != _DIGITS.get(kind, 0) or not _HEX.match(value):
        raise ValueError(f"not a digest in lower-case hex: {digest!r}")
    return kind, value


def hasher(digest: str) -> Hasher:
    """A hash of the kind that `digest` is, nothing fed to it. Raises ValueError."""
    return _MAKERS[split(digest)[0]]()


def of(data: bytes | memoryview, like: str) -> str:
    """The digest of `data`, of the kind and in the form of `like`. Raises ValueError."""
    engine = hasher(like)
    engine.update(data)
    return f"{like.partition(':')[0]}:{engine.hexdigest()}" if ":" in like else engine.hexdigest()


def file_name(digest: str) -> str:
    """A file name for content with this digest; for SHA-256 the bare hex. Raises ValueError."""
    kind, value = split(digest)
    return value if kind == "sha256" else f"{kind}-{value}"
