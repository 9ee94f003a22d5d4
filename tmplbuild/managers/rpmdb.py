"""rpm's database as files, for trees whose rpm is not run: a template of others is only looked at.

    Packages         Berkeley DB (to rpm 4.16; ALT's to this day)
    Packages.db      ndb (SUSE)
    rpmdb.sqlite     SQLite (since 4.16)

Each holds the header of every package. Forms that are not known are told as such; nothing is guessed.
"""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from tmplbuild.archives.aptrpm import header as h
from tmplbuild.core.tree import Tree
from tmplbuild.errors import VerifyError
from tmplbuild.managers import bdb
from tmplbuild.managers.dpkg import RealPaths
from tmplbuild.managers.rpmnames import PUBKEY, source_of

PLACES = ("/usr/lib/sysimage/rpm", "/var/lib/rpm", "/usr/share/rpm")
CHANGELOGTIME, CHANGELOGNAME, CHANGELOGTEXT, LONGSIZE = 1080, 1081, 1082, 5009

_NDB, _SLOT, _BLOB, _TAIL = b"RpmP", b"Slot", b"BlbS", b"BlbE"
_WAL_MARK = slice(18, 20)  # in SQLite's file header: 2 for a file with a write-ahead log


class Reads(Protocol):
    """A tree or a view of one."""

    def is_file(self, path: str) -> bool: ...
    def read_bytes(self, path: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Package:
    """A package in the database: `version` is [EPOCH:]VERSION-RELEASE, `source` its source package's name;
    `paths` the files that it brought; `changelog` rows of (seconds since the epoch, name, text), newest
    first."""

    name: str
    version: str
    arch: str
    source: str
    paths: tuple[str, ...]
    changelog: tuple[tuple[int, str, str], ...]


def packages(files: Reads) -> list[Package]:
    """The packages of a tree, sorted; none where there is no database.

    Raises VerifyError for a database that is damaged, or of a form that is not known; OSError.
    """
    for place in PLACES:
        for name, reader in (("rpmdb.sqlite", _sqlite), ("Packages.db", _ndb), ("Packages", _bdb)):
            path = f"{place}/{name}"
            if files.is_file(path) and (data := files.read_bytes(path)):
                found = [_package(blob, path) for blob in _bounded(reader(data, path), len(data), path)]
                return sorted(
                    (one for one in found if one.name != PUBKEY),
                    key=lambda one: (one.name, one.version, one.arch),
                )
    return []


def listed(tree: Tree) -> dict[str, str]:
    """The package that each file is of, by its real path; of several the first by name (`rpm.owners`).

    Raises what `packages` does.
    """
    real = RealPaths(tree)
    found: dict[str, str] = {}
    for package in packages(tree):
        for path in sorted(package.paths):
            found.setdefault(real(path), package.name)
    return found


def _bounded(blobs: Iterator[bytes], most: int, where: str) -> Iterator[bytes]:
    """The blobs, as long as no byte of the file seems to be of several."""
    for blob in blobs:
        most -= len(blob)
        if most < 0:
            raise _bad(where, "its packages are larger than the file")
        yield blob


def _package(blob: bytes, where: str) -> Package:
    head = h.Header(h.MAGIC + blob, 0, where)
    epoch = head.number(h.EPOCH)
    version = f"{head.text(h.VERSION)}-{head.text(h.RELEASE)}"
    return Package(
        name=head.text(h.NAME),
        version=version if epoch is None else f"{epoch}:{version}",
        arch=head.text(h.ARCH),
        source=source_of(head.text(h.SOURCERPM)),
        paths=tuple(path.decode("utf-8", "surrogateescape") for path in head.paths()),
        changelog=tuple(
            zip(
                head.numbers(CHANGELOGTIME),
                head.texts(CHANGELOGNAME),
                head.texts(CHANGELOGTEXT),
                strict=False,
            )
        ),
    )


def _bdb(data: bytes, where: str) -> Iterator[bytes]:
    for key, value in bdb.records(data, where):
        if len(key) == 4 and any(key):  # the record 0 only counts
            yield value


def _ndb(data: bytes, where: str) -> Iterator[bytes]:
    """rpm's lib/backend/ndb/rpmpkg.c: pages of slots, each with the place of a blob in blocks of 16 bytes."""
    if data[:4] != _NDB or len(data) < 4096:
        raise _bad(where, "it does not begin as an ndb")
    (pages,) = struct.unpack_from("<I", data, 12)
    if not 0 < pages <= len(data) // 4096:
        raise _bad(where, f"{pages} pages of slots")
    for at in range(32, pages * 4096, 16):
        magic, number, block, count = struct.unpack_from("<4sIII", data, at)
        if magic != _SLOT or not block:
            continue
        start, end = block * 16, (block + count) * 16
        if end > len(data) or count < 2:
            raise _bad(where, f"package {number} lies outside of the file")
        magic, its, _, length = struct.unpack_from("<4sIII", data, start)
        if magic != _BLOB or its != number or 16 + length + 12 > end - start:
            raise _bad(where, f"package {number} is not where it should be")
        if struct.unpack_from("<I4s", data, end - 8) != (length, _TAIL):
            raise _bad(where, f"package {number} is damaged")
        yield data[start + 16 : start + 16 + length]


def _sqlite(data: bytes, where: str) -> Iterator[bytes]:
    image = bytearray(data)
    image[_WAL_MARK] = b"\1\1"  # in memory there is no log beside it; rpm writes all back when it ends
    try:
        with contextlib.closing(sqlite3.connect(":memory:")) as database:
            database.deserialize(bytes(image))
            for (blob,) in database.execute("SELECT blob FROM Packages ORDER BY hnum"):
                if not isinstance(blob, bytes):
                    raise _bad(where, "a package is no blob")
                yield blob
    except sqlite3.Error as error:
        raise _bad(where, str(error)) from error


def _bad(where: str, why: str) -> VerifyError:
    return VerifyError("rpm's database cannot be read", where=where, why=why)
