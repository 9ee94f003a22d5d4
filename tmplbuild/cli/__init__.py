"""The command line: `main` turns words into a verb's run, and what happened into an exit status."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from tmplbuild.errors import INTERRUPTED, TmplbuildError


def command() -> NoReturn:
    """The program `tmplbuild`. All is done when `main` returns: what Python does to take itself apart (0.2 s
    where Dask is loaded) is of no use to anybody."""
    # what a run loads stays: to look through it for garbage time and again is a tenth of one without news
    gc.set_threshold(50_000)
    status = main()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):  # closed by who started us
        sys.exit(status)
    os._exit(status)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status (see `tmplbuild.errors`).

    Parameters:
        argv: the words after the program's name; those of the process without it.
    """
    from tmplbuild.cli.signals import interruptible

    if "TMPLBUILD_PARENT" in os.environ:
        from tmplbuild.core.process import die_with_parent

        die_with_parent()
    _tolerant_streams()
    try:
        with interruptible():
            return _run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:  # while the run that another had ended was still telling so
        return INTERRUPTED


def _run(words: list[str]) -> int:
    args = argparse.Namespace(json="--json" in words, debug="--debug" in words, color="auto")
    try:
        args = _parse(words)
        status: int = args.run(args)
        sys.stdout.flush()
        return status
    except SystemExit as leave:  # argparse's --help and --version
        return leave.code if isinstance(leave.code, int) else 0
    except KeyboardInterrupt:
        from tmplbuild.cli.failures import interrupted

        return interrupted(args)
    except TmplbuildError as error:
        from tmplbuild.cli.failures import fail

        return fail(error, args)
    except Exception as error:  # noqa: BLE001  # no traceback may reach a user
        from tmplbuild.cli.failures import unexpected

        return unexpected(error, args)


def _tolerant_streams() -> None:
    """Names in trees need not be UTF-8, nor need the terminal be able to show them."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _parse(words: list[str]) -> argparse.Namespace:
    from tmplbuild.cli.grammar import build_parser, first_verb

    return build_parser(first_verb(words)).parse_args(words)
