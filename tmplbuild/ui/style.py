"""Colour: when it is used, and the few styles there are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def is_terminal(stream: TextIO) -> bool:
    """True when a person looks at `stream` on a terminal that can move its cursor."""
    try:
        return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    except ValueError:  # the stream is closed
        return False


def wants_colour(stream: TextIO, choice: str, env: Mapping[str, str] | None = None) -> bool:
    """Whether text on `stream` is coloured.

    Parameters:
        choice: "auto", "always" or "never" (the --color option).
        env: the environment; NO_COLOR set to anything but "" turns "auto" off (no-color.org).
    """
    if choice != "auto":
        return choice == "always"
    return not (os.environ if env is None else env).get("NO_COLOR") and is_terminal(stream)


def is_unicode(stream: TextIO) -> bool:
    """True when `stream` can show any character."""
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "").startswith("utf")


@dataclass(frozen=True, slots=True)
class Ink:
    """Colours text, or leaves it alone."""

    on: bool = False

    def __call__(self, text: str, *styles: str) -> str:
        """`text` in `styles` ("bold", "dim", "red", "green", "yellow", "cyan")."""
        if not self.on or not text:
            return text
        return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"
