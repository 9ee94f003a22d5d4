"""Archives in ALT's true format: packages, lists, releases with appended signatures.

    repository = Repository(path, throw_away_key("test"))
    repository.add(Rpm("hello", files=(File("/usr/bin/hello", b"#!/bin/sh\\n", mode=0o100755),)))
    repository.write("p11/branch/x86_64", label="p11")

The format is what apt-rpm's genbasedir writes.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import TypeAlias

import pysequoia

from tests.gpg import OldKey
from tests.rpm_factory import WHEN, File, Rpm, Tag, build_rpm, common_tags, pack_header, path_tags
from tmplbuild.archives import zstd
from tmplbuild.archives.aptrpm import header

Key: TypeAlias = pysequoia.Tsk | OldKey
"""What signs: a key of today, or one as they were in 2008."""

__all__ = ["WHEN", "File", "Repository", "Rpm", "list_entry", "publish_key", "sign", "throw_away_key"]


def list_entry(
    rpm: Rpm,
    data: bytes | None = None,
    *,
    component: str = "classic",
    hashes: Sequence[str] = ("md5", "blake2b"),
    useful: Callable[[str], bool] = lambda path: True,
) -> bytes:
    """A package's header in a list. Without the file's bytes its hashes are those of its name."""
    content = rpm.filename.encode() if data is None else data
    tags = common_tags(rpm) + path_tags([path for path in _paths(rpm) if useful(path)])
    tags += [
        Tag(header.APT_FILENAME, header.STRING, rpm.filename),
        Tag(header.APT_FILESIZE, header.INT32, len(content)),
        Tag(header.APT_DIRECTORY, header.STRING, f"RPMS.{component}"),
    ]
    for kind in hashes:
        number = {"md5": header.APT_MD5, "sha256": header.APT_SHA256, "blake2b": header.APT_BLAKE2B}[kind]
        tags.append(Tag(number, header.STRING, hashlib.new(kind, content).hexdigest()))
    return pack_header(tags)


def _paths(rpm: Rpm) -> list[str]:
    return sorted(name for file in rpm.files for name in (file.path, *file.links))


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".xz": lambda data: lzma.compress(data, lzma.FORMAT_XZ, preset=1),
    ".bz2": bz2.compress,
    ".zst": zstd.compress,
}


def release_text(
    files: dict[str, bytes],
    *,
    label: str,
    components: Sequence[str],
    arch: str,
    date: int = WHEN,
    hashes: Sequence[str] = ("md5", "blake2b"),
) -> bytes:
    """The signed text of a base/release over `files` (paths below the architecture's directory)."""
    lines = [
        "Origin: ALT Linux Team",
        f"Label: {label}",
        f"Suite: {label}",
        f"Codename: {date}",
        f"Date: {formatdate(date)}",
        f"Architectures: {arch}",
        f"Components: {' '.join(components)}",
        f"Description: ALT Linux {label}",
    ]
    titles = {"md5": "MD5Sum", "blake2b": "BLAKE2b", "sha256": "SHA256"}
    for kind in hashes:
        lines.append(f"{titles[kind]}:")
        lines += [
            f" {hashlib.new(kind, data).hexdigest()} {len(data)} {path}" for path, data in files.items()
        ]
    return "\n".join([*lines, "", ""]).encode()


def throw_away_key(name: str) -> pysequoia.Tsk:
    """A new key, with its secrets."""
    return pysequoia.Tsk.generate(f"{name} <{name}@example.org>")


def certificate(key: Key) -> tuple[str, str]:
    """A key's fingerprint, and its armoured certificate."""
    if isinstance(key, OldKey):
        return key.fingerprint, key.certificate
    cert = key.extract_certificate()
    return str(cert.fingerprint).upper(), str(cert)


def publish_key(key: Key, folder: Path) -> str:
    """Write the key's certificate beside a recipe; returns its fingerprint."""
    fingerprint, text = certificate(key)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{fingerprint}.asc").write_text(text)
    return fingerprint


def sign(text: bytes, *keys: Key) -> bytes:
    """The text with detached signatures appended, one after another."""
    blocks = [key.sign(text) if isinstance(key, OldKey) else _signature(key, text) for key in keys]
    return text + b"".join(block if block.endswith(b"\n") else block + b"\n" for block in blocks)


def _signature(key: pysequoia.Tsk, text: bytes) -> bytes:
    made: bytes = pysequoia.sign(key.signer(), text, mode=pysequoia.SignatureMode.DETACHED)
    return made


class Repository:
    """An archive below a directory, to which suites ("p11/branch/x86_64") are written."""

    def __init__(self, root: Path, *keys: Key) -> None:
        self.root = root
        self.keys = keys
        self.packages: dict[str, list[Rpm]] = {}
        self._writings = 0

    def add(self, *packages: Rpm, component: str = "classic") -> None:
        """Packages for the next `write`."""
        self.packages.setdefault(component, []).extend(packages)

    def write(
        self,
        suite: str,
        *,
        label: str = "p11",
        suffixes: Sequence[str] = (".xz", ".bz2"),
        plain: bool = False,
        hashes: Sequence[str] = ("md5", "blake2b"),
        date: int = WHEN,
        built: bool = True,
    ) -> None:
        """Write the packages, the lists and the release, and forget the packages.

        Parameters:
            suffixes: how the lists are compressed.
            plain: leave the uncompressed lists too; the release names them in any case.
            built: whether the lists tell when a package was built (they do since 2014).
        """
        folder = self.root / suite
        (folder / "base").mkdir(parents=True, exist_ok=True)
        arch = suite.rpartition("/")[2]
        files: dict[str, bytes] = {}
        for component, packages in self.packages.items():
            data = self._component(folder, component, packages, hashes, built)
            name = f"base/pkglist.{component}"
            files[name] = data
            files.update({f"{name}{suffix}": COMPRESS[suffix](data) for suffix in suffixes})
            files[f"base/release.{component}"] = (
                f"Archive: {label}\nComponent: {component}\nVersion: {date}\nOrigin: ALT Linux Team\n"
                f"Label: {label}\nArchitecture: {arch}\nNotAutomatic: false\n"
            ).encode()
        for path, data in files.items():
            if plain or not path.startswith("base/pkglist") or path.endswith((".xz", ".bz2", ".zst")):
                (folder / path).write_bytes(data)
        text = release_text(
            files, label=label, components=list(self.packages), arch=arch, date=date, hashes=hashes
        )
        release = folder / "base" / "release"
        release.write_bytes(sign(text, *self.keys))
        # servers tell changes by whole seconds: each writing gets one of its own
        self._writings += 1
        os.utime(release, (WHEN + self._writings, WHEN + self._writings))
        self.packages = {}

    def _component(
        self, folder: Path, component: str, packages: list[Rpm], hashes: Sequence[str], built: bool
    ) -> bytes:
        place = folder / f"RPMS.{component}"
        place.mkdir(exist_ok=True)
        entries = []
        for rpm in sorted(packages, key=lambda rpm: rpm.filename):
            data = build_rpm(rpm)
            (place / rpm.filename).write_bytes(data)
            listed = rpm if built else replace(rpm, built=None)
            entries.append(list_entry(listed, data, component=component, hashes=hashes))
        return b"".join(entries)
