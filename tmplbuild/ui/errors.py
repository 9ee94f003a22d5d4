"""An error as a person reads it, and as a program does.

tmplbuild: error: the archive's signature is not by a pinned key
  where: http://.../dists/bookworm/InRelease
  why:   signed by 1234...
  hint:  ...
"""

from __future__ import annotations

from tmplbuild.errors import INTERRUPTED, RecipeError, StageError, TmplbuildError
from tmplbuild.ui.style import Ink
from tmplbuild.ui.words import printable

TAIL_LINES = 20
"""How many of the last lines of a failed step's log are shown."""


def error_lines(error: TmplbuildError, ink: Ink) -> list[str]:
    """`error` as lines for stderr: what failed, then where, why, what to do, and the log's end."""
    head = f"{ink('tmplbuild: error:', 'bold', 'red')} "
    first, *more = error.what.splitlines() or [""]
    lines = [head + printable(first), *(f"  {printable(line)}" for line in more)]
    faults = error.faults if isinstance(error, RecipeError) else ()
    for label, text in error.details():
        if label == "why" and faults:
            lines += _faults(faults, ink)
            if text != "\n".join(faults):
                lines += _labelled("why", text, ink)
        else:
            lines += _labelled(label, text, ink)
    if isinstance(error, StageError):
        lines += _log(error, ink)
    return lines


def _labelled(label: str, text: str, ink: Ink) -> list[str]:
    first, *more = text.splitlines() or [""]
    head = f"  {ink(f'{label}:', 'cyan')}{' ' * (6 - len(label))}"
    return [head + printable(first), *(" " * 9 + printable(line) for line in more)]


def _faults(faults: tuple[str, ...], ink: Ink) -> list[str]:
    lines: list[str] = []
    for fault in faults:
        first, *more = fault.splitlines() or [""]
        lines += [f"  {ink('-', 'red')} {printable(first)}", *(f"    {printable(line)}" for line in more)]
    return lines


def _log(error: StageError, ink: Ink) -> list[str]:
    lines = _labelled("log", error.log, ink) if error.log else []
    tail = error.tail[-TAIL_LINES:]
    bar = ink("|", "dim")
    return lines + [f"  {bar} {printable(line.rstrip())}" for line in tail]


def error_object(error: TmplbuildError) -> dict[str, object]:
    """`error` as --json prints it: event "error", its class, exit code and all its texts."""
    found: dict[str, object] = {
        "event": "error",
        "class": type(error).__name__,
        "exit_code": error.exit_code,
        "what": error.what,
    }
    found |= dict(error.details())
    if isinstance(error, RecipeError):
        found["faults"] = list(error.faults)
    if isinstance(error, StageError):
        found |= {"log": error.log, "tail": list(error.tail)}
    return found


def interrupted_object() -> dict[str, object]:
    """The last line of --json after Ctrl-C or SIGTERM."""
    return {"event": "error", "class": "Interrupted", "exit_code": INTERRUPTED, "what": "interrupted"}
