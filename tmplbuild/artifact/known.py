"""What packing a template came to, group by group, for the next time: what did not change is not read again.

A group (the files of one package) is known by a digest of all that its headers say and, in place of its
contents, of each file's inode number and change time in nanoseconds: layers are never written to once they
are committed, and the kernel sets a change time by itself. So does `borg` with its files cache. What is taken
up again is only which members the group came to; their bytes are verified where they are kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tmplbuild.artifact.atomic import write_atomic

_FORM = 1


class Piece(NamedTuple):
    """One member: its name in the cache, and the raw bytes that it holds."""

    key: str
    size: int


class Known:
    """The groups of a template's last packs.

    Parameters:
        path: the file that they are kept in; one that is not there, or was not written by `save`, is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._old = _read(path)
        self._now: dict[str, tuple[Piece, ...]] = {}

    def pieces(self, digest: str) -> tuple[Piece, ...]:
        """The members that the group with this digest came to; none if it is not known."""
        return self._old.get(digest, ())

    def learn(self, digest: str, pieces: Sequence[Piece]) -> None:
        """Remember a group of this pack."""
        self._now[digest] = tuple(pieces)

    def forget(self) -> None:
        """What is kept is of no use."""
        self._old = {}

    def save(self) -> None:
        """Keep what was learnt in place of what was there. Raises StoreError."""
        rows = {digest: [list(piece) for piece in pieces] for digest, pieces in self._now.items()}
        body = json.dumps(rows, sort_keys=True)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self._path, json.dumps({"form": _FORM, "sum": _sum(body), "groups": body}).encode())


def _read(path: Path) -> dict[str, tuple[Piece, ...]]:
    try:
        found = json.loads(path.read_bytes())
        if found["form"] != _FORM or found["sum"] != _sum(found["groups"]):
            return {}
        rows = json.loads(found["groups"])
        return {
            digest: tuple(Piece(str(key), int(size)) for key, size in row) for digest, row in rows.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # it only saves time


def _sum(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
