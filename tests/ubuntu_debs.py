"""Debian's packages in Ubuntu's clothes: members compressed by zstd, and the few packages changed by
which one distribution tells itself from the other."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import re
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.archive_factory import Deb, Key, ar
from tmplbuild.archives import zstd
from tmplbuild.archives.deb.ar import entries

_ORIGIN = b"Vendor: Ubuntu\nVendor-URL: http://www.ubuntu.com/\nParent: Debian\n"
NAMES = {"22.04": "Jammy Jellyfish", "24.04": "Noble Numbat"}
KEYRINGS = (
    "/etc/apt/trusted.gpg.d/ubuntu-keyring-2018-archive.gpg",
    "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
)


@dataclass(frozen=True)
class Change:
    """What becomes of one package: its control file, and contents by path ("./etc/issue")."""

    control: Callable[[str], str] = str
    files: Mapping[str, bytes] = field(default_factory=dict)
    conffiles: tuple[str, ...] = ()


def repacked(path: Path, change: Change | None = None) -> bytes:
    """A .deb with both members as zstd (deb(5)), changed where asked."""
    made: dict[str, bytes] = {}
    fd = os.open(path, os.O_RDONLY)
    try:
        for entry in entries(fd, str(path)):
            data = os.pread(fd, entry.size, entry.offset)
            if entry.name == "debian-binary":
                made[entry.name] = data
                continue
            stem, _, suffix = entry.name.rpartition(".")
            plain = {"xz": lzma.decompress, "gz": gzip.decompress, "zst": _unzstd}[suffix](data)
            if change is not None:
                plain = _control(plain, change) if stem == "control.tar" else _replaced(plain, change.files)
            made[f"{stem}.zst"] = zstd.compress(plain, level=1)
    finally:
        os.close(fd)
    return ar(made)


def with_version(version: str, edit: Callable[[str], str] = str) -> Change:
    """Another version of the same package."""
    return Change(control=lambda text: edit(re.sub(r"(?m)^Version: .*$", f"Version: {version}", text)))


def base_files(version: str, release: str, codename: str, point: str) -> Change:
    """base-files as Ubuntu has it: os-release(5), lsb-release, issue.

    Parameters:
        point: the point release that it says it is ("24.04.3").
    """
    title = f"Ubuntu {point} LTS"
    os_release = {
        "PRETTY_NAME": f'"{title}"',
        "NAME": '"Ubuntu"',
        "VERSION_ID": f'"{release}"',
        "VERSION": f'"{point} LTS ({NAMES[release]})"',
        "VERSION_CODENAME": codename,
        "ID": "ubuntu",
        "ID_LIKE": "debian",
        "HOME_URL": '"https://www.ubuntu.com/"',
        "UBUNTU_CODENAME": codename,
    }
    lsb = {
        "DISTRIB_ID": "Ubuntu",
        "DISTRIB_RELEASE": release,
        "DISTRIB_CODENAME": codename,
        "DISTRIB_DESCRIPTION": f'"{title}"',
    }
    debian = {"12": "bookworm/sid", "13": "trixie/sid"}
    return Change(
        control=with_version(version).control,
        files={
            "./usr/lib/os-release": _assignments(os_release),
            "./etc/lsb-release": _assignments(lsb),
            "./etc/issue": f"{title} \\n \\l\n\n".encode(),
            "./etc/issue.net": f"{title}\n".encode(),
            "./etc/debian_version": f"{debian[version.partition('.')[0]]}\n".encode(),
            "./etc/dpkg/origins/ubuntu": _ORIGIN,
        },
        conffiles=("/etc/dpkg/origins/ubuntu", "/etc/lsb-release"),
    )


def apt() -> Change:
    """apt as Ubuntu has it: it needs Ubuntu's keyring."""
    return Change(control=lambda text: text.replace("debian-archive-keyring", "ubuntu-keyring"))


def keyring(key: Key, version: str) -> Deb:
    """The package of the archive's certificates."""
    return Deb(
        "ubuntu-keyring",
        version,
        priority="important",
        files=dict.fromkeys(KEYRINGS, bytes(key.certificate)),
        scripts={"conffiles": f"{KEYRINGS[0]}\n"},
        compression="zst",
    )


def _assignments(values: Mapping[str, str]) -> bytes:
    return "".join(f"{key}={value}\n" for key, value in values.items()).encode()


def _unzstd(data: bytes) -> bytes:
    with zstd.open_reader(io.BytesIO(data)) as stream:
        return stream.read()


def _control(plain: bytes, change: Change) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        texts = {
            info.name: file.read().decode()
            for info in tar
            if info.name in ("./control", "./md5sums", "./conffiles") and (file := tar.extractfile(info))
        }
    conffiles = dict.fromkeys([*texts.get("./conffiles", "").split(), *change.conffiles])
    sums = {
        line.partition("  ")[2]: line.partition("  ")[0] for line in texts.get("./md5sums", "").splitlines()
    }
    for path, content in change.files.items():
        if path[1:] not in conffiles:
            sums[path[2:]] = hashlib.md5(content).hexdigest()
    new = {"./control": change.control(texts["./control"]).encode()}
    if sums:
        new["./md5sums"] = "".join(f"{digest}  {path}\n" for path, digest in sorted(sums.items())).encode()
    if conffiles:
        new["./conffiles"] = "".join(f"{path}\n" for path in conffiles).encode()
    return _replaced(plain, new)


def _replaced(plain: bytes, contents: Mapping[str, bytes]) -> bytes:
    """A tar with other contents for these members; those that it does not have come last."""
    out = io.BytesIO()
    left = dict(contents)
    with (
        tarfile.open(fileobj=io.BytesIO(plain)) as old,
        tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as new,
    ):
        for info in old:
            if info.name in left:
                _add(new, info, left.pop(info.name))
            else:
                new.addfile(info, old.extractfile(info) if info.isreg() else None)
        for name, content in left.items():
            info = tarfile.TarInfo(name)
            info.uname = info.gname = "root"
            info.mtime = 1_700_000_000
            _add(new, info, content)
    return out.getvalue()


def _add(tar: tarfile.TarFile, info: tarfile.TarInfo, content: bytes) -> None:
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
