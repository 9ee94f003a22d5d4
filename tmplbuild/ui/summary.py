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
    stripped   list   of str, each what was done and to what: "masked: NAME"
    leftovers  list   of str, each a file and what was decided
    made_of    dict   of an upgraded release: "template" and "sha256" of the earlier one
    differences list  of str, how it differs from a clean build: "more packages: NAME"
    build      str    id of the build in the history
    changed    str    in one line, what changed since the build before
    breaking   list   of str, what of that may break those who use the template
    warnings   list   of str
    logs       str    directory of the steps' logs
    why        str    for an unchanged template: why there was nothing to do
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping

from tmplbuild.events import RunDone
from tmplbuild.ui.style import Ink
from tmplbuild.ui.words import printable, seconds, size

_LABEL = 11  # columns of the labels, so that a sha256 fits on 80
_SHOWN = 6  # entries of a list that are shown; the rest is in the manifest


def summary_lines(done: RunDone, ink: Ink, width: int = 80) -> list[str]:
    """The summary as lines of at most `width` columns (paths and hashes are never cut)."""
    found = done.summary
    took = _duration(found.get("seconds"))
    after = f" in {took}" if took else ""
    if done.unchanged:
        why = printable(str(found.get("why") or "no input has moved"))
        name = printable(done.template)
        head, inked = f"{name}: unchanged", f"{ink(name, 'bold')}: {ink('unchanged', 'green')}"
        text = f"{head}{after}: {why}"
        lines = textwrap.wrap(text, max(width, len(head)), subsequent_indent="  ", break_on_hyphens=False)
        lines[0] = lines[0].replace(head, inked, 1)
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
        lines += _changed(found, ink, width)
        lines += _kinds("stripped", _texts(found.get("stripped")), ink, width)
        lines += _kinds("leftovers", _texts(found.get("leftovers")), ink, width)
        lines += _upgraded(found, ink, width)
    for warning in _texts(found.get("warnings")):
        lines += _wrapped("warning", warning, ink, width, "yellow")
    return lines


def _changed(found: Mapping[str, object], ink: Ink, width: int) -> list[str]:
    told = found.get("changed")
    lines = _wrapped("changed", printable(told), ink, width) if isinstance(told, str) and told else []
    for row in _texts(found.get("breaking")):
        lines += _wrapped("", f"! {row}", ink, width, "red")
    return lines


def _upgraded(found: Mapping[str, object], ink: Ink, width: int) -> list[str]:
    source = found.get("made_of")
    if not isinstance(source, Mapping):
        return []
    lines = [_fact("made of", printable(str(source.get("template"))), ink)]
    rows = found.get("differences")
    if isinstance(rows, (list, tuple)) and not rows:
        return [*lines, _fact("differs", "in nothing from a clean build", ink)]
    return lines + _kinds("differs", _texts(rows), ink, width)


def _fact(label: str, text: str, ink: Ink, style: str = "cyan") -> str:
    return f"  {ink(label, style)}{' ' * max(_LABEL - len(label), 1)}{text}"


def _texts(value: object) -> list[str]:
    return [printable(str(item)) for item in value] if isinstance(value, (list, tuple)) else []


def _kinds(label: str, items: list[str], ink: Ink, width: int) -> list[str]:
    """A list of "KIND: NAME" texts: how many of each kind, and the first names."""
    if not items:
        return []
    parted = [item.rpartition(": ") for item in items]
    counts = Counter(kind for kind, _, _ in parted)
    head = ", ".join(f"{count} {kind}".strip() for kind, count in counts.items())
    names = [name for _, _, name in parted]
    more = f" and {len(names) - _SHOWN} more (all in the manifest)" if len(names) > _SHOWN else ""
    return _wrapped(label, f"{head}: {', '.join(names[:_SHOWN])}{more}", ink, width)


def _wrapped(label: str, text: str, ink: Ink, width: int, style: str = "cyan") -> list[str]:
    room = max(width - _LABEL - 2, 24)
    first, *more = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    return [_fact(label, first, ink, style), *(" " * (_LABEL + 2) + line for line in more)]
