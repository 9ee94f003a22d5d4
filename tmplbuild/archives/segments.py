"""Alpine's packages (.apk, version 2): three gzip members, one behind the other: signature, control, data.

An index names the SHA-1 of the control member, as it is on disk; the control member names the SHA-256 of the
data member (apk-package(5), .PKGINFO, datahash). So the first of them stands for the whole package, but for
the signature, which is the tree's own apk's to check. `SegmentHash` works that out while the bytes come.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import zlib

_DATAHASH = re.compile(rb"(?m)^datahash = ([0-9a-f]{64})\s*$")
_LIMIT = 16 << 20
_WRONG = "0" * 40


class SegmentHash:
    """A hash as hashlib has them, whose digest is the control member's SHA-1 if the data fit it, and zeros if
    anything is wrong."""

    def __init__(self) -> None:
        self._member = 0
        self._engine = zlib.decompressobj(wbits=31)
        self._control = bytearray()
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._bad = False

    def update(self, data: bytes | memoryview) -> None:
        """The next bytes of the file."""
        data = bytes(data)
        while data and not self._bad:
            try:
                data = self._take(data)
            except zlib.error:
                self._bad = True

    def hexdigest(self) -> str:
        """40 hex digits."""
        ended = self._member == 3
        found = _DATAHASH.findall(_pkginfo(bytes(self._control))) if ended and not self._bad else []
        whole = found == [self._sha256.hexdigest().encode()]
        return self._sha1.hexdigest() if whole else _WRONG

    def _take(self, data: bytes) -> bytes:
        """Put data into the member that they belong to; what is left."""
        if self._member > 2:
            self._bad = True
            return b""
        plain = self._engine.decompress(data, _LIMIT)
        left = self._engine.unconsumed_tail or self._engine.unused_data
        raw = data[: len(data) - len(left)]
        if self._member == 1:
            self._sha1.update(raw)
            self._control += plain
            self._bad = len(self._control) > _LIMIT
        elif self._member == 2:
            self._sha256.update(raw)
        if self._engine.eof:
            self._member += 1
            self._engine = zlib.decompressobj(wbits=31)
        return left


def _pkginfo(control: bytes) -> bytes:
    """The file .PKGINFO of the control member's tar, which has no end of its own."""
    try:
        with tarfile.open(fileobj=io.BytesIO(control + bytes(1024)), mode="r:") as tar:
            for member in tar:
                if member.name == ".PKGINFO" and member.isreg():
                    file = tar.extractfile(member)
                    return b"" if file is None else file.read()
    except (tarfile.TarError, ValueError, EOFError, OSError):
        pass
    return b""
