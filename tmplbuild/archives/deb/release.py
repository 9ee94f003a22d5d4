"""A suite's Release file: which indexes it vouches for, and for how long.

Format: https://wiki.debian.org/DebianRepository/Format. Only the SHA256 section is read. What is
parsed here is signed already (tmplbuild.archives.openpgp), yet a signer's mistake must end in one
clear error too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tmplbuild.archives.clock import SKEW_S, refuse_future, seconds, utc
from tmplbuild.archives.deb822 import stanza
from tmplbuild.archives.model import Listed, safe_path
from tmplbuild.errors import VerifyError

_ENTRY = re.compile(rb"^ +([0-9a-fA-F]{64}) +([0-9]{1,15}) +(\S+)$", re.MULTILINE)
_SHA256 = re.compile(rb"^SHA256:[ \t]*\n((?: .*\n?)*)", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Release:
    """A parsed Release. Dates are seconds since the epoch, 0 where the file does not say.

    `files` maps paths below the suite's directory ("main/binary-amd64/Packages.xz"). `all_apart`:
    packages for every architecture have an index of their own.
    """

    origin: str
    label: str
    suite: str
    codename: str
    date: int
    valid_until: int
    components: tuple[str, ...]
    architectures: tuple[str, ...]
    by_hash: bool
    all_apart: bool
    files: dict[str, Listed] = field(repr=False, default_factory=dict)

    @property
    def identity(self) -> str:
        """What names the suite whatever address it came from.

        Debian's pockets have code names of their own (bookworm-updates) while their suites' names move
        (stable-updates); Ubuntu's have the release's code name, and their suites tell them apart.
        """
        pocket = bool(self.codename) and self.suite.startswith(f"{self.codename}-")
        name = self.suite if pocket else self.codename or self.suite
        return f"{self.origin}/{self.label}/{name}"

    def component(self, name: str) -> bool:
        """Whether the suite has the component. Security suites write theirs as "updates/main" while
        their files lie below "main"."""
        return any(have == name or have.endswith(f"/{name}") for have in self.components)


def parse(content: bytes, *, where: str) -> Release:
    """Read a Release's signed content.

    Parameters:
        where: its URL, for messages.

    Raises VerifyError for what is no Release.
    """
    listing = _SHA256.search(content)
    if listing is None:
        raise VerifyError(
            "the Release file names no SHA256 hashes",
            where=where,
            why="older hashes (MD5, SHA1) are not trusted",
            hint="this archive cannot be used; ask its maintainers",
        )
    head = content[: listing.start()] + content[listing.end() :]
    fields = stanza(head.decode("utf-8", "replace"))
    architectures = tuple(fields.get("architectures", "").split())
    return Release(
        origin=fields.get("origin", ""),
        label=fields.get("label", ""),
        suite=fields.get("suite", ""),
        codename=fields.get("codename", ""),
        date=seconds(fields.get("date", ""), "Date", where),
        valid_until=seconds(fields.get("valid-until", ""), "Valid-Until", where),
        components=tuple(fields.get("components", "").split()),
        architectures=architectures,
        by_hash=fields.get("acquire-by-hash", "").lower() == "yes",
        all_apart="all" in architectures
        and "packages" not in fields.get("no-support-for-architecture-all", "").lower().split(),
        files=_files(listing[1], where),
    )


def check(release: Release, *, asked: str, now: float, where: str) -> None:
    """Refuse a Release of another suite, of the future, or past its Valid-Until.

    Parameters:
        asked: the suite or code name that the recipe names.
        now: seconds since the epoch.

    Raises VerifyError.
    """
    if asked not in (release.suite, release.codename):
        raise VerifyError(
            f"the archive gave the suite {release.codename or release.suite!r} where {asked!r} was asked for",
            where=where,
            hint="name the suite as the archive does, or use another mirror",
        )
    refuse_future(f"the Release of {asked}", release.date, now, where)
    if release.valid_until and now > release.valid_until + SKEW_S:
        raise VerifyError(
            f"the Release of {asked} has expired",
            where=where,
            why=f"it was valid until {utc(release.valid_until)}; this machine's clock says {utc(now)}",
            hint="the mirror is not updated any more, or holds something back: use another one (MIRROR=)",
        )


def _files(section: bytes, where: str) -> dict[str, Listed]:
    files = {}
    for digest, size, name in _ENTRY.findall(section):
        path = name.decode("utf-8", "replace")
        if not safe_path(path):
            raise VerifyError(f"the Release names a file outside the archive: {path[:100]!r}", where=where)
        files[path] = Listed(digest.decode().lower(), int(size))
    if not files:
        raise VerifyError("the Release's SHA256 section names no file", where=where)
    return files
