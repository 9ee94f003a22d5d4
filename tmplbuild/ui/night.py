"""The report of a run over several templates as text: for a terminal, for cron's mail.

What must be known stands first: failures, templates that have grown old, then what changed. The words of
the report are listed in docs/json.md.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterable, Mapping
from typing import Any

from tmplbuild.ui.errors import TAIL_LINES
from tmplbuild.ui.style import Ink
from tmplbuild.ui.words import printable, seconds, size

Report = Mapping[str, Any]
Row = Mapping[str, Any]

_HUES = {"failed": "red", "stale": "yellow", "built": "green", "updated": "green", "busy": "yellow"}
_SERVED = ("published", "unchanged", "withdrawn")
_CHANGES = 12  # lines of changes that are shown of one template


def subject(report: Report) -> str:
    """One line: "1 failed, 2 updated, 17 unchanged"."""
    counts = dict(report["counts"])
    parts = [f"{count} {name}" for name, count in counts.items() if name != "skipped"]
    if report["stale"]:
        parts.insert(1 if "failed" in counts else 0, f"{len(report['stale'])} stale")
    if lost := len(unpublished(report)):
        parts.append(f"{lost} not published")
    return ", ".join(parts) or "nothing to do"


def is_quiet(report: Report) -> bool:
    """Whether nothing happened that anybody must know."""
    news = {"failed", "built", "updated", "busy"} & set(report["counts"])
    return not report["status"] and not news and "published" not in report


def night_lines(report: Report, ink: Ink, width: int = 80) -> list[str]:
    """The report as lines of at most `width` columns (paths and what was said are never cut)."""
    rows = report["templates"]
    began = time.strftime("%Y-%m-%d %H:%M", time.localtime(report["began"]))
    colour = "red" if report["status"] else "green"
    lines = [f"{began}: {ink(subject(report), 'bold', colour)} in {seconds(report['seconds'])}"]
    for kind in ("failed", "stale", "built", "updated", "busy"):
        found = [row for row in rows if (row["stale"] if kind == "stale" else row["outcome"] == kind)]
        if found:
            lines += ["", ink(kind, "bold", _HUES[kind])]
            for row in found:
                lines += _told(kind, row, ink, width)
    lines += _published(report, ink, width)
    lines += _names("unchanged", rows, ink, width)
    lines += _skipped(rows, ink, width)
    return lines


def unpublished(report: Report) -> list[tuple[str, str]]:
    """What could not be published, and targets that were not reached, each with why."""
    found = report.get("published") or {}
    bad = [(one["template"], one["why"]) for one in found.get("templates", ()) if one["state"] not in _SERVED]
    return bad + [(one["name"], one["why"]) for one in found.get("targets", ()) if one["state"] == "failed"]


def _published(report: Report, ink: Ink, width: int) -> list[str]:
    lines: list[str] = []
    if bad := unpublished(report):
        lines += ["", ink("not published", "bold", "red")]
        lines += [line for name, why in bad for line in _wrapped(str(name), _first(why), width)]
    found = report.get("published") or {}
    if good := [one for one in found.get("templates", ()) if one["state"] == "published"]:
        lines += ["", ink("published", "bold", "green")]
        lines += [f"  {printable(str(one['template']))} {printable(str(one['build']))}" for one in good]
    return lines


def _told(kind: str, row: Row, ink: Ink, width: int) -> list[str]:
    if kind == "failed":
        return _failed(row, ink)
    if kind == "stale":
        text = f"last good build {_age(row)}" + (f"; {row['why']}" if row["outcome"] != "failed" else "")
        return _wrapped(row["template"], text, width)
    took = f" in {seconds(row['seconds'])}" if row["seconds"] else ""
    lines = _wrapped(row["template"] + took, str(row["why"]), width)
    if row.get("size"):
        hosts = dict.fromkeys(str(stage["host"]) for stage in row.get("stages") or () if stage.get("host"))
        where = f", built on {', '.join(hosts)}" if hosts else ""
        lines.append(f"    {size(row['size'])}, {row['packages']} packages{printable(where)}")
    lines += _some([f"    {printable(str(line))}" for line in row.get("changes") or ()], _CHANGES)
    lines += [f"    {ink('warning', 'yellow')} {printable(str(text))}" for text in row.get("warnings") or ()]
    return lines


def _failed(row: Row, ink: Ink) -> list[str]:
    error = row.get("error") or {}
    lines = [f"  {printable(str(row['template']))}: {printable(_first(error.get('what') or row['why']))}"]
    for label in ("where", "why", "hint", "log"):
        text = str(error.get(label) or "")
        for number, line in enumerate(text.splitlines()):
            head = f"{label}:" if number == 0 else ""
            lines.append(f"    {ink(f'{head:<7}', 'cyan')}{printable(line)}")
    bar = ink("|", "dim")
    lines += [f"    {bar} {printable(line.rstrip())}" for line in list(error.get("tail") or ())[-TAIL_LINES:]]
    kept = f"{row['file']}, built {_age(row)}" if row.get("built") else "there is none yet"
    lines.append(f"    {ink('kept:  ', 'cyan')}{printable(kept)}")
    failure = row.get("failure") or {}
    if failure.get("times", 1) > 1:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(failure["since"]))
        lines.append(f"    {ink('since: ', 'cyan')}{since}, {failure['times']} times in a row")
    return lines


def _names(kind: str, rows: Iterable[Row], ink: Ink, width: int) -> list[str]:
    names = [printable(str(row["template"])) for row in rows if row["outcome"] == kind]
    if not names:
        return []
    return [
        "",
        ink(kind, "bold"),
        *textwrap.wrap(
            ", ".join(names), width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
        ),
    ]


def _skipped(rows: Iterable[Row], ink: Ink, width: int) -> list[str]:
    by_why: dict[str, list[str]] = {}
    for row in rows:
        if row["outcome"] == "skipped":
            by_why.setdefault(_general(row), []).append(str(row["template"]))
    if not by_why:
        return []
    lines = ["", ink("skipped", "dim")]
    for why, names in by_why.items():
        lines += _wrapped(", ".join(names), why, width)
    return lines


def _general(row: Row) -> str:
    """Why, without the name: what several have in common is told once."""
    return str(row["why"]).replace(str(row["recipe"]), "NAME")


def _wrapped(head: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(
        f"{printable(head)}: {printable(text)}",
        max(width, 40),
        initial_indent="  ",
        subsequent_indent="    ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def _some(lines: list[str], most: int) -> list[str]:
    return lines if len(lines) <= most else [*lines[:most], f"    and {len(lines) - most} more"]


def _age(row: Row) -> str:
    age = row.get("age_s")
    if age is None:
        return "never"
    if age < 2 * 86400:
        return f"{age / 3600:.0f} hours ago"
    return f"{age / 86400:.0f} days ago"


def _first(text: object) -> str:
    return (str(text).splitlines() or [""])[0]
