"""A new .tar.gz made of the members of an old one, and of those that are new, fetched by HTTP ranges.

Gzip members by package stay the same from build to build (`tmplbuild.artifact.pack`), so after a night with
few changed packages few bytes are new. Every member is hashed as it is taken, the whole file at the end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from tmplbuild.errors import VerifyError
from tmplbuild.publish import patch
from tmplbuild.publish.found import Found
from tmplbuild.publish.remote import Remote
from tmplbuild.publish.walk import Member, members_of

_GAP = 4096  # a few known bytes between two new members cost less than another request
_MOST = 8 << 20


def assemble(remote: Remote, found: Found, old: Path, new: Path, came: Callable[[int], object]) -> int:
    """Write `new` out of `old` and what the mirror has; its size, or 0 where that cannot be done.

    Parameters:
        came: told of the bytes that were fetched.

    Raises FetchError, VerifyError for a mirror whose member index does not fit its file.
    """
    assert found.members is not None
    known = members_of(old) if old.is_file() else None
    if not known:
        return 0
    index = remote.file(*found.members, "fetch")
    try:
        members: list[Member] = [(size, digest) for size, digest in json.loads(index.read_bytes())["members"]]
    except (ValueError, KeyError, TypeError) as error:
        raise VerifyError("a member index is damaged", where=remote.where(found.members[0])) from error
    finally:
        index.unlink(missing_ok=True)
    came(found.members[1])
    have = _offsets(known)
    missing = ranges(members, have)
    if sum(size for _, size in missing) >= found.size:
        return 0
    bodies = _by_patch(remote, found, old, known, members, sum(size for _, size in missing), came)
    if bodies:
        missing = []
    for start in range(0, len(missing), 8):
        part = missing[start : start + 8]
        for (offset, _), body in zip(part, remote.pieces(found.path, part), strict=True):
            if body is None:
                return 0  # the server sends whole files only
            bodies[offset] = body
            came(len(body))
    with old.open("rb") as source, new.open("wb") as out:
        sha256 = _splice(members, have, source, bodies, out)
        size = out.tell()
    if sha256 != found.sha256:
        raise VerifyError(
            "the members of a template do not make the file that the index names",
            where=remote.where(found.path),
            hint="the mirror is damaged or half updated: try again later",
        )
    return size


def _by_patch(
    remote: Remote,
    found: Found,
    old: Path,
    known: list[Member],
    members: list[Member],
    missing: int,
    came: Callable[[int], object],
) -> dict[int, bytes]:
    """What is missing, by its offset, where the mirror has a patch from the very file that is here; none
    where there is no such patch, or it does not give each member as it must be."""
    if not found.patch or found.patch[1] >= missing or _sha256(old) != found.patch_from:
        return {}
    file = remote.file(*found.patch, "fetch")
    came(found.patch[1])
    try:
        bodies = patch.apply(file.read_bytes(), old, known, members)
    except (EOFError, ValueError, TypeError):
        return {}
    finally:
        file.unlink(missing_ok=True)
    digests, offset = {}, 0
    for size, digest in members:
        digests[offset] = digest
        offset += size
    good = all(hashlib.sha256(body).hexdigest() == digests[at] for at, body in bodies.items())
    return bodies if good else {}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def ranges(members: list[Member], have: dict[str, int]) -> list[tuple[int, int]]:
    """The (start, size) of what must be fetched; near ones joined, long ones cut."""
    found: list[tuple[int, int]] = []
    offset = 0
    for size, digest in members:
        if digest not in have:
            if found and offset - sum(found[-1]) <= _GAP and offset + size - found[-1][0] <= _MOST:
                found[-1] = (found[-1][0], offset + size - found[-1][0])
            else:
                found.append((offset, size))
        offset += size
    return found


def _offsets(members: list[Member]) -> dict[str, int]:
    offsets: dict[str, int] = {}
    offset = 0
    for size, digest in members:
        offsets.setdefault(digest, offset)
        offset += size
    return offsets


def _splice(
    members: list[Member], have: dict[str, int], source: BinaryIO, bodies: dict[int, bytes], out: BinaryIO
) -> str:
    """Write all members in their order; the sha256 of the whole."""
    digest = hashlib.sha256()
    starts = sorted(bodies)
    at, offset = 0, 0
    for size, sha256 in members:
        while at + 1 < len(starts) and starts[at + 1] <= offset:
            at += 1
        if sha256 in have:
            source.seek(have[sha256])
            data = source.read(size)
        else:
            start = starts[at]
            data = bodies[start][offset - start : offset - start + size]
        digest.update(data)
        out.write(data)
        offset += size
    return digest.hexdigest()
