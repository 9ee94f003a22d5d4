"""Makes small Debian archives: real .debs, indexes, signed Releases, and a server that can fail.

    place = ArchiveFactory(tmp_path / "archive")
    place.suite("stable", [Deb("base", essential=True), Deb("tool", depends="base (>= 1)")])
    with place.serve() as server:
        archives = place.recipe_archives(server.url)

Everything is written by hand, so that tests need neither dpkg-deb nor apt-ftparchive nor gpg.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Protocol

import pysequoia

from tests.archive_server import ArchiveServer
from tmplbuild.recipes.model import Archive

EPOCH = 1_700_000_000
"""The mtime of every file in a factory's packages."""


class Parcel(Protocol):
    """A package that can be put into an archive: `Deb`, and real ones (`tests.moving_archive`)."""

    @property
    def arch(self) -> str: ...
    @property
    def filename(self) -> str: ...
    def control(self) -> str: ...
    def build(self) -> bytes: ...


@dataclass(frozen=True)
class Deb:
    """A package to be made.

    `files` maps absolute paths to contents, `modes` to permission bits; `links` maps paths to link
    targets; `scripts` are the control members beside control (postinst, conffiles, triggers...).
    `fields` are further control fields, `compression` is that of both members: "xz", "gz", "zst"
    or "".
    """

    name: str
    version: str = "1.0"
    arch: str = "all"
    depends: str = ""
    priority: str = "optional"
    essential: bool = False
    fields: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    modes: Mapping[str, int] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)
    compression: str = "xz"

    @property
    def filename(self) -> str:
        """The path in the pool."""
        version = self.version.partition(":")[2] or self.version
        return f"pool/main/{self.name[0]}/{self.name}/{self.name}_{version}_{self.arch}.deb"

    def control(self) -> str:
        """The control file."""
        rows = {"Package": self.name, "Version": self.version, "Architecture": self.arch}
        rows |= {"Maintainer": "Nobody <nobody@example.org>", "Priority": self.priority, "Section": "misc"}
        if self.essential:
            rows["Essential"] = "yes"
        if self.depends:
            rows["Depends"] = self.depends
        rows |= self.fields
        rows.setdefault("Description", f"package {self.name} of a test")
        return "".join(f"{key}: {value}\n" for key, value in rows.items())

    def build(self) -> bytes:
        """The .deb file, the same bytes every time (deb(5))."""
        control = {"./control": (self.control().encode(), 0o644)}
        for name, text in self.scripts.items():
            executable = name in ("preinst", "postinst", "prerm", "postrm", "config")
            control[f"./{name}"] = (text.encode(), 0o755 if executable else 0o644)
        sums = "".join(f"{hashlib.md5(data).hexdigest()}  {path[1:]}\n" for path, data in self.files.items())
        if sums:
            control["./md5sums"] = (sums.encode(), 0o644)
        data = {f".{path}": (content, self.modes.get(path, 0o644)) for path, content in self.files.items()}
        suffix = f".{self.compression}" if self.compression else ""
        return ar(
            {
                "debian-binary": b"2.0\n",
                f"control.tar{suffix}": pack(_tar(control, {}), self.compression),
                f"data.tar{suffix}": pack(_tar(data, self.links), self.compression),
            }
        )


def ar(members: Mapping[str, bytes]) -> bytes:
    """A Unix ar archive, ar(5)."""
    out = bytearray(b"!<arch>\n")
    for name, data in members.items():
        out += f"{name:<16}{EPOCH:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        out += data + b"\n" * (len(data) % 2)
    return bytes(out)


def pack(data: bytes, compression: str) -> bytes:
    """Compressed data ("" leaves them)."""
    if compression == "xz":
        return lzma.compress(data)
    if compression == "gz":
        return gzip.compress(data, mtime=0)
    if compression == "bz2":
        return bz2.compress(data)
    if compression == "zst":
        from tmplbuild.archives import zstd

        return zstd.compress(data)
    return data


