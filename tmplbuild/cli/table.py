"""Results in columns, the last one wrapped into what the terminal has left."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence

from tmplbuild.ui.style import Ink, wants_colour
from tmplbuild.ui.words import printable


def table(head: Sequence[str], rows: Sequence[Sequence[str]], color: str = "auto") -> list[str]:
    """Lines with a head; for a pipe nothing is wrapped, so that every row is one line."""
    ink = Ink(wants_colour(sys.stdout, color))
    cells = [tuple(head), *(tuple(printable(cell) for cell in row) for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head) - 1)]
    left = sum(widths) + 2 * len(widths)
    room = max(shutil.get_terminal_size().columns - left - 1, 20) if sys.stdout.isatty() else 0
    lines: list[str] = []
    for number, row in enumerate(cells):
        fixed = "".join(f"{cell:<{width}}  " for cell, width in zip(row, widths, strict=False))
        pieces = (textwrap.wrap(row[-1], room) or [""]) if room else [row[-1]]
        found = [(fixed + pieces[0]).rstrip(), *(" " * left + piece for piece in pieces[1:])]
        lines += [ink(line, "dim") for line in found] if number == 0 else found
    return lines
