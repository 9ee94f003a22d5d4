"""A package list of apt-rpm: RPM headers one after another, compressed as a whole.

The list holds no signature headers and no regions; only what apt needs of each package is in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tmplbuild.archives import compressed, zstd
from tmplbuild.archives.aptrpm.header import Header
from tmplbuild.errors import VerifyError

SUFFIXES = (".xz", ".zst", ".bz2", "")
"""How a list may be compressed, the best first: what ALT publishes today is .xz and .bz2."""

_CHUNK = 1 << 20


def headers(data: bytes | memoryview, where: str) -> Iterator[Header]:
    """The headers of an uncompressed list, in order; an empty list has none.

    Parameters:
        where: the list's address, for messages.

    Raises VerifyError at the first byte that does not belong.
    """
    view = memoryview(data)
    at, end = 0, len(view)
    while at < end:
        header = Header(view, at, where)
        yield header
        at = header.end


def unpack(source: Path, suffix: str, *, size: int, where: str) -> bytes:
    """The uncompressed list.

    Parameters:
        suffix: one of SUFFIXES.
        size: the bytes that it must come to, as the signed release says.

    Raises VerifyError for damage, and for any other size; never is much more than that unpacked.
    """
    found: list[bytes] = []
    length = 0
    try:
        for piece in _pieces(source, suffix):
            found.append(piece)
            length += len(piece)
            if length > size:
                break
    except compressed.DAMAGED as error:
        raise VerifyError("a package list cannot be unpacked", where=where, why=str(error)) from None
    if length != size:
        came = f"more than {size}" if length > size else str(length)
        raise VerifyError(
            "a package list is not as long as its release says",
            where=where,
            why=f"it unpacks to {came} bytes where {size} are declared",
            hint="the mirror is damaged or half updated: try again later, or use another one (MIRROR=)",
        )
    return b"".join(found)


def _pieces(source: Path, suffix: str) -> Iterator[bytes]:
    if suffix != ".zst":
        yield from compressed.pieces(source, suffix)
        return
    with source.open("rb") as file:
        reader = zstd.open_reader(file)
        while piece := reader.read(_CHUNK):
            yield piece
