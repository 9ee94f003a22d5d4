"""Changelogs of packages: Debian's (deb-changelog(5)), and the entries in an RPM header.

They come out of trees that others made, so nothing in them is an error: what is no entry is passed over.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

_HEAD = re.compile(
    r"(?P<source>[\w.+-]+) \((?P<version>[^()\s]+)\)(?P<suites>(?: +[\w.+-]+)*) *;(?P<rest>.*)", re.A
)
_URGENCY = re.compile(r"\burgency *= *([A-Za-z]+)", re.IGNORECASE)
_TRAILER = re.compile(r" -- .*<[^>]*>  (?P<date>\S.*)")
_CVE = re.compile(r"\bCVE-(?:19|20)\d\d-\d{4,19}\b", re.IGNORECASE)
_RANKS = ("low", "medium", "high", "emergency", "critical")
_LONGEST = 8 << 20  # bytes of a changelog that are looked at; the longest of Debian has 3 MiB


@dataclass(frozen=True, slots=True)
class Entry:
    """What a changelog says of one version.

    `suites` is where it was uploaded to ("bookworm-security"), `urgency` a lower-case word, both empty
    in an RPM; `date` is as it is written there, `time` an RPM's in seconds since the epoch.
    """

    version: str
    suites: tuple[str, ...] = ()
    urgency: str = ""
    date: str = ""
    text: str = ""
    time: int = 0

    @property
    def cves(self) -> tuple[str, ...]:
        """The vulnerabilities that it names, in order of year and number."""
        found = {name.upper() for name in _CVE.findall(self.text)}
        return tuple(sorted(found, key=by_number))

    @property
    def is_security(self) -> bool:
        """Whether it names a vulnerability, or was made for a suite of security fixes."""
        return bool(self.cves) or any("security" in suite for suite in self.suites)


def by_number(cve: str) -> tuple[int, int]:
    """The order of CVE names."""
    _, year, number = cve.split("-")
    return int(year), int(number)


def most_urgent(words: Iterable[str]) -> str:
    """The highest of Debian's urgencies, "" for none."""
    return max(words, key=lambda word: _RANKS.index(word) if word in _RANKS else -1, default="")


def parse(text: str) -> Iterator[Entry]:
    """The entries of a Debian changelog, the newest first as they stand there."""
    head: re.Match[str] | None = None
    date = ""
    body: list[str] = []
    for line in text.split("\n"):
        found = _HEAD.fullmatch(line.rstrip()) if line[:1].strip() else None
        if found is not None:
            if head is not None:
                yield _entry(head, date, body)
            head, date, body = found, "", []
        elif trailer := _TRAILER.fullmatch(line.rstrip()):
            date = trailer["date"]
        elif line[:1] in (" ", "\t"):
            body.append(line.strip())
    if head is not None:
        yield _entry(head, date, body)


def _entry(head: re.Match[str], date: str, body: list[str]) -> Entry:
    urgency = _URGENCY.search(head["rest"])
    text = "\n".join(line for line in body if line)
    return Entry(
        head["version"], tuple(head["suites"].split()), urgency[1].lower() if urgency else "", date, text
    )


def parse_rpm(rows: Iterable[tuple[int, str, str]]) -> Iterator[Entry]:
    """The entries of an RPM's changelog: (seconds since the epoch, "Name <mail> version", text).

    Whose name ends without a version (the vendor's habit) has an entry without one.
    """
    for seconds, name, text in rows:
        word = name.rpartition(">")[2].strip().removeprefix("-").strip()
        date = datetime.fromtimestamp(min(seconds, 1 << 32), UTC).strftime("%Y-%m-%d")
        yield Entry(word, date=date, text=text, time=seconds)


def between(
    entries: Iterable[Entry], before: str, after: str, order: Callable[[str, str], int]
) -> tuple[Entry, ...]:
    """The entries after version `before` up to version `after`.

    Parameters:
        order: -1, 0 or 1 as the first version is older than, the same as or newer than the second.

    Reading ends at the first entry that is not newer than `before`: what follows is older still.
    """
    found = []
    for entry in entries:
        if order(entry.version, before) <= 0:
            break
        if order(entry.version, after) <= 0:
            found.append(entry)
    return tuple(found)


def paths(package: str, arch: str) -> tuple[str, ...]:
    """Where a Debian package's changelog may lie in a tree (Policy 12.7). A rebuild for one architecture
    has an entry of its own before it."""
    folder = f"/usr/share/doc/{package}"
    return (
        f"{folder}/changelog.Debian.gz",
        f"{folder}/changelog.Debian.{arch}.gz",
        f"{folder}/changelog.gz",
        f"{folder}/changelog.Debian",
    )


def decoded(data: bytes) -> str:
    """The text of a changelog, which may be gzipped, cut short or damaged: then what can be read of it."""
    if data[:2] == b"\x1f\x8b":
        stream = zlib.decompressobj(wbits=31)
        try:
            data = stream.decompress(data, _LONGEST)
        except zlib.error:
            return ""
    return data[:_LONGEST].decode("utf-8", "replace")
