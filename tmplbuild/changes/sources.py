"""Where the changelogs of packages come from: the tree that they are installed in, rpm's database in it, or
their own files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import takewhile
from pathlib import Path
from typing import Protocol

from tmplbuild.archives.aptrpm import evr
from tmplbuild.archives.deb import version as debversion
from tmplbuild.archives.deb.debfile import open_deb
from tmplbuild.changes import changelog
from tmplbuild.changes.changelog import Entry
from tmplbuild.changes.compare import Changelogs
from tmplbuild.changes.facts import Package
from tmplbuild.core.tarread import Limits, TarReader
from tmplbuild.errors import TmplbuildError, VerifyError
from tmplbuild.managers import rpmdb

_LIMITS = Limits(members=200_000, size=4 << 30)
_MOST = 8 << 20  # bytes of a changelog as it is packed


class Reads(Protocol):
    """A tree or a view of one."""

    def is_file(self, path: str) -> bool: ...
    def read_bytes(self, path: str) -> bytes: ...


def of_tree(files: Reads) -> Changelogs:
    """The changelogs in a tree, which must stay open while they are asked for: Debian's in /usr/share/doc,
    an RPM's in rpm's database, which is read when the first one is asked for."""
    known: dict[tuple[str, str], rpmdb.Package] | None = None

    def look(old: Package, new: Package) -> Iterable[Entry]:
        nonlocal known
        if not new.changed:  # only an RPM has it
            return debian(old, new)
        if known is None:
            try:
                known = {(one.name, one.version): one for one in rpmdb.packages(files)}
            except (OSError, VerifyError):
                known = {}
        found = known.get((new.name, new.version))
        return _since(found, old) if found is not None else ()

    debian = _debian(files)
    return look


def _debian(files: Reads) -> Changelogs:

    def look(old: Package, new: Package) -> Iterable[Entry]:
        for path in changelog.paths(new.name, new.arch):
            try:
                if files.is_file(path) and (found := _between(files.read_bytes(path), old, new)):
                    return found
            except OSError:  # a loop of links, or too large
                continue
        return ()

    return look


def of_debs(file_of: Callable[[Package], Path | None]) -> Changelogs:
    """Changelogs inside the packages' own files, for trees whose documentation was left out.

    Parameters:
        file_of: where a package's verified .deb lies, or None where it is not at hand.
    """

    def look(old: Package, new: Package) -> Iterable[Entry]:
        path = file_of(new)
        if path is None or not path.exists():
            return ()
        wanted = [one.lstrip("/") for one in changelog.paths(new.name, new.arch)]
        try:
            with path.open("rb") as file, open_deb(file.fileno(), path.name) as deb:
                reader = TarReader(deb.data, _LIMITS)
                for member in reader:
                    known = member.name.removeprefix("./") in wanted and member.size <= _MOST
                    if member.kind == "file" and known:
                        found = _between(b"".join(reader.chunks()), old, new)
                        if found:
                            return found
        except (OSError, TmplbuildError):  # a damaged file: there is only less to tell
            return ()
        return ()

    return look


def first_of(*sources: Changelogs) -> Changelogs:
    """What the first source has that has anything; asked once for all packages of one source package."""
    known: dict[tuple[str, str, str], tuple[Entry, ...]] = {}

    def look(old: Package, new: Package) -> Iterable[Entry]:
        key = (new.source or new.name, old.source_version, new.source_version)
        if not known.get(key):
            found = (tuple(source(old, new)) for source in sources)
            known[key] = next(filter(None, found), ())
        return known[key]

    return look


def _since(package: rpmdb.Package, old: Package) -> tuple[Entry, ...]:
    """What was added to an RPM's changelog since the newest entry of the older package. Entries of one day
    bear the same time: then the version tells."""
    if not old.changed:
        return ()

    def is_new(entry: Entry) -> bool:
        same_day = entry.time == old.changed and entry.version
        return entry.time > old.changed or bool(same_day and _is_later(entry.version, old.version))

    return tuple(takewhile(is_new, changelog.parse_rpm(package.changelog)))


def _is_later(version: str, than: str) -> bool:
    one, two = evr.split(version), evr.split(than)
    return (evr.vercmp(one.version, two.version) or evr.vercmp(one.release, two.release)) > 0


def _between(data: bytes, old: Package, new: Package) -> tuple[Entry, ...]:
    entries = changelog.parse(changelog.decoded(data))
    before, after = (one.source_version or one.version for one in (old, new))
    return changelog.between(entries, before, after, debversion.compare)
