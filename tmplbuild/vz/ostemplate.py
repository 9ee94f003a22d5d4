"""From `--ostemplate NAME` to the file in the template cache that vzctl would take, and no other."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from tmplbuild.errors import UsageError
from tmplbuild.tomlfile import did_you_mean

SUFFIXES = (".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
"""In the order in which vzctl looks (kolyshkin/vzctl src/lib/create.c); zstd is ours, so it is last."""


@dataclass(frozen=True, slots=True)
class Found:
    """A template: its name, its file, and what a person should know about the choice ("" mostly)."""

    name: str
    path: Path
    warning: str = ""


def find(cache: Path, wanted: str) -> Found:
    """The file of a template.

    Parameters:
        cache: the template cache.
        wanted: a name as vzctl has it (debian-12-x86_64), a file's name in the cache, or a path.

    Raises UsageError where there is none.
    """
    if "/" in wanted:
        path = Path(wanted)
        if path.is_file():
            return Found(name_of(path.name), path.absolute())
        raise UsageError("there is no such template", where=wanted)
    there = [path for suffix in SUFFIXES if (path := cache / f"{wanted}{suffix}").is_file()]
    if not there and name_of(wanted) != wanted and (cache / wanted).is_file():
        return Found(name_of(wanted), cache / wanted)
    if not there:
        near = did_you_mean(wanted, names(cache))
        raise UsageError(
            f"there is no template {wanted!r}",
            where=f"{cache}/{wanted}.tar[.gz|.bz2|.xz|.zst]",
            hint=near
            or "build one: tmplbuild build NAME; or name one that is there: tmplbuild ve create --help",
        )
    return Found(wanted, there[0], _shadowed(there))


def names(cache: Path) -> list[str]:
    """The names of all templates in the cache."""
    if not cache.is_dir():
        return []
    files = [path.name for path in cache.iterdir() if not path.name.startswith(".")]
    return sorted({name_of(name) for name in files if name_of(name) != name})


def name_of(file: str) -> str:
    """A file's name without what tells that it is a tarball."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if file.endswith(suffix):
            return file.removesuffix(suffix)
    return file


def _shadowed(there: list[Path]) -> str:
    """A warning when a newer file of the same name comes later in the order."""
    taken = there[0]
    newer = [path for path in there[1:] if path.stat().st_mtime > taken.stat().st_mtime]
    if not newer:
        return ""
    day = time.strftime("%Y-%m-%d", time.localtime(taken.stat().st_mtime))
    later = " and ".join(path.name for path in newer)
    return f"{taken.name} of {day} is taken, as vzctl does, though {later} is newer: remove what is stale"
