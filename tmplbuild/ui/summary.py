"""The result of a build on stdout: what the template is, how it came to be.

Words of `RunDone.summary` (all may be missing; --json prints them as they are):

    template   str    name without suffix
    file       str    path of the template
    manifest   str    path of its manifest
    size       int    bytes of the file
    sha256     str    of the file, hex
    packages   int    how many are installed
    seconds    float  wall clock time of the run
    stages     list   of {"name": str, "seconds": float, "cached": bool, "reason": str}
    stripped   list   of str, each what was taken out
    leftovers  list   of str, each a file and what was decided
    warnings   list   of str
    logs       str    directory of the steps' logs
    why        str    for an unchanged template: why there was nothing to do
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping

from tmplbuild.events import RunDone
from tmplbuild.ui.style import Ink
from tmplbuild.ui.words import plural, printable, seconds, size

_LABEL = 11  # columns of the labels, so that a sha256 fits on 80
_SHOWN = 6  # entries of a list that are shown; the rest is in the manifest


def summary_lines(done: RunDone, ink: Ink, width: int = 80) -> list[str]:
    """The summary as lines of at most `width` columns (paths and hashes are never cut)."""
    found = done.summary
    took = _duration(found.get("seconds"))
    after = f" in {took}" if took else ""
    if done.unchanged:
        why = printable(str(found.get("why") or "no input has moved"))
        lines = [f"{ink(printable(done.template), 'bold')}: {ink('unchanged', 'green')}{after}: {why}"]
    else:
        lines = [f"{ink(printable(done.template), 'bold')}: {ink('built', 'green')}{after}", ""]
        lines += _stage_table(found.get("stages"), ink, width)
    return lines + _facts(found, ink, width, brief=done.unchanged)


def _stage_table(stages: object, ink: Ink, width: int) -> list[str]:
    rows = [
        (
            str(row.get("name", "")),
            "cached" if row.get("cached") else _duration(row.get("seconds")),
            printable(str(row.get("reason") or "")),
            bool(row.get("cached")),
        )
        for row in _maps(stages)
    ]
    if not rows:
        return []
    names = max(len("stage"), *(len(row[0]) for row in rows))
    times = max(len("time"), *(len(row[1]) for row in rows))
    lines = [ink(f"  {'stage':<{names}}  {'time':>{times}}  why", "dim")]
    for name, time, reason, cached in rows:
        room = max(width - names - times - 6, 16)
        first, *more = textwrap.wrap(reason, room) or [""]
        cell = ink(f"{time:>{times}}", "dim") if cached else f"{time:>{times}}"
        lines.append(f"  {name:<{names}}  {cell}  {first}".rstrip())
        lines += [" " * (names + times + 6) + line for line in more]
    return lines + [""]


def _duration(value: object) -> str:
    return seconds(value) if isinstance(value, (int, float)) else ""


def _maps(value: object) -> Iterable[Mapping[str, object]]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, (list, tuple)) else []


def _facts(found: Mapping[str, object], ink: Ink, width: int, *, brief: bool) -> list[str]:
    lines: list[str] = []
    for word in ("file", "size", "sha256", "packages", "manifest"):
        value = found.get(word)
        if value is None or (brief and word == "manifest"):
            continue
        text = size(value) if word == "size" and isinstance(value, int) else printable(str(value))
        lines.append(_fact(word, text, ink))
    if not brief:
        for word, noun in (("stripped", "thing"), ("leftovers", "file")):
            lines += _list(word, noun, found.get(word), ink, width)
    for warning in _texts(found.get("warnings")):
        lines.append(_fact("warning", warning, ink, "yellow"))
    return lines


def _fact(label: str, text: str, ink: Ink, style: str = "cyan") -> str:
    return f"  {ink(label, style)}{' ' * max(_LABEL - len(label), 1)}{text}"


def _texts(value: object) -> list[str]:
    return [printable(str(item)) for item in value] if isinstance(value, (list, tuple)) else []


def _list(label: str, noun: str, value: object, ink: Ink, width: int) -> list[str]:
    items = _texts(value)
    if not items:
        return []
    shown = ", ".join(items[:_SHOWN])
    more = len(items) - _SHOWN
    if more > 0:
        shown += f" and {more} more (all in the manifest)"
    wrapped = textwrap.wrap(f"{plural(len(items), noun)}: {shown}", max(width - _LABEL - 2, 24))
    return [_fact(label, wrapped[0], ink), *(" " * (_LABEL + 2) + line for line in wrapped[1:])]
