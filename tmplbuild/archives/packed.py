"""A root file system that somebody has packed: a tarball at an address, and what vouches for it.

Its digest is the recipe's, or it stands in a list of digests beside the tarball (SHA256SUMS), whose
detached signature (SHA256SUMS.gpg) is by a key that the recipe pins. A tarball for which neither speaks
is not used. What is old may be signed as well as what is new: the tree is upgraded from the verified
archives before it is packed again.
"""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from pathlib import Path

from tmplbuild.archives import mirrors, openpgp
from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.errors import FetchError, VerifyError
from tmplbuild.recipes.model import Bootstrap

ROLE = "rootfs"
"""Stands for the role of an archive: MIRROR=rootfs=ADDRESS names the directory to fetch from."""

_SUMS_LIMIT = 4 << 20
_TARBALL_LIMIT = 64 << 30
# sha256sum(1): the digest, a blank, a blank or * (binary), the name
_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](?:\./)?(.+)")


@dataclass(frozen=True, slots=True)
class Packed:
    """A tarball whose digest is believed; `signers` are the fingerprints of those who signed it."""

    name: str
    sha256: str
    signers: tuple[str, ...] = ()


def addresses(options: Bootstrap, override: str = "") -> dict[str, tuple[str, ...]]:
    """The directories of the recipe's tarball by role, for a Fetcher; none where it has no tarball.

    Parameters:
        override: MIRROR= or the setting; what it says of the role "rootfs" stands for the recipe's.
    """
    if not options.urls:
        return {}
    folders = tuple(dict.fromkeys(url.rpartition("/")[0] for url in options.urls))
    return {ROLE: mirrors.named(ROLE, override) or folders}


def ask(
    options: Bootstrap,
    *,
    fetcher: Fetcher,
    cache: PackageCache,
    keys_dir: openpgp.KeysDir,
    offline: bool = False,
    now: float | None = None,
) -> Packed:
    """Which bytes the recipe's tarball must be, by its digest or a signed list.

    Raises VerifyError for a list that no pinned key signed, or that does not name the tarball;
    FetchError.
    """
    name = options.urls[0].rpartition("/")[2]
    if options.sha256:
        return Packed(name, options.sha256)
    memory = f"rootfs_{name}_{hashlib.sha256(repr(sorted(options.keys)).encode()).hexdigest()[:12]}"
    if offline:
        return _remembered(cache.recall(memory), name)
    moment = time.time() if now is None else now
    sums = fetcher.get(ROLE, options.sums, lambda answer: answer, limit=_SUMS_LIMIT)
    signature = fetcher.get(ROLE, options.signature, lambda answer: answer, limit=_SUMS_LIMIT)
    signed = openpgp.verify_detached(
        sums.body or b"", signature.body or b"", options.keys, keys_dir, now=moment, where=sums.url
    )
    packed = Packed(name, digest_of(signed.content, name, where=sums.url), signed.signers)
    cache.remember(memory, {"sha256": packed.sha256, "signers": " ".join(packed.signers)})
    return packed


def bring(packed: Packed, *, fetcher: Fetcher, cache: PackageCache) -> Path:
    """The verified tarball in the cache, downloaded if it is not there yet.

    Raises FetchError, VerifyError for other bytes, StoreError.
    """
    dest = cache.tarball(packed.sha256)
    if not dest.exists():
        size = fetcher.size(ROLE, packed.name, limit=_TARBALL_LIMIT)
        fetcher.download([Wanted(ROLE, (packed.name,), size, packed.sha256, dest)], cache, "rootfs")
    cache.used(dest)
    return dest


def digest_of(sums: bytes, name: str, *, where: str) -> str:
    """The digest that a list in sha256sum's form has for a file. Raises VerifyError if it has none, or
    two that differ."""
    lines = sums.decode("utf-8", "replace").splitlines()
    found = {match[1].lower() for line in lines if (match := _LINE.fullmatch(line)) and match[2] == name}
    if len(found) == 1:
        return found.pop()
    what = "names two digests for" if found else "does not name"
    raise VerifyError(
        f"the signed list of digests {what} the tarball {name}",
        where=where,
        hint="the address or the list's name in the recipe (bootstrap.urls, sums) is of another image",
    )


def _remembered(known: dict[str, str], name: str) -> Packed:
    try:
        return Packed(name, known["sha256"], tuple(known["signers"].split()))
    except KeyError:
        raise FetchError(
            f"nothing is known of the tarball {name} yet",
            where="bootstrap.urls",
            why="offline: only what an earlier run has verified can be used",
            hint="run once without --offline",
        ) from None
