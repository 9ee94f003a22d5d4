"""Digests as the project writes them: "sha256:HEX", "blake2b:HEX", "md5:HEX"; bare hex is SHA-256.

Debian's archives name SHA-256, ALT's BLAKE2b (512 bits) and older ones of it MD5 alone.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

_DIGITS = {"sha256": 64, "blake2b": 128, "md5": 32}
_HEX = re.compile(r"[0-9a-f]+\Z")


def split(digest: str) -> tuple[str, str]:
    """The kind of a digest and its lower-case hex. Raises ValueError for what is none."""
    kind, colon, value = digest.partition(":")
    if not colon:
        kind, value = "sha256", digest
    if len(value) != _DIGITS.get(kind, 0) or not _HEX.match(value):
        raise ValueError(f"not a digest in lower-case hex: {digest!r}")
    return kind, value


def hasher(digest: str) -> _Hash:
    """A hash of the kind that `digest` is, nothing fed to it. Raises ValueError."""
    kind = split(digest)[0]
    return hashlib.new(kind, usedforsecurity=False) if kind == "md5" else hashlib.new(kind)


def of(data: bytes | memoryview, like: str) -> str:
    """The digest of `data`, of the kind and in the form of `like`. Raises ValueError."""
    engine = hasher(like)
    engine.update(data)
    return f"{like.partition(':')[0]}:{engine.hexdigest()}" if ":" in like else engine.hexdigest()


def file_name(digest: str) -> str:
    """A file name for content with this digest; for SHA-256 the bare hex. Raises ValueError."""
    kind, value = split(digest)
    return value if kind == "sha256" else f"{kind}-{value}"
