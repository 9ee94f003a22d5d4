"""Packages that are signed one by one: Fedora, Red Hat and Mageia sign these, and not what lists them.

A signature lies in the package's signature header and covers its header, which in turn names a digest of the
payload (rpm's manual, "RPM V4 package format", "V6 package format"). Signatures of the old kind, over header
and payload at once, are not looked at: every rpm since 4.0 writes the other one beside it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Mapping
from functools import partial

from tmplbuild.archives import openpgp
from tmplbuild.archives.aptrpm import header, rpmfile
from tmplbuild.archives.fetch import Beside, Voucher
from tmplbuild.archives.model import Package
from tmplbuild.errors import VerifyError
from tmplbuild.recipes.model import Archive

_BINARY = (267, 268)  # a signature by DSA or EdDSA; by RSA
_ENCODED = 278  # those of rpm 6, base64
_PAYLOAD_SHA256, _PAYLOAD_ALGORITHM = 5092, 5093
_SHA256 = 8  # RFC 9580, 9.5
_CHUNK = 1 << 20
_MOST = 16  # signatures that are looked at


def vouchers(archives: Mapping[str, Archive], keys_dir: openpgp.KeysDir, now: float) -> dict[str, Voucher]:
    """What the packages of each archive have to pass whose recipe says that they are signed.

    Parameters:
        keys_dir, now: as `tmplbuild.archives.openpgp.verify_detached` takes them.
    """
    return {
        role: partial(_vouch, openpgp.Keyring(archive.keys, keys_dir, archive.weak_keys), now)
        for role, archive in archives.items()
        if archive.signed != "index"
    }


def _vouch(keys: openpgp.Keyring, now: float, package: Package, fd: int, _beside: Beside) -> None:
    verify(fd, package, keys, now=now)


def verify(fd: int, package: Package, keys: openpgp.Keyring, *, now: float) -> tuple[str, ...]:
    """Make sure that the file open as `fd` is the package that its repository lists, signed by a pinned key.

    Returns the primary fingerprints whose signatures are good. Raises VerifyError, OSError.
    """
    where = package.filename
    parts = rpmfile.parts(fd, where)
    signatures = _signatures(parts.signature, where)
    if not signatures:
        raise VerifyError(
            f"the package {package.name} is not signed",
            where=where,
            why="its signature header holds no OpenPGP signature of the header",
            hint="use another mirror (MIRROR=); where this is how the archive is, it cannot be verified",
        )
    raw = os.pread(fd, parts.end - parts.start, parts.start)
    signed = keys.verify_detached(
        raw, b"".join(signatures), now=now, where=where, what=f"the package {package.name}"
    )
    _compare_payload(fd, parts.main, parts.end, where)
    _compare_names(parts.main, package)
    return signed.signers


def _signatures(head: header.Header, where: str) -> list[bytes]:
    found = [raw for tag in _BINARY if (raw := head.binary(tag))]
    for text in head.strings(_ENCODED)[:_MOST]:
        try:
            found.append(base64.b64decode(text, validate=True))
        except binascii.Error:
            raise VerifyError(
                "a package's signature cannot be read", where=where, why="it is not base64"
            ) from None
    return found


def _compare_payload(fd: int, main: header.Header, start: int, where: str) -> None:
    """The signature covers the header; this ties the payload to it. Raises VerifyError."""
    listed = main.texts(_PAYLOAD_SHA256)
    if not listed or main.number(_PAYLOAD_ALGORITHM) not in (None, _SHA256):
        raise VerifyError(
            "a package's signature does not cover its payload",
            where=where,
            why="its header names no SHA-256 of it (rpm 4.14 and later do)",
        )
    engine = hashlib.sha256()
    while chunk := os.pread(fd, _CHUNK, start):
        engine.update(chunk)
        start += len(chunk)
    if engine.hexdigest() != listed[0].lower():
        raise VerifyError(
            "a package's payload is not the one that was signed",
            where=where,
            why=f"its sha256 is {engine.hexdigest()}; the signed header says {listed[0][:64]}",
            hint="use another mirror (MIRROR=)",
        )


def _compare_names(main: header.Header, package: Package) -> None:
    """A package that is signed may still stand in the place of another one. Raises VerifyError."""
    epoch = main.number(header.EPOCH)
    version = f"{main.text(header.VERSION)}-{main.text(header.RELEASE)}"
    found = (main.text(header.NAME), f"{epoch}:{version}" if epoch else version, main.text(header.ARCH))
    if found != (package.name, package.version.removeprefix("0:"), package.arch):
        raise VerifyError(
            f"the package {package.name} is another one than its repository says",
            where=package.filename,
            why=f"its signed header says {found[0][:80]} {found[1][:80]} {found[2][:20]}; "
            f"the repository lists {package.version} {package.arch}",
            hint="use another mirror (MIRROR=)",
        )
