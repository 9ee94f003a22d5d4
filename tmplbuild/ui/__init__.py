"""Renderers of `tmplbuild.events`: results to stdout, all the rest to stderr."""

from __future__ import annotations

import shutil
from typing import TextIO

from tmplbuild.ui.screen import Screen
from tmplbuild.ui.style import Ink, is_terminal, wants_colour

__all__ = ["Screen", "screen"]


def screen(
    out: TextIO,
    err: TextIO,
    *,
    json: bool = False,
    verbose: bool = False,
    quiet: bool = False,
    color: str = "auto",
) -> Screen:
    """The renderer that fits: JSON lines if asked, the live screen on a terminal, else plain lines.

    Parameters:
        out: stdout. err: stderr.
        color: "auto", "always" or "never".
    """
    if json:
        from tmplbuild.ui.jsonlines import JsonLines

        return JsonLines(out, verbose=verbose)
    from tmplbuild.ui.plain import Plain, Quiet

    if quiet:
        return Quiet(err)
    ink = Ink(wants_colour(out, color))
    if is_terminal(err):
        from tmplbuild.ui.terminal import Terminal

        return Terminal(out, err, verbose=verbose, colour=wants_colour(err, color), ink=ink)
    return Plain(out, err, verbose=verbose, ink=ink, width=shutil.get_terminal_size().columns)
