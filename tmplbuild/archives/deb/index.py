"""A Packages index that answers for single packages without being read as a whole.

bookworm's main index has 63,000 stanzas in 50 MB; a template needs some 200. So the verified file
is unpacked once, scanned once for names, provided names and the packages that are essential or of a
priority above optional, and the places of these stanzas are kept in a table beside it. A later run
maps both files and searches the table by bisection.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import struct
import threading
import zlib
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

from tmplbuild.archives import compressed
from tmplbuild.archives.cache import store_error, write_whole
from tmplbuild.archives.deb.depends import parse
from tmplbuild.archives.deb822 import pairs
from tmplbuild.archives.model import Listed, Package, safe_path
from tmplbuild.errors import VerifyError

LISTED = ("required", "important", "standard")
"""The priorities whose packages can be listed (Debian Policy 2.5)."""

_MAGIC = b"tmplbuild table 1\n"
_HEAD = struct.Struct("<4I")  # CRC of the rest; counts of names, provided names, marked stanzas
_NAME = re.compile(rb"^Package: *([^\n]*?) *$", re.MULTILINE)
_PROVIDES = re.compile(rb"^Provides:([^\n]*(?:\n[ \t][^\n]*)*)", re.MULTILINE)
_MARK = re.compile(rb"^(?:Essential: *yes|Priority: *(?:required|important|standard)) *$", re.MULTILINE)
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_PACKAGE_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*\Z")


def unpack(source: Path, suffix: str, dest: Path, *, expect: Listed | None, limit: int, where: str) -> None:
    """Unpack a verified index to `dest`.

    Parameters:
        suffix: its compression, one of `compressed.SUFFIXES`.
        expect: hash and size of the unpacked file, if the Release names them.
        limit: bytes beyond which it is refused where the Release does not.
        where: its URL or path, for messages.

    Raises VerifyError for a file that is damaged, larger or another; StoreError.
    """
    bound = expect.size if expect else limit
    # two archives may list the same index, and be read at once
    draft = dest.with_name(f".{dest.name}.{os.getpid()}.{threading.get_native_id()}")
    seen, size = hashlib.sha256(), 0
    try:
        with draft.open("wb") as file:
            for piece in _told(source, suffix, where):
                size += len(piece)
                if size > bound:
                    raise _bad("an index unpacks to more bytes than its Release declares", where, f"{bound}")
                seen.update(piece)
                file.write(piece)
        if expect and (size, seen.hexdigest()) != (expect.size, expect.digest):
            raise _bad("an unpacked index is not what its Release declares", where, "the hash differs")
        os.rename(draft, dest)
    except OSError as error:
        raise store_error(error, dest) from error
    finally:
        draft.unlink(missing_ok=True)


def _told(source: Path, suffix: str, where: str) -> Iterator[bytes]:
    try:
        yield from compressed.pieces(source, suffix)
    except compressed.DAMAGED as error:
        raise _bad("an index cannot be unpacked", where, str(error)) from None


def build_table(plain: Path, dest: Path) -> None:
    """Scan an unpacked Packages file and write the table of its stanzas. Raises StoreError."""
    with plain.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            names, blob, starts, stanzas, marked = array("I"), b"", array("I"), array("I"), array("I")
        else:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                names = _names(data)
                blob, starts, stanzas = _provided(data)
                marked = array("I", sorted({_start(data, found.start()) for found in _MARK.finditer(data)}))
    body = b"".join(part.tobytes() for part in (names, starts, stanzas, marked)) + blob
    head = _HEAD.pack(zlib.crc32(body), len(names), len(starts), len(marked))
    write_whole(dest, _MAGIC + head + body)


def _names(data: mmap.mmap) -> array[int]:
    found = sorted((match[1], match.start()) for match in _NAME.finditer(data))
    return array("I", (place for _, place in found))


def _provided(data: mmap.mmap) -> tuple[bytes, array[int], array[int]]:
    rows = set()
    for match in _PROVIDES.finditer(data):
        place = _start(data, match.start())
        for item in match[1].split(b","):
            words = item.partition(b"(")[0].split()
            if words:
                rows.add((words[0].partition(b":")[0], place))
    starts, stanzas, blob = array("I"), array("I"), bytearray()
    for name, place in sorted(rows):
        starts.append(len(blob))
        stanzas.append(place)
        blob += name + b"\n"
    return bytes(blob), starts, stanzas


def _start(data: mmap.mmap | bytes, place: int) -> int:
    """Where the stanza around `place` begins."""
    gap = data.rfind(b"\n\n", 0, place + 1)
    return gap + 2 if gap >= 0 else 0


def _bisect(count: int, before: Callable[[int], bool]) -> int:
    """The first index of 0..count for which `before` is false."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if before(middle):
            low = middle + 1
        else:
            high = middle
    return low


