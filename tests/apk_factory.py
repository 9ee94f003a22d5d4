"""Packages and repositories of Alpine's form, signed by a throw-away RSA key. openssl signs.

repository = ApkRepository(path, RsaKey.made(folder, "test"))
repository.write("v3.22/main/x86_64", [Apk(Part("hello"))])
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.rpm_factory import WHEN, File
from tests.small_system import Part, tar_of


@dataclass(frozen=True)
class RsaKey:
    """A key of ours: `name` is what signatures call it, `fingerprint` what a recipe pins."""

    name: str
    secret: Path
    public: bytes
    fingerprint: str

    @classmethod
    def made(cls, folder: Path, name: str) -> RsaKey:
        """A new key, kept in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        secret = folder / f"{name}.rsa"
        _openssl("genrsa", "-out", str(secret), "2048")
        public = _openssl("rsa", "-in", str(secret), "-pubout")
        der = _openssl("rsa", "-in", str(secret), "-pubout", "-outform", "DER")
        return cls(f"{name}.rsa.pub", secret, public, hashlib.sha256(der).hexdigest())

    def sign(self, data: bytes, kind: str = "sha1") -> bytes:
        """The signature's number."""
        return _openssl("dgst", f"-{kind}", "-sign", str(self.secret), data=data)

    def publish(self, folder: Path) -> None:
        """Write the public key where a recipe looks for it."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.fingerprint}.pub").write_bytes(self.public)

    def signed(self, member: bytes, kind: str = "sha1") -> bytes:
        """A gzip member with its signature in front."""
        name = {"sha1": "RSA", "sha256": "RSA256", "sha512": "RSA512"}[kind]
        file = File(f"/.SIGN.{name}.{self.name}", self.sign(member, kind), 0o100644)
        return _member(tar_of([file], folders=False, ended=False)) + member


@dataclass(frozen=True)
class Apk:
    """A package: `revision` is the number behind -r. `depends` and `install_if` are words of Alpine's."""

    part: Part
    revision: int = 0
    arch: str = "x86_64"
    depends: tuple[str, ...] = ()
    install_if: str = ""
    priority: int = 0

    @property
    def version(self) -> str:
        """As the repository lists it."""
        return f"{self.part.version}-r{self.revision}"

    @property
    def filename(self) -> str:
        """The file's name."""
        return f"{self.part.name}-{self.version}.apk"

    def build(self, key: RsaKey) -> bytes:
        """The package's file."""
        return key.signed(self._control()) + self._data()

    def stanza(self, size: int) -> str:
        """What the repository says of it."""
        checksum = base64.b64encode(hashlib.sha1(self._control()).digest()).decode()
        rows = {"C": f"Q1{checksum}", "P": self.part.name, "V": self.version, "A": self.arch, "S": str(size)}
        rows |= {"I": str(self._size()), "T": "A package for tests", "U": "https://example.org/", "L": "none"}
        rows |= {"o": self.part.name, "t": str(WHEN), "D": " ".join(self._needs())}
        rows |= {"p": " ".join(self.part.provides), "i": self.install_if, "k": str(self.priority or "")}
        return "".join(f"{letter}:{text}\n" for letter, text in rows.items() if text)

    def _needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.part.needs, *self.depends)))

    def _size(self) -> int:
        return sum(len(file.data) for file in self.part.files)

    def _data(self) -> bytes:
        return _member(tar_of(self.part.files, headers=True))

    def _control(self) -> bytes:
        rows = [f"pkgname = {self.part.name}", f"pkgver = {self.version}", "pkgdesc = A package for tests"]
        rows += [f"arch = {self.arch}", f"origin = {self.part.name}", f"size = {self._size()}"]
        rows += [f"builddate = {WHEN}", *(f"depend = {one}" for one in self._needs())]
        rows += [f"provides = {one}" for one in self.part.provides]
        rows.append(f"datahash = {hashlib.sha256(self._data()).hexdigest()}")
        files = [File("/.PKGINFO", "".join(f"{row}\n" for row in rows).encode())]
        for when, text in self.part.scripts.items():
            kinds = ("install", "upgrade") if when in ("pre", "post") else ("deinstall",)
            files += [File(f"/.{when}-{kind}", f"#!/bin/sh\n{text}".encode(), 0o100755) for kind in kinds]
        return _member(tar_of(files, folders=False, ended=False))


class ApkRepository:
    """Repositories below one directory."""

    def __init__(self, root: Path, key: RsaKey) -> None:
        self.root = root
        self.key = key

    def write(
        self, suite: str, apks: Iterable[Apk], *, signer: RsaKey | None = None, date: int = WHEN
    ) -> Path:
        """Write a repository; its signed list.

        Parameters:
            signer: signs the list instead of the archive's key.
            date: of the newest package, seconds since the epoch.
        """
        place = self.root / suite
        place.mkdir(parents=True, exist_ok=True)
        stanzas = []
        for apk in apks:
            path = place / apk.filename
            if not path.exists():
                path.write_bytes(apk.build(self.key))
            stanzas.append(apk.stanza(path.stat().st_size).replace(f"t:{WHEN}", f"t:{date}"))
        files = [File("/DESCRIPTION", b"a test"), File("/APKINDEX", "\n".join([*stanzas, ""]).encode())]
        member = _member(tar_of(files, folders=False))
        listing = place / "APKINDEX.tar.gz"
        listing.write_bytes((signer or self.key).signed(member))
        return listing


def _member(data: bytes) -> bytes:
    return gzip.compress(data, 6, mtime=0)


def _openssl(*words: str, data: bytes | None = None) -> bytes:
    return subprocess.run(["openssl", *words], input=data, capture_output=True, check=True).stdout
