"""The console's log: what init and its services wrote, kept to a size."""

from __future__ import annotations

import contextlib
import os

LIMIT = 4 << 20
"""Bytes after which a file is put aside as NAME.1, in the place of the one before it."""


class ConsoleLog:
    """A file that is appended to and never grows beyond `limit`; the text before that is in NAME.1."""

    def __init__(self, path: str, limit: int = LIMIT) -> None:
        self.path = path
        self._limit = limit
        self._open(path)

    def _open(self, path: str) -> None:
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115  (open as long as the VE runs)
        self._size = os.fstat(self._file.fileno()).st_size

    def _put_aside(self) -> None:
        """Begin a new file; a reader finds one by that name at any moment."""
        self._file.close()
        draft = f"{self.path}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        os.link(self.path, draft)
        os.replace(draft, f"{self.path}.1")
        self._open(draft)
        os.replace(draft, self.path)

    def write(self, data: bytes) -> None:
        """Append. A full disk loses text, and hurts nobody else."""
        if self._size + len(data) > self._limit:
            self._put_aside()
        try:
            self._size += self._file.write(data) or 0
        except OSError:
            return

    def tail(self, size: int) -> str:
        """The last `size` bytes, as text."""
        try:
            with open(self.path, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - size))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""