class PackagesIndex:
    """The packages of one Packages file.

    Parameters:
        plain, table: the unpacked file and its table (`build_table`).
        role: the archive's role, for `Package.archive`.
        where: the index's name, for messages.

    Raises ValueError for a table that is damaged or of another version: build it again.
    """

    def __init__(self, plain: Path, table: Path, *, role: str, where: str) -> None:
        self.role = role
        self.where = where
        raw = table.read_bytes()
        head = len(_MAGIC) + _HEAD.size
        if not raw.startswith(_MAGIC) or len(raw) < head:
            raise ValueError("not a table of this version")
        check, names, provided, marked = _HEAD.unpack_from(raw, len(_MAGIC))
        body = memoryview(raw)[head:]
        if zlib.crc32(body) != check or len(body) < 4 * (names + 2 * provided + marked):
            raise ValueError("the table is damaged")
        arrays = array("I")
        arrays.frombytes(body[: 4 * (names + 2 * provided + marked)])
        self._names = arrays[:names]
        self._starts = arrays[names : names + provided]
        self._stanzas = arrays[names + provided : names + 2 * provided]
        self._marked = arrays[names + 2 * provided :]
        self._blob = bytes(body[4 * len(arrays) :])
        self._data = _mapped(plain)
        self._parsed: dict[int, Package] = {}

    def named(self, name: str) -> list[Package]:
        """The packages of this name, one for each version."""
        wanted = name.encode()
        low = _bisect(len(self._names), lambda index: self._name_at(self._names[index]) < wanted)
        found = []
        while low < len(self._names) and self._name_at(self._names[low]) == wanted:
            package = self._package(_start(self._data, self._names[low]))
            if package.name == name:
                found.append(package)
            low += 1
        return found

    def providing(self, name: str) -> list[Package]:
        """The packages whose Provides name `name` (with whatever version)."""
        wanted = name.encode()
        low = _bisect(len(self._starts), lambda index: self._provided_at(index) < wanted)
        found = []
        while low < len(self._starts) and self._provided_at(low) == wanted:
            found.append(self._package(self._stanzas[low]))
            low += 1
        return found

    def marked(self) -> list[Package]:
        """The packages that are essential or have one of the priorities in LISTED."""
        return [self._package(place) for place in self._marked]

    def names(self) -> Iterator[str]:
        """All package names, sorted (for suggestions; slower than the rest)."""
        for place in self._names:
            yield self._name_at(place).decode("ascii", "replace")

    def _name_at(self, place: int) -> bytes:
        end = self._data.find(b"\n", place)
        return self._data[place + 8 : end if end >= 0 else len(self._data)].strip()

    def _provided_at(self, index: int) -> bytes:
        start = self._starts[index]
        return self._blob[start : self._blob.find(b"\n", start)]

    def _package(self, start: int) -> Package:
        package = self._parsed.get(start)
        if package is None:
            end = self._data.find(b"\n\n", start)
            raw = self._data[start : end if end >= 0 else len(self._data)]
            package = self._parsed[start] = read_package(raw, self.role, self.where)
        return package


def read_package(raw: bytes, role: str, where: str) -> Package:
    """One stanza as a Package. Raises VerifyError for one that cannot be right."""
    fields = dict(pairs(raw.decode("utf-8", "replace")))
    name, version = fields.get("Package", ""), fields.get("Version", "")
    filename, digest = fields.get("Filename", ""), fields.get("SHA256", "").lower()
    size = fields.get("Size", "")
    faults = [
        label
        for label, good in (
            ("Package", _PACKAGE_NAME.match(name) is not None),
            ("Version", bool(version) and version.isprintable() and " " not in version),
            ("Filename", safe_path(filename)),
            ("SHA256", _SHA256.match(digest) is not None),
            ("Size", size.isascii() and size.isdigit() and len(size) < 16),
        )
        if not good
    ]
    for label in ("Pre-Depends", "Depends", "Recommends", "Conflicts", "Breaks", "Provides"):
        try:
            parse(fields.get(label, ""))
        except ValueError:
            faults.append(label)
    if faults:
        raise _bad("an index entry is malformed", where, f"package {name[:80]!r}: {', '.join(faults)}")
    return Package(
        name=name,
        version=version,
        arch=fields.get("Architecture", ""),
        archive=role,
        filename=filename,
        size=int(size),
        sha256=digest,
        essential=fields.get("Essential", "") == "yes",
        priority=fields.get("Priority", "optional"),
        fields=fields,
    )


def _mapped(path: Path) -> mmap.mmap | bytes:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return b""  # mmap(2) refuses length 0
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _bad(what: str, where: str, why: str) -> VerifyError:
    return VerifyError(
        what, where=where, why=why, hint="use another mirror (MIRROR=), or ask the archive's maintainers"
    )
