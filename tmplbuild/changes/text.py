"""A comparison in words: one line, a few lines, or all of it; for a terminal, a mail, a feed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from tmplbuild.changes.comparison import Change, Comparison, FileChange, PackageChange
from tmplbuild.ui.style import Ink
from tmplbuild.ui.words import plural, printable, size

_CVES_SHOWN = 3
_WIDTH = 100  # of lines that may be long: lists of CVEs
_ORDER = ("upgraded", "downgraded", "changed", "added", "removed")
_SIGNS = {"added": "+", "removed": "-"}
_KINDS = {
    "service": "services",
    "user": "users",
    "group": "groups",
    "privileged": "setuid, setgid, capabilities",
}
_STYLES = {"-": "red", "+": "green", "@": "cyan"}
_PLAIN = Ink()


def headline(found: Comparison) -> str:
    """All in one line: "3 upgraded (1 security: CVE-2026-1234), 1 added; /etc: 2 files"."""
    if found.same:
        return "nothing"
    counts = [_counted(found, change) for change in _ORDER if found.of(change)]
    parts = [", ".join(counts)] if counts else []
    if found.files:
        parts.append(f"/etc: {plural(len(found.files), 'file')}")
    for kind, word in (
        ("service", "service"),
        ("user", "user"),
        ("group", "group"),
        ("privileged", "setuid file"),
    ):
        if rows := found.kind(kind):
            parts.append(plural(len(rows), word))
    traits = found.kind("trait")
    if traits:
        parts.append(", ".join(one.name.replace("_", " ") for one in traits))
    return "; ".join(parts) or f"sizes of {plural(len(found.sizes), 'package')}"


def _counted(found: Comparison, change: str) -> str:
    rows = found.of(change)
    secure = [one for one in rows if one.security]
    text = f"{len(rows)} {change}"
    if not secure:
        return text
    cves = list(dict.fromkeys(cve for one in secure for cve in one.cves))
    more = f" and {len(cves) - _CVES_SHOWN} more" if len(cves) > _CVES_SHOWN else ""
    named = f": {', '.join(cves[:_CVES_SHOWN])}{more}" if cves else ""
    return f"{text} ({len(secure)} security{named})"


def lines(found: Comparison, ink: Ink = _PLAIN, *, diffs: bool = True) -> list[str]:
    """The whole comparison, what would break somebody first.

    Parameters:
        diffs: show what changed in files of /etc, not only their names.
    """
    if found.same:
        return ["nothing differs"]
    rows: list[str] = []
    for title, body in (
        (
            "what may break those who use it",
            (f"  {ink('!', 'red', 'bold')} {printable(one)}" for one in found.breaking),
        ),
        ("security fixes", _security(found, ink)),
        *((f"packages {change}", _packages(found, change, ink)) for change in _ORDER),
        ("files of /etc", _files(found.files, ink, diffs)),
        *((title, _others(found.kind(kind), ink)) for kind, title in _KINDS.items()),
        ("sizes", _sizes(found)),
    ):
        told = list(body)
        if told:
            rows += [*([""] if rows else []), ink(title, "bold"), *told]
    return rows


def _security(found: Comparison, ink: Ink) -> Iterator[str]:
    sources: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
    for one in found.packages:
        if one.security:
            sources.setdefault((one.source or one.name, one.cves, one.urgency), []).append(one.name)
    for (source, cves, urgency), names in sources.items():
        others = "" if names == [source] else f" ({', '.join(names)})"
        told = f"{', '.join(cves) or 'no CVE named'}{f'; urgency {urgency}' if urgency else ''}"
        text = printable(f"{source}{others}: {told}")
        first, *more = textwrap.wrap(text, _WIDTH, break_on_hyphens=False, break_long_words=False)
        name = len(printable(source))
        yield f"  {ink(first[:name], 'yellow')}{first[name:]}"
        yield from (f"      {line}" for line in more)


def _packages(found: Comparison, change: str, ink: Ink) -> Iterator[str]:
    rows = found.of(change)
    names = max((len(printable(one.name)) for one in rows), default=0)
    for one in rows:
        yield f"  {printable(one.name):<{names}}  {_versions(one)}{_more(one, ink)}".rstrip()


def _versions(one: PackageChange) -> str:
    if one.before and one.after:
        return printable(f"{one.before} -> {one.after}")
    return printable(one.before or one.after)


def _more(one: PackageChange, ink: Ink) -> str:
    change = one.size_after - one.size_before
    told = f"  {_signed(change)}" if change else ""
    if one.security:
        told += f"  {ink('security', 'yellow')}"
    return told


def _files(files: Sequence[FileChange], ink: Ink, diffs: bool) -> Iterator[str]:
    for one in files:
        sign = _SIGNS.get(one.change, " ")
        mark = ink(sign, _STYLES[sign]) if sign in _STYLES else sign
        told = ", ".join(
            (*one.what, *([one.detail] if one.detail else []), *(["not shown"] if one.secret else []))
        )
        yield f"  {mark} {printable(one.path)}" + (f": {printable(told)}" if told else "")
        if diffs:
            # the first two lines only name the file again
            for line in one.diff.splitlines()[2:]:
                style = _STYLES.get(line[:1])
                text = f"      {printable(line)}"
                yield ink(text, style) if style else text


def _others(rows: Sequence[Change], ink: Ink) -> Iterator[str]:
    for one in rows:
        if not one.before:
            yield f"  {ink('+', 'green')} {printable(one.name)}: {printable(one.after)}"
        elif not one.after:
            yield f"  {ink('-', 'red')} {printable(one.name)}: {printable(one.before)}"
        else:
            yield f"    {printable(one.name)}: {printable(f'{one.before} -> {one.after}')}"


def _sizes(found: Comparison) -> Iterator[str]:
    change = found.after.size - found.before.size
    if change:
        yield f"    all files: {size(found.before.size)} -> {size(found.after.size)} ({_signed(change)})"
    for one in found.sizes:
        yield f"    {printable(one.package or 'of no package')}: {_signed(one.after - one.before)}"


def _signed(change: int) -> str:
    return f"{'+' if change > 0 else '-'}{size(abs(change))}"


def difference_rows(found: Comparison) -> tuple[str, ...]:
    """A line "KIND: NAME" for each package and file of the second side that is not as in the first."""
    files = found.files
    moved = [one for one in found.packages if one.before and one.after]
    return (
        *(f"more packages: {one.name}" for one in found.of("added")),
        *(f"fewer packages: {one.name}" for one in found.of("removed")),
        *(f"other versions: {one.name} {one.after} (not {one.before})" for one in moved),
        *(f"more files: {one.path}" for one in files if one.change == "added"),
        *(f"fewer files: {one.path}" for one in files if one.change == "removed"),
        *(f"other files: {one.path} ({', '.join(one.what)})" for one in files if one.change == "changed"),
    )
