"""Each package's own signature: by a key that enough of the recipe's master keys vouch for.

Arch has some sixty packagers, whose keys come and go; what a recipe pins are the few master keys, of which
three at least certify each packager's key. The certificates of all lie in one keyring, beside the recipe;
nothing in it is believed for being there. docs/families.md.
"""

from __future__ import annotations

import base64
import binascii
import functools
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from tmplbuild.archives import certification, openpgp
from tmplbuild.archives.alpm.pool import SIGNATURE
from tmplbuild.archives.fetch import Beside, Voucher
from tmplbuild.archives.model import Package
from tmplbuild.errors import VerifyError
from tmplbuild.recipes.model import Archive

_CHUNK = 1 << 20


def vouchers(archives: Mapping[str, Archive], keys_dir: openpgp.KeysDir, now: float) -> dict[str, Voucher]:
    """What the packages of each archive have to pass."""
    return {
        role: partial(_vouch, Web(archive, keys_dir, now), now)
        for role, archive in archives.items()
        if archive.signed != "index"
    }


class Web:
    """Who may sign packages of an archive."""

    def __init__(self, archive: Archive, keys_dir: openpgp.KeysDir, now: float) -> None:
        self._archive = archive
        self._folders = (keys_dir,) if isinstance(keys_dir, Path) else keys_dir
        self._now = now
        self._known: dict[str, openpgp.Keyring] = {}

    @functools.cached_property
    def _certificates(self) -> list[openpgp.Certificate]:
        name = self._archive.keyring
        path = next((one / name for one in self._folders if (one / name).is_file()), self._folders[0] / name)
        try:
            return openpgp.certificates(path.read_bytes(), str(path))
        except OSError as error:
            why = error.strerror or str(error)
            raise VerifyError("the archive's keyring cannot be read", where=str(path), why=why) from None

    @functools.cached_property
    def _masters(self) -> list[openpgp.Certificate]:
        found = [one for one in self._certificates if one.fingerprint in self._archive.keys]
        openpgp.Keyring.of(found)  # revoked or broken ones end here
        return found

    def keyring(self, issuer: str, where: str) -> openpgp.Keyring:
        """The certificate of the key that made a signature, if it may sign. Raises VerifyError."""
        cert = next(
            (one for one in self._certificates if any(key.endswith(issuer) for key in one.keys)), None
        )
        if cert is None or len(issuer) < 16:
            raise VerifyError(
                "a package is signed by a key that is not in the archive's keyring",
                where=where,
                why=f"it is signed by {issuer}",
                hint=f"get a newer keyring as keys/{self._archive.keyring} beside the recipe",
            )
        if cert.fingerprint not in self._known:
            self._known[cert.fingerprint] = self._believed(cert, where)
        return self._known[cert.fingerprint]

    def _believed(self, cert: openpgp.Certificate, where: str) -> openpgp.Keyring:
        masters = [one.packets for one in self._masters]
        by = certification.certifiers(cert.packets, masters, self._now)
        if len(by) < self._archive.certified_by:
            raise VerifyError(
                "a package is signed by a key that too few master keys vouch for",
                where=where,
                why=f"{cert.fingerprint} is certified by {', '.join(sorted(by)) or 'none'} of the recipe's "
                f"keys; {self._archive.certified_by} are asked for",
                hint=f"get a newer keyring as keys/{self._archive.keyring} beside the recipe",
            )
        return openpgp.Keyring.of([cert])


def _vouch(web: Web, now: float, package: Package, fd: int, beside: Beside) -> None:
    where = package.filename
    try:
        signature = base64.b64decode(package.fields.get(SIGNATURE, ""), validate=True)
    except binascii.Error:
        signature = b""
    signature = beside(".sig", signature)
    (issuer,) = openpgp.issuers(signature, where)[:1]
    content = b"".join(iter(partial(_read, fd, [0]), b""))
    what = f"the package {package.name}"
    web.keyring(issuer, where).verify_detached(content, signature, now=now, where=where, what=what)


def _read(fd: int, at: list[int]) -> bytes:
    data = os.pread(fd, _CHUNK, at[0])
    at[0] += len(data)
    return data
