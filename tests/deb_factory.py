"""Small .deb files for tests, made without dpkg, in all the forms that dpkg can read."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tmplbuild.archives import zstd
from tmplbuild.archives.deb.prepared import prepare
from tmplbuild.archives.model import Package
from tmplbuild.managers.debpackage import DebPackage, understand

UID, GID = os.getuid(), os.getgid()

SQUEEZE: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    ".zst": zstd.compress,
}

# path -> content; None for a directory; ("link", target), ("hard", target), ("fifo", "")
Files = Mapping[str, bytes | tuple[str, str] | None]


def data_tar(files: Files, modes: Mapping[str, int] | None = None) -> bytes:
    """A data.tar; paths are written with "./" in front, as dpkg-deb does, unless they begin otherwise."""
    out = io.BytesIO()
    kinds = {"link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "fifo": tarfile.FIFOTYPE}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, content in files.items():
            info = tarfile.TarInfo(path if path.startswith(("/", "../")) else f"./{path}")
            info.uid, info.gid, info.mtime = UID, GID, 1_000_000_000
            info.mode = (modes or {}).get(path, 0o755 if content is None else 0o644)
            if content is None:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            elif isinstance(content, tuple):
                info.type = kinds[content[0]]
                info.linkname = content[1]
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def ar(members: Sequence[tuple[str, bytes]]) -> bytes:
    """An ar archive (deb(5))."""
    out = b"!<arch>\n"
    for name, data in members:
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        out += data + b"\n" * (len(data) % 2)
    return out


def control_text(name: str, **fields: str) -> bytes:
    """A control file; field names with "_" for "-"."""
    rows = {"Version": "1", "Architecture": "amd64", "Maintainer": "Nobody <nobody@example.org>"}
    rows |= {key.replace("_", "-"): value for key, value in fields.items()}
    rows["Description"] = "a test"
    return f"Package: {name}\n".encode() + "".join(f"{k}: {v}\n" for k, v in rows.items()).encode()


def build(
    control: Mapping[str, bytes], data: bytes, *, control_suffix: str = ".gz", data_suffix: str = ".xz"
) -> bytes:
    """A .deb of these control members and this data.tar."""
    scripts = ("preinst", "postinst", "prerm", "postrm", "config")
    control_tar = data_tar(dict(control), dict.fromkeys(scripts, 0o755))
    return ar(
        [
            ("debian-binary", b"2.0\n"),
            (f"control.tar{control_suffix}", SQUEEZE[control_suffix](control_tar)),
            (f"data.tar{data_suffix}", SQUEEZE[data_suffix](data)),
        ]
    )


def package(
    place: Path,
    name: str,
    files: Files,
    *,
    scripts: Mapping[str, bytes] | None = None,
    modes: Mapping[str, int] | None = None,
    **fields: str,
) -> tuple[Package, Path]:
    """A .deb file in `place`, and what an index would say of it."""
    data = build({"control": control_text(name, **fields), **(scripts or {})}, data_tar(files, modes))
    version, arch = fields.get("Version", "1"), fields.get("Architecture", "amd64")
    path = place / f"{name}_{arch}.deb"
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return Package(name, version, arch, "debian", path.name, len(data), digest), path


def understood(place: Path, name: str, files: Files, **options: object) -> DebPackage:
    """The same, prepared and understood."""
    found, path = package(place, name, files, **options)  # type: ignore[arg-type]
    return understand(found, prepare(path, found.sha256))
