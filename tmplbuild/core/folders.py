"""Directories that others remove whenever nothing is in them, as each end of a VE does with those above it.

Between the making of one and of what goes into it, it may be gone again: then both are made once more.
"""

from __future__ import annotations

import os

_TRIES = 1000
"""No others are so many times quicker in a row: a link leads nowhere, or a file is in the way."""


def make(path: str | os.PathLike[str], mode: int = 0o777) -> None:
    """Make a directory and those above it; one that is there is well. Raises OSError.

    Parameters:
        mode: of the last one.
    """
    for left in reversed(range(_TRIES)):
        try:
            os.makedirs(path, mode, exist_ok=True)
            return
        except (FileNotFoundError, FileExistsError):
            if not left:
                raise


def open_in(path: str | os.PathLike[str], flags: int, mode: int, *, folder_mode: int = 0o777) -> int:
    """Open a file (os.open), and make its directory where there is none. Raises OSError."""
    folder = os.path.dirname(path) or "."
    for _ in range(_TRIES - 1):
        make(folder, folder_mode)
        try:
            return os.open(path, flags, mode)
        except FileNotFoundError:
            continue
    return os.open(path, flags, mode)