def _tar(files: Mapping[str, tuple[bytes, int]], links: Mapping[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        folders = {"."}
        for path in (*files, *(f".{link}" for link in links)):
            parts = path.split("/")[:-1]
            folders.update("/".join(parts[: count + 1]) for count in range(len(parts)))
        for folder in sorted(folders):
            archive.addfile(_info(f"{folder}/", tarfile.DIRTYPE, 0o755))
        for path, (data, mode) in files.items():
            info = _info(path, tarfile.REGTYPE, mode)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for path, target in links.items():
            info = _info(f".{path}", tarfile.SYMTYPE, 0o777)
            info.linkname = target
            archive.addfile(info)
    return out.getvalue()


def _info(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.mtime = kind, mode, EPOCH
    info.uname = info.gname = "root"
    return info


class Key:
    """A throw-away signing key.

    Parameters:
        validity_s: seconds after which it expires; None for never.
    """

    def __init__(self, validity_s: int | None = None) -> None:
        self.secret = pysequoia.Tsk.generate(user_id="test <test@example.org>", validity_seconds=validity_s)
        self.certificate = self.secret.extract_certificate()
        self.fingerprint = self.certificate.fingerprint.upper()

    def export(self, folder: Path) -> Path:
        """Write the certificate as FINGERPRINT.asc."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.fingerprint}.asc"
        path.write_text(str(self.certificate))
        return path

    def clear(self, text: bytes) -> bytes:
        """`text` as a cleartext-signed message."""
        return self._sign(text, pysequoia.SignatureMode.CLEAR)

    def detached(self, text: bytes) -> bytes:
        """An armored signature over `text`."""
        return self._sign(text, pysequoia.SignatureMode.DETACHED)

    def _sign(self, text: bytes, mode: pysequoia.SignatureMode) -> bytes:
        return pysequoia.sign(self.secret.signer(), text, mode=mode)


class ArchiveFactory:
    """An archive in the directory `root`, written suite by suite. Below `root.parent / "keys"` lies
    the certificate that its recipe pins.

    Parameters:
        key: signs; a new one if None.
        arches: Debian's words; every package of another architecture than "all" needs its own.
    """

    def __init__(self, root: Path, *, key: Key | None = None, arches: Sequence[str] = ("amd64",)) -> None:
        self.root = root
        self.key = key or Key()
        self.arches = tuple(arches)
        self.keys_dir = root.parent / "keys"
        self.key.export(self.keys_dir)
        self.suites: list[str] = []
        root.mkdir(parents=True, exist_ok=True)

    def suite(
        self,
        name: str,
        debs: Sequence[Parcel],
        *,
        date: float | None = None,
        valid_for_s: float | None = 7 * 86400,
        by_hash: bool = True,
        plain_paths: bool = True,
        compressions: Sequence[str] = ("xz", "gz", ""),
        inrelease: bool = True,
        signer: Key | None = None,
        fields: Mapping[str, str] | None = None,
        packages: bytes | None = None,
    ) -> None:
        """Write (or write anew) a suite with these packages.

        Parameters:
            date: of the Release, seconds since the epoch (now if None).
            valid_for_s: seconds from `date` to Valid-Until; None for no such field.
            by_hash, plain_paths: under which names the indexes can be fetched.
            compressions: in which forms the index is listed.
            inrelease: False gives Release and Release.gpg instead.
            signer: signs instead of the archive's key.
            fields: further Release fields, or other values for usual ones ("" leaves one out).
            packages: the index's bytes instead of those made of `debs`.
        """
        entries = [self._pool(deb) for deb in debs]
        listed: dict[str, bytes] = {}
        for arch in self.arches:
            text = "\n".join(
                entry for deb, entry in zip(debs, entries, strict=True) if deb.arch in ("all", arch)
            )
            index = packages if packages is not None else text.encode()
            for compression in compressions:
                suffix = f".{compression}" if compression else ""
                listed[f"main/binary-{arch}/Packages{suffix}"] = pack(index, compression)
        folder = self.root / "dists" / name
        for path, data in listed.items():
            if plain_paths:
                _write(folder / path, data)
            if by_hash:
                hashed = Path(path).parent / "by-hash/SHA256" / hashlib.sha256(data).hexdigest()
                _write(folder / hashed, data)
        moment = time.time() if date is None else date
        head = {
            "Origin": f"Test {self.key.fingerprint[-8:]}",  # a cache may see many archives with one "stable"
            "Label": "Test",
            "Suite": name,
            "Codename": name,
            "Date": formatdate(moment, usegmt=True),
            "Valid-Until": formatdate(moment + valid_for_s, usegmt=True) if valid_for_s is not None else "",
            "Acquire-By-Hash": "yes" if by_hash else "",
            "Architectures": " ".join(self.arches),
            "Components": "main",
        } | dict(fields or {})
        rows = [f"{key}: {value}" for key, value in head.items() if value]
        rows.append("SHA256:")
        rows += [f" {hashlib.sha256(data).hexdigest()} {len(data):8} {path}" for path, data in listed.items()]
        self._sign(folder, "\n".join([*rows, ""]).encode(), signer or self.key, inrelease)
        if name not in self.suites:
            self.suites.append(name)

    def recipe_archives(self, *mirrors: str, role: str = "debian") -> dict[str, Archive]:
        """The recipe's `archives` section for this archive; its own directory if no mirror is given."""
        return {
            role: Archive(
                mirrors=mirrors or (self.root.as_uri(),),
                public="http://archive.invalid/debian",
                suites=tuple(self.suites),
                components=("main",),
                keys=(self.key.fingerprint,),
            )
        }

    def inrelease(self, suite: str) -> Path:
        """The path of a suite's InRelease."""
        return self.root / "dists" / suite / "InRelease"

    def index(self, suite: str, suffix: str = ".xz", arch: str = "amd64") -> list[Path]:
        """The paths under which a suite's index lies: the plain one, and by hash."""
        plain = self.root / "dists" / suite / f"main/binary-{arch}/Packages{suffix}"
        if not plain.exists():
            return []
        return [plain, plain.parent / "by-hash/SHA256" / hashlib.sha256(plain.read_bytes()).hexdigest()]

    def damage(self, *paths: Path, at: int = -20) -> None:
        """Change one byte of files."""
        for path in paths:
            data = bytearray(path.read_bytes())
            data[at] ^= 0x01
            path.write_bytes(data)

    def serve(self) -> ArchiveServer:
        """A server of the archive, not yet started (a context manager)."""
        return ArchiveServer(self.root)

    def _pool(self, deb: Parcel) -> str:
        path = self.root / deb.filename
        data = deb.build()
        _write(path, data)
        extra = f"Filename: {deb.filename}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
        return deb.control() + extra

    def _sign(self, folder: Path, text: bytes, key: Key, inrelease: bool) -> None:
        for name in ("InRelease", "Release", "Release.gpg"):
            (folder / name).unlink(missing_ok=True)
        if inrelease:
            _write(folder / "InRelease", key.clear(text))
        else:
            _write(folder / "Release", text)
            _write(folder / "Release.gpg", key.detached(text))


def strip_signature(path: Path) -> None:
    """Leave only the text of a cleartext-signed file."""
    data = path.read_bytes()
    start = data.index(b"\n\n") + 2
    path.write_bytes(data[start : data.index(b"-----BEGIN PGP SIGNATURE-----")])


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
