"""How a run that did not end well ends: one message, one exit status, no traceback."""

from __future__ import annotations

import argparse
import errno
import os
import select
import sys
import tempfile
import traceback
from typing import TextIO

from tmplbuild import __version__
from tmplbuild.errors import INTERRUPTED, StoreError, TmplbuildError, bug
from tmplbuild.ui.errors import error_lines, error_object, interrupted_object
from tmplbuild.ui.jsonlines import JsonLines
from tmplbuild.ui.style import Ink, wants_colour

PIPE_CLOSED = 141
"""Exit status when the reader of our output has gone: 128 + SIGPIPE, as shells report it."""

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def fail(error: TmplbuildError, args: argparse.Namespace) -> int:
    """Say what failed; the exit status is the error's own."""
    ink = Ink(wants_colour(sys.stderr, args.color))
    _say(error_object(error), error_lines(error, ink), args)
    if args.debug:
        traceback.print_exception(error)
    return error.exit_code


def interrupted(args: argparse.Namespace) -> int:
    """Say that a signal ended the run."""
    _say(interrupted_object(), ["tmplbuild: interrupted"], args)
    return INTERRUPTED


def unexpected(error: Exception, args: argparse.Namespace) -> int:
    """Say what nobody foresaw: a closed pipe is no fault, a full disk is the disk's, the rest is a bug."""
    if isinstance(error, OSError) and _reader_gone():
        return PIPE_CLOSED
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        where = str(error.filename or "")
        return fail(StoreError("the disk cannot be written", where=where, why=error.strerror or ""), args)
    return fail(_bug(error), args)


def _bug(error: Exception) -> TmplbuildError:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    report = f"tmplbuild {__version__}, Python {sys.version}\n{' '.join(sys.argv)}\n\n"
    report += "".join(traceback.format_exception(error))
    try:
        fd, path = tempfile.mkstemp(prefix="tmplbuild-bug-", suffix=".txt")
        with os.fdopen(fd, "w", errors="backslashreplace") as file:
            file.write(report)
        hint = f"please report it with the file {path}"
    except OSError:
        hint = "please report it with the output of the same command with --debug"
    return bug(error, f"{frame.filename}:{frame.lineno}", hint)


def _say(found: dict[str, object], lines: list[str], args: argparse.Namespace) -> None:
    if _drained(sys.stdout) and args.json and _wrote(found):
        return
    try:
        print(*lines, sep="\n", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        _reader_gone()


def _wrote(found: dict[str, object]) -> bool:
    """Whether stdout took the error's object; if it did not, stderr is told."""
    try:
        JsonLines(sys.stdout).write(found)
    except (OSError, ValueError):
        _drained(sys.stdout)
        return False
    return True


def _drained(stream: TextIO) -> bool:
    """Whether the stream took what was buffered. One that cannot is silenced."""
    try:
        stream.flush()
    except ValueError:  # it is closed
        return False
    except OSError:
        _silence(stream.fileno())
        return False
    return True


def _silence(fd: int) -> None:
    # what is still buffered would raise again when Python flushes it at exit
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, fd)
    os.close(null)


def _reader_gone() -> bool:
    """Whether stdout or stderr leads to a pipe that nobody reads; such a stream is then silenced."""
    gone = False
    for stream in (sys.stdout, sys.stderr):
        try:
            fd = stream.fileno()
        except (OSError, ValueError):
            continue
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        if any(happened & select.POLLERR for _, happened in poll.poll(0)):
            _silence(fd)
            gone = True
    return gone
