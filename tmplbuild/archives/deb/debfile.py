"""The two tar archives inside a .deb: control.tar and data.tar, however they are compressed (deb(5))."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

from tmplbuild.archives import zstd
from tmplbuild.archives.deb import ar
from tmplbuild.core.placing import safe_name
from tmplbuild.core.tarread import Limits, TarReader
from tmplbuild.errors import VerifyError

_BUFFER = 1 << 17
_CONTROL_LIMITS = Limits(members=1000, size=64 << 20)
_DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True, slots=True)
class ControlFile:
    """One member of control.tar: a maintainer script, `md5sums`, `conffiles`, `triggers`..."""

    mode: int
    mtime_ns: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Deb:
    """An open .deb: its control members by name, and the stream of the uncompressed data.tar."""

    control: dict[str, ControlFile]
    data: BinaryIO


@contextmanager
def open_deb(fd: int, where: str) -> Iterator[Deb]:
    """Read the .deb that is open as `fd` (which stays the caller's); `where` names it in errors.

    Raises VerifyError for anything that is no package of format 2.x, and, while the `with` block
    reads `data`, for damage in its compressed form.
    """
    found = {entry.name.split(".")[0]: entry for entry in _members(fd, where)}
    try:
        with _uncompressed(fd, found["control"], where) as control:
            files = _control_files(control, where)
        with _uncompressed(fd, found["data"], where) as data:
            yield Deb(files, data)
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise VerifyError("a package is damaged", where=where, why=str(error)) from error


def _members(fd: int, where: str) -> list[ar.Entry]:
    """debian-binary, control.tar.* and data.tar.*, in that order; names with a leading underscore
    between them are to be ignored (deb(5))."""
    members: list[ar.Entry] = []
    for entry in ar.entries(fd, where):
        if not entry.name.startswith("_"):
            members.append(entry)
        if len(members) == 3:
            break
    names = [entry.name for entry in members]
    expected = ("debian-binary", "control.tar", "data.tar")
    if len(names) != 3 or not all(map(str.startswith, names, expected)):
        raise VerifyError("a package cannot be read", where=where, why=f"its members are {names}")
    version = ar.Part(fd, members[0]).read(4)
    if version is None or not version.startswith(b"2."):
        raise VerifyError("a package has a format that is not known", where=where, why=repr(version))
    return members


def _uncompressed(fd: int, entry: ar.Entry, where: str) -> BinaryIO:
    raw = cast(BinaryIO, io.BufferedReader(ar.Part(fd, entry), _BUFFER))
    kind = entry.name.partition(".tar")[2]
    if kind == ".xz":
        return cast(BinaryIO, lzma.LZMAFile(raw, format=lzma.FORMAT_XZ))
    if kind == ".zst":
        return zstd.open_reader(raw)
    if kind == ".gz":
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw, mode="rb"))
    if kind == ".bz2":
        return cast(BinaryIO, bz2.BZ2File(raw))
    if kind == ".lzma":
        return cast(BinaryIO, lzma.LZMAFile(raw, format=lzma.FORMAT_ALONE))
    if kind == "":
        return raw
    raise VerifyError(
        "a package is compressed in a way that is not known", where=where, why=f"its member is {entry.name}"
    )


def _control_files(stream: BinaryIO, where: str) -> dict[str, ControlFile]:
    files: dict[str, ControlFile] = {}
    reader = TarReader(stream, _CONTROL_LIMITS)
    for member in reader:
        name = safe_name(member.name)
        if member.kind == "dir" and not name:
            continue
        if member.kind != "file" or "/" in name or not name:
            raise VerifyError(
                "a package has an odd control member", where=where, why=f"{member.kind} {member.name!r}"
            )
        files[name] = ControlFile(member.mode, member.mtime_ns, b"".join(reader.chunks()))
    if "control" not in files:
        raise VerifyError("a package has no control file", where=where)
    return files
