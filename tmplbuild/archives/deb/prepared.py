"""A package in the form that unpacks fastest, made once when it enters the cache.

The members of a .deb are mostly xz, and unpacking a template spends most of its time on it. So the
first use transcodes each package: `FILE` gets a neighbour `FILE.prepared` that holds

    contents   the content of all regular files in the order of data.tar, one zstd frame
    catalogue  all that is not content, one zstd frame of JSON: control members, entries, digests
    trailer    length of contents, length of catalogue, sha256 of the .deb, magic

Names in it have been checked. It is made only of bytes whose sha256 is the one the verified index
gives, written under another name and renamed, so that concurrent runs do each other no harm; it is
used only if its trailer names the same sha256. Damage is found by zstd's checksums.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

from tmplbuild.archives import zstd
from tmplbuild.archives.deb import ar
from tmplbuild.archives.deb.debfile import ControlFile, Deb, open_deb
from tmplbuild.core.placing import safe_name
from tmplbuild.core.tarread import Member, TarReader
from tmplbuild.errors import StoreError, VerifyError

SUFFIX = ".prepared"
_MAGIC = b"tmplbdeb1"
_TRAILER = struct.Struct("<QQ32s9s")
_LEVEL = 3
_CHUNK = 1 << 18
_MAX_CATALOGUE = 256 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """A member of data.tar. `path` is relative, without "./" ("" is the root). Of hard links,
    `link` is such a path too; of symbolic ones, the target as it is."""

    kind: str
    path: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    link: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared package. `md5` holds the digests of conffiles, and of all files if the package
    brings no md5sums of its own (paths as in `Entry`)."""

    path: Path
    sha256: str
    control: dict[str, ControlFile]
    entries: tuple[Entry, ...]
    md5: dict[str, str]
    contents: ar.Entry


def prepare(deb: Path, sha256: str) -> Prepared:
    """The prepared form of a .deb, made if it is not there (or not whole).

    Parameters:
        deb: the package's file in the cache.
        sha256: what its hash must be, in hex.

    Raises VerifyError if the .deb is not what the hash says or cannot be read, StoreError if the
    cache cannot be written.
    """
    target = deb.with_name(deb.name + SUFFIX)
    found = _usable(target, sha256)
    if found is not None:
        with contextlib.suppress(OSError):  # the cache keeps what was used lately
            os.utime(target)
        return found
    try:
        with _draft(target) as draft, deb.open("rb") as file:
            _check(file, sha256, deb)
            with open_deb(file.fileno(), deb.name) as package:
                _transcode(package, draft, sha256, deb.name)
    except OSError as error:
        raise StoreError(
            "a package cannot be prepared in the cache", where=str(target), why=os.strerror(error.errno or 0)
        ) from error
    return load(target, sha256)


def is_prepared(deb: Path) -> bool:
    """Whether `prepare` has been here before."""
    return deb.with_name(deb.name + SUFFIX).exists()


def load(path: Path, sha256: str) -> Prepared:
    """Read the catalogue of a prepared package.

    Raises VerifyError if it is damaged or is not made of the .deb with that hash, OSError.
    """
    with path.open("rb") as file:
        fd = file.fileno()
        end = os.fstat(fd).st_size
        try:
            contents, catalogue, digest, magic = _TRAILER.unpack(
                os.pread(fd, _TRAILER.size, max(0, end - _TRAILER.size))
            )
        except struct.error:
            raise _damaged(path, "it is cut short") from None
        if magic != _MAGIC or contents + catalogue + _TRAILER.size != end:
            raise _damaged(path, "its trailer is not what it should be")
        if digest.hex() != sha256:
            raise _damaged(path, "it was made of another package")
        raw = os.pread(fd, catalogue, contents)
    record = json.loads(zstd.decompress(raw, limit=_MAX_CATALOGUE))
    return Prepared(
        path=path,
        sha256=sha256,
        control={
            name: ControlFile(mode, mtime, text.encode("latin-1"))
            for name, (mode, mtime, text) in record["control"].items()
        },
        entries=tuple(Entry(*row) for row in record["entries"]),
        md5=record["md5"],
        contents=ar.Entry("contents", 0, contents),
    )


