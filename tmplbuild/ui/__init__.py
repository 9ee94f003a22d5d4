"""Renderers of `tmplbuild.events`: results to stdout, all the rest to stderr."""

from __future__ import annotations

import shutil
from typing import TextIO

from tmplbuild.ui.screen import Screen
from tmplbuild.ui.style import Ink, is_terminal, wants_colour

__all__ = ["Screen", "night_screen", "screen"]


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


def night_screen(
    out: TextIO,
    err: TextIO,
    *,
    json: bool = False,
    verbose: bool = False,
    quiet: bool = False,
    quiet_unchanged: bool = False,
    color: str = "auto",
) -> Screen:
    """As `screen`, for a run over several templates.

    Parameters:
        quiet: only what went wrong is told.
        quiet_unchanged: where no terminal looks on, only the report, and none when nothing changed.
    """
    if json:
        return screen(out, err, json=True, verbose=verbose)
    from tmplbuild.ui.nightlines import NightLines, NightReport

    ink = Ink(wants_colour(out, color))
    width = shutil.get_terminal_size().columns
    if not quiet and is_terminal(err) and not verbose:
        from tmplbuild.ui.board import Board

        colour = wants_colour(err, color)
        return Board(out, err, colour=colour, ink=ink, quiet_unchanged=quiet_unchanged)
    if quiet or (quiet_unchanged and not verbose):
        return NightReport(out, err, only_bad=quiet, quiet_unchanged=quiet_unchanged, ink=ink, width=width)
    return NightLines(out, err, verbose=verbose, quiet_unchanged=quiet_unchanged, ink=ink, width=width)
