"""Versions as ALT's rpm orders and matches them. They differ from every other rpm's.

The rules are those of rpm 4.13 in ALT (lib/rpmvercmp.c, lib/rpmds.c):

- an alphabetic segment is newer than a numeric one (1.0.0 < 1.0a); a tilde is older than nothing;
- "newer" goes on after the release: the branch prefix of the disttag, then the build time;
- matching of a dependency is not symmetric: what the provide says and the require leaves open is
  passed over ("promoted"), what the require says and the provide leaves open is not met;
- a set-version (`tmplbuild.archives.aptrpm.setversion`) matches only another one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from tmplbuild.archives.aptrpm import setversion

LESS = 0x02
GREATER = 0x04
EQUAL = 0x08
SENSE = LESS | GREATER | EQUAL
"""The bits of a dependency's flags that say how its version is meant (RPMSENSE_*)."""

_TOKEN = re.compile(r"~|[0-9]+|[A-Za-z]+")
_EPOCH = re.compile(r"([0-9]*):")

Key = tuple[tuple[int, int, str], ...]
_TILDE = (0, 0, "")
_END = (1, 0, "")


@lru_cache(maxsize=65536)
def version_key(text: str) -> Key:
    """A sort key for one version or release: keys compare as rpmvercmp() compares the texts."""
    return tuple(_rank(token) for token in _TOKEN.findall(text)) + (_END,)


def _rank(token: str) -> tuple[int, int, str]:
    if token == "~":
        return _TILDE
    if token[0].isdigit():
        digits = token.lstrip("0")
        return (2, len(digits), digits)
    return (3, 0, token)


def vercmp(one: str, two: str) -> int:
    """-1, 0 or 1 as `one` is older than, equal to or newer than `two` (rpmvercmp)."""
    return _compare(version_key(one), version_key(two))


@dataclass(frozen=True, slots=True)
class Evr:
    """[epoch:]version[-release[:disttag]] in parts; "" where a part is absent."""

    epoch: str
    version: str
    release: str
    disttag: str


@lru_cache(maxsize=65536)
def split(text: str) -> Evr:
    """The parts of a dependency's version (parseEVRD): an epoch before the first colon if only
    digits stand there (":1" has epoch 0), the release after the last dash, the disttag after the
    first colon in the release."""
    epoch = ""
    if found := _EPOCH.match(text):
        epoch = found[1] or "0"
        text = text[found.end() :]
    version, dash, release = text.rpartition("-")
    if not dash:
        return Evr(epoch, text, "", "")
    release, _, disttag = release.partition(":")
    return Evr(epoch, version, release, disttag)


def overlaps(provided: str, provided_flags: int, wanted: str, wanted_flags: int) -> bool:
    """Whether a provide satisfies a dependency of the same name (rpmRangesOverlap, promotion on).

    Parameters:
        provided, wanted: the versions, "" for none.
        provided_flags, wanted_flags: RPMSENSE_* bits; others are passed over.
    """
    have, want = provided_flags & SENSE, wanted_flags & SENSE
    if not (have and want) or not (provided or wanted):
        return True
    sense = _sense(provided, have, wanted, want)
    if sense is None:
        return False
    if sense < 0:
        return bool(have & GREATER or want & LESS)
    if sense > 0:
        return bool(have & LESS or want & GREATER)
    return bool(have & want)


def _sense(provided: str, have: int, wanted: str, want: int) -> int | None:
    """How the provided version compares with the wanted one; None: they never match."""
    if not (provided and wanted):
        return 1 if provided else -1
    if have == want == EQUAL and provided == wanted:
        return 0
    sets = setversion.is_set(provided), setversion.is_set(wanted)
    if all(sets):
        return setversion.compare(provided, wanted)
    if any(sets):
        return None
    return _sense_evr(split(provided), split(wanted))


def _sense_evr(one: Evr, two: Evr) -> int | None:
    if sense := _sense_epoch(one.epoch, two.epoch):
        return sense
    if sense := vercmp(one.version, two.version):
        return sense
    if two.release and not one.release:
        return -1
    if one.release and two.release and (sense := vercmp(one.release, two.release)):
        return sense
    if two.disttag and one.disttag != two.disttag:
        return None
    return 0


def _sense_epoch(one: str, two: str) -> int:
    if one and two:
        return vercmp(one, two)
    return -1 if two and int(two) > 0 else 0


# -- which of two builds is newer --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Build:
    """What orders builds of one package. `epoch` and `built` (seconds since the epoch) are None
    where the header has none."""

    epoch: int | None
    version: str
    release: str
    disttag: str = ""
    built: int | None = None

    def __str__(self) -> str:
        return f"{self.epoch}:{self.evr}" if self.epoch is not None else self.evr

    @property
    def evr(self) -> str:
        """version-release, without the epoch: as file names have it."""
        return f"{self.version}-{self.release}"


def newer(one: Build, two: Build, *, branch: str = "") -> int:
    """-1, 0 or 1 as `one` is older than, the same as or newer than `two` (rpmEVRDTCompare).

    Parameters:
        branch: the branch whose disttags win over all others (`_priority_distbranch`), "" for none.

    Where only one of the two has a disttag, the build time decides: so the order of three builds,
    one of them without, may be a circle, as rpm's is.
    """
    for sense in (
        _compare(one.epoch or 0, two.epoch or 0),
        vercmp(one.version, two.version),
        vercmp(one.release, two.release),
        _compare_disttags(one.disttag, two.disttag, branch),
    ):
        if sense:
            return sense
    return _compare(-1 if one.built is None else one.built, -1 if two.built is None else two.built)


def _compare_disttags(one: str, two: str, branch: str) -> int:
    if not (one and two):
        return 0
    first, second = _branch(one), _branch(two)
    sense = vercmp(first, second)
    if sense and branch in (first, second) and branch:
        return 1 if first == branch else -1
    return sense


def _branch(disttag: str) -> str:
    """The branch that a disttag names: before the "+", without the padding that a colon ends."""
    text = disttag.partition(":")[2] if ":" in disttag else disttag
    name, plus, _ = text.partition("+")
    return name if plus else ""


def _compare(one: Key | int, two: Key | int) -> int:
    return (one > two) - (one < two)  # type: ignore[operator]