@contextmanager
def open_contents(prepared: Prepared) -> Iterator[BinaryIO]:
    """The stream of all regular files' contents, in the order of `entries`."""
    fd = os.open(prepared.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield zstd.open_reader(cast(BinaryIO, ar.Part(fd, prepared.contents)))
    finally:
        os.close(fd)


def conffiles(control: dict[str, ControlFile]) -> dict[str, bool]:
    """The paths in a package's `conffiles` (deb-conffiles(5)), as `Entry` has them, in order; True for
    those that the package no longer has and that are to be removed on upgrade."""
    if "conffiles" not in control:
        return {}
    found: dict[str, bool] = {}
    for line in control["conffiles"].content.decode("utf-8", "surrogateescape").splitlines():
        flag, _, path = line.strip().rpartition(" ") if not line.startswith("/") else ("", "", line.strip())
        if path:
            found[safe_name(path.lstrip("/"))] = flag == "remove-on-upgrade"
    return found


# -- making ------------------------------------------------------------------------------------------


def _usable(path: Path, sha256: str) -> Prepared | None:
    try:
        return load(path, sha256)
    except (FileNotFoundError, VerifyError):
        return None
    except OSError as error:
        raise StoreError("the package cache cannot be read", where=str(path), why=str(error)) from error


def _check(file: BufferedReader, sha256: str, deb: Path) -> None:
    found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise VerifyError(
            "a package in the cache is not the one that the archive names",
            where=str(deb),
            why=f"its sha256 is {found}, not {sha256}",
            hint="Remove the file; it will be downloaded again.",
        )


@contextmanager
def _draft(target: Path) -> Iterator[BinaryIO]:
    """A file that becomes `target` if the block ends well, and nothing if it does not."""
    fd, name = tempfile.mkstemp(prefix=".", suffix=SUFFIX + "-new", dir=target.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            os.fchmod(fd, 0o644)
        os.rename(name, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):  # interrupted when it had its name
            os.unlink(name)
        raise


def _transcode(package: Deb, draft: BinaryIO, sha256: str, where: str) -> None:
    wanted = None if "md5sums" not in package.control else conffiles(package.control)
    md5: dict[str, str] = {}
    entries: list[Entry] = []
    reader = TarReader(package.data)
    with zstd.open_writer(draft, level=_LEVEL) as writer:
        for member in reader:
            entry = _entry(member, where)
            entries.append(entry)
            if member.kind == "file":
                digest = None
                if wanted is None or entry.path in wanted:
                    digest = hashlib.md5(usedforsecurity=False)
                for chunk in reader.chunks():
                    writer.write(chunk)
                    if digest is not None:
                        digest.update(chunk)
                if digest is not None:
                    md5[entry.path] = digest.hexdigest()
    contents = draft.tell()
    record = {
        "control": {
            name: [file.mode, file.mtime_ns, file.content.decode("latin-1")]
            for name, file in package.control.items()
        },
        "entries": [
            [one.kind, one.path, one.mode, one.uid, one.gid, one.mtime_ns, one.size, one.link]
            for one in entries
        ],
        "md5": md5,
    }
    catalogue = zstd.compress(json.dumps(record, separators=(",", ":")).encode())
    draft.write(catalogue)
    draft.write(_TRAILER.pack(contents, len(catalogue), bytes.fromhex(sha256), _MAGIC))


def _entry(member: Member, where: str) -> Entry:
    """The entry of a member, its names checked. Raises VerifyError for what a package may not hold."""
    path = safe_name(member.name)
    link = member.link
    if member.kind == "hardlink":
        link = safe_name(member.link)
    bad = (
        member.segments is not None
        or (member.kind == "symlink" and (not link or "\0" in link))
        or (member.kind != "dir" and not path)
        or "\n" in path  # dpkg's lists of files cannot hold it
    )
    if bad:
        raise VerifyError("a package holds an entry that it may not", where=where, why=repr(member.name))
    return Entry(member.kind, path, member.mode, member.uid, member.gid, member.mtime_ns, member.size, link)


def _damaged(path: Path, why: str) -> VerifyError:
    return VerifyError("a prepared package is damaged", where=str(path), why=why)
