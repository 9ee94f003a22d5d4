"""What was worked out of each file's content by the last check of a template: a file that is the same one
(by its number and its change time in nanoseconds, which the kernel sets; `tmplbuild.artifact.known` has why
that is enough) is not read again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

Stamp = tuple[int, int]
"""Inode number and change time."""

_FORM = 1


class KnownFiles:
    """Digests of files, and which of them have no attributes.

    Parameters:
        path: the file that they are kept in; one that is not there or damaged holds nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._old = _read(path)
        self._now: dict[str, tuple[int, int, str, bool]] = {}

    def md5(self, path: str, stamp: Stamp, work_out: Callable[[], str]) -> str:
        """The digest of a file, worked out where it is not known."""
        _, _, md5, bare = self._row(path, stamp)
        if not md5:
            md5 = work_out()
            self._now[path] = (*stamp, md5, bare)
        return md5

    def is_bare(self, path: str, stamp: Stamp) -> bool:
        """Whether it is known that a file has no attributes."""
        return self._row(path, stamp)[3]

    def learn_bare(self, path: str, stamp: Stamp) -> None:
        """A file has no attributes."""
        self._now[path] = (*stamp, self._row(path, stamp)[2], True)

    def save(self) -> None:
        """Keep what was asked about in this check, in place of what was there. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            draft.write_text(json.dumps({"form": _FORM, "files": self._now}))
            draft.rename(self._path)
        finally:
            draft.unlink(missing_ok=True)

    def _row(self, path: str, stamp: Stamp) -> tuple[int, int, str, bool]:
        row = self._now.get(path) or self._old.get(path)
        if row is None or row[:2] != stamp:
            row = (*stamp, "", False)
        self._now[path] = row
        return row


def _read(path: Path) -> dict[str, tuple[int, int, str, bool]]:
    try:
        found = json.loads(path.read_bytes())
        if found["form"] != _FORM:
            return {}
        rows = found["files"]
        return {path: (int(a), int(b), str(md5), bare is True) for path, (a, b, md5, bare) in rows.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
