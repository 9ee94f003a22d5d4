"""APKINDEX.tar.gz: a signature, then the list of packages, each a gzip member with a tar in it.

The signature is over the second member as it is on disk; its file's name tells the hash and the key:
`.SIGN.RSA.NAME` (SHA-1), `.SIGN.RSA256.NAME`, `.SIGN.RSA512.NAME`. The list has a stanza a package, of lines
`LETTER:VALUE`; apk-index(5).
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from tmplbuild.archives.apk import depends, version
from tmplbuild.archives.apk.depends import Dep
from tmplbuild.errors import VerifyError

_SIGNATURE = re.compile(r"\.SIGN\.RSA(256|512)?\.[^/]+")
_KINDS = {None: "sha1", "256": "sha256", "512": "sha512"}
_SIGNATURE_LIMIT = 1 << 20
_LIST_LIMIT = 512 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_DATE = re.compile(rb"(?m)^t:(\d{1,12})$")


@dataclass(frozen=True, slots=True)
class Signature:
    """One of an index: the hash's name, and the number."""

    kind: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Index:
    """A signed list. `date` is when its newest package was built, seconds since the epoch; `valid_until`
    is 0, as the format has no such field."""

    date: int
    valid_until: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """A package as the list has it. `digest` identifies its file ("apk:" and the SHA-1 of its control member
    in hex; "" where the list has another one), `size` is the file's in bytes; `priority` is its provider's,
    `place` where it stands in all lists: an earlier one is preferred. `filename` is empty where the file
    is called as the repository would call it."""

    name: str
    version: str
    arch: str
    origin: str
    digest: str
    size: int
    depends: tuple[Dep, ...]
    provides: tuple[Dep, ...]
    install_if: tuple[Dep, ...]
    priority: int
    place: tuple[int, int]
    filename: str = ""


def taken_apart(body: bytes, where: str) -> tuple[tuple[Signature, ...], bytes]:
    """The signatures of an index, and what they are over. Raises VerifyError for what is no signed index."""
    engine = zlib.decompressobj(wbits=31)
    try:
        first = engine.decompress(body, _SIGNATURE_LIMIT)
    except zlib.error as error:
        raise _bad(where, f"not gzip: {error}") from error
    if not engine.eof:
        raise _bad(where, "its first member is too large to be a signature, or is cut off")
    found = tuple(
        Signature(_KINDS[match[1]], data)
        for name, data in _members(first, where)
        if (match := _SIGNATURE.fullmatch(name))
    )
    if not found:
        raise VerifyError(
            "the archive's APKINDEX carries no signature",
            where=where,
            hint="something on the way may have changed it: try again, or use another mirror",
        )
    return found, engine.unused_data


def listed(signed: bytes, where: str) -> bytes:
    """The text of the list, out of what was signed. Raises VerifyError."""
    engine = zlib.decompressobj(wbits=31)
    try:
        plain = engine.decompress(signed, _LIST_LIMIT)
    except zlib.error as error:
        raise _bad(where, f"not gzip: {error}") from error
    if not engine.eof or engine.unused_data:
        raise _bad(where, "it is cut off, too large, or more than one list")
    found = [data for name, data in _members(plain, where) if name == "APKINDEX"]
    if len(found) != 1:
        raise _bad(where, "it holds no file APKINDEX")
    return found[0]


def head(signed: bytes, where: str) -> Index:
    """What a list tells of itself. Raises VerifyError."""
    return Index(max(map(int, _DATE.findall(listed(signed, where))), default=0))


def entries(text: bytes, repository: int, where: str) -> Iterator[Entry]:
    """The packages of a list; those whose words are not understood are left out, since what is not known
    of one is no harm to others. Raises VerifyError for a list that is none."""
    for number, stanza in enumerate(re.split(rb"\n\n+", text.strip(b"\n"))):
        if not stanza:
            continue
        fields: dict[str, str] = {}
        for line in stanza.decode("utf-8", "replace").split("\n"):
            if line[1:2] != ":":
                raise _bad(where, f"a line of it is {line[:80]!r}")
            fields[line[0]] = line[2:]
        entry = entry_of(fields, (repository, number))
        if entry is not None:
            yield entry


def entry_of(fields: dict[str, str], place: tuple[int, int]) -> Entry | None:
    """The package of a stanza, by its letters; None where these are not understood."""
    try:
        checksum, size = fields["C"], int(fields["S"])
        name, number = fields["P"], fields["V"]
        if not checksum.startswith("Q1") or not _NAME.fullmatch(name) or size < 0:
            return None
        if not version.is_version(number):
            return None
        digest = base64.b64decode(checksum[2:], validate=True)
        return Entry(
            name=name,
            version=number,
            arch=fields.get("A", ""),
            origin=fields.get("o", "") or name,
            digest=f"apk:{digest.hex()}" if len(digest) == 20 else "",
            size=size,
            depends=depends.parse(fields.get("D", "")),
            provides=depends.parse(fields.get("p", "")),
            install_if=depends.parse(fields.get("i", "")),
            priority=int(fields.get("k", "0")),
            place=place,
        )
    except (KeyError, ValueError, binascii.Error):
        return None


def _members(plain: bytes, where: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a tar that may lack its end."""
    try:
        with tarfile.open(fileobj=io.BytesIO(plain + bytes(1024)), mode="r:") as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isreg() else None
                if file is not None:
                    yield member.name, file.read()
    except (tarfile.TarError, ValueError, EOFError, OSError) as error:
        raise _bad(where, f"not tar: {error}") from error


def _bad(where: str, why: str) -> VerifyError:
    return VerifyError(
        "an archive's APKINDEX cannot be read", where=where, why=why, hint="use another mirror (MIRROR=)"
    )
