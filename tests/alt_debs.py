"""Debian's binaries as RPM packages: what the stand-in for ALT's archive is mostly made of.

A package keeps its name and its files (but documentation and translations); its dependencies become
requirements by name. Scripts are left out: the stand-in has scripts of its own where one is needed.
"""

from __future__ import annotations

import gzip
import io
import lzma
import os
import re
import stat
import tarfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.debian import debian_archives, debian_keys
from tests.rpm_factory import File, Rpm
from tmplbuild.archives import deb, mirrors, zstd
from tmplbuild.archives.aptrpm.rpmfile import CONFIG, NOREPLACE
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.deb.ar import entries
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.model import Package
from tmplbuild.archives.wishes import Wishes

SUITE = "bookworm"
_LEFT_OUT = re.compile(
    r"/usr/share/(doc|man|locale|info|lintian|bug|doc-base|bash-completion|zsh|fish|gcc|perl5|i18n/charmaps)(/|$)"
    r"|/etc/(init\.d|cron\.[a-z]+|default|apt|dpkg)(/|$)|/usr/lib/(rpm/(brp|check|find|fileattrs)|udev/hwdb\.d)"
    r"|/lib/udev(/|$)|/lib/systemd/system/(getty\.target\.wants/)?getty-static\.service"
    # links to files of packages that are not taken
    r"|/etc/modules-load\.d/modules\.conf|/etc/rmt$|/etc/xdg/systemd/user|.*/99-environment\.conf"
)
_MERGED = re.compile(r"^/(bin|sbin|lib|lib32|lib64|libx32)(?=/)")


@dataclass(frozen=True)
class Deb:
    """A Debian package taken apart. `needs` are the names of packages, one of each tuple."""

    name: str
    version: str
    needs: tuple[tuple[str, ...], ...]
    files: tuple[File, ...]


class DebianBinaries:
    """The closure of some of Debian's packages, downloaded once.

    Parameters:
        cache: a package cache.
        names: packages.
        without: packages of their closure that are not taken.
        arch: Debian's word for the architecture.
    """

    def __init__(
        self, cache: Path, names: Iterable[str], without: Collection[str], arch: str = "amd64"
    ) -> None:
        packages = PackageCache(cache)
        archives = {"debian": debian_archives(SUITE)["debian"]}
        fetcher = Fetcher(mirrors.table(archives))
        states = deb.read_archives(archives, arch, fetcher=fetcher, cache=packages, keys_dir=debian_keys())
        full = deb.closure(deb.open_pool(states, arch), Wishes(priorities=(), packages=tuple(names)))
        self.packages = tuple(one for one in full.packages if one.name not in without)
        deb.download(self.packages, fetcher=fetcher, cache=packages)
        self._names = {one.name for one in self.packages}
        self._path: Callable[[Package], Path] = lambda one: packages.path(one.sha256)

    def debs(self, only: Collection[str] = ()) -> list[Deb]:
        """All packages, or `only` these, taken apart."""
        return [self._deb(package) for package in self.packages if not only or package.name in only]

    def _deb(self, package: Package) -> Deb:
        control, data = _members(self._path(package))
        conffiles = set(_member(control, "./conffiles").decode().split())
        fields = _fields(_member(control, "./control").decode())
        needs = [
            tuple(word for word in map(_name, group.split("|")) if word in self._names)
            for key in ("pre-depends", "depends")
            for group in fields.get(key, "").split(",")
        ]
        return Deb(package.name, package.version, tuple(filter(None, needs)), tuple(_files(data, conffiles)))


def as_rpm(
    one: Deb,
    *,
    merged: bool,
    change: Callable[[File], File | None] = lambda file: file,
    payload: str = "zstd",
    release: str = "alt1",
    requires: tuple[str, ...] = (),
    provides: tuple[str, ...] = (),
    scripts: Mapping[str, str] | None = None,
    more: tuple[File, ...] = (),
) -> Rpm:
    """A package of the stand-in.

    Parameters:
        merged: whether /bin and its like are links into /usr.
        change: makes another file of one, or None to leave it out.
        more: further files.
    """
    changed = (file for file in map(change, one.files) if file is not None)
    files = {file.path: file for file in (merge(file, merged) for file in (*changed, *more))}
    return Rpm(
        one.name,
        version=re.sub(r"[^A-Za-z0-9.+]", ".", one.version.partition(":")[2] or one.version),
        release=release,
        requires=(*(names[0] for names in one.needs), *requires),
        provides=provides,
        files=tuple(files[path] for path in sorted(files)),
        scripts=dict(scripts or {}),
        payload=payload,
    )


def merge(file: File, merged: bool) -> File:
    """The file where it lies in a tree whose /bin, /sbin and /lib are links into /usr."""
    if not merged:
        return file
    links = tuple(_MERGED.sub(r"/usr/\1", link) for link in file.links)
    return File(
        _MERGED.sub(r"/usr/\1", file.path),
        file.data,
        file.mode,
        file.user,
        file.group,
        file.flags,
        file.caps,
        file.mtime,
        links,
    )


def _members(path: Path) -> tuple[tarfile.TarFile, tarfile.TarFile]:
    found: dict[str, tarfile.TarFile] = {}
    fd = os.open(path, os.O_RDONLY)
    try:
        for entry in entries(fd, str(path)):
            stem, _, suffix = entry.name.rpartition(".")
            if stem in ("control.tar", "data.tar"):
                raw = os.pread(fd, entry.size, entry.offset)
                plain = {"xz": lzma.decompress, "gz": gzip.decompress, "zst": _unzstd}[suffix](raw)
                found[stem] = tarfile.open(fileobj=io.BytesIO(plain))  # noqa: SIM115 (in memory)
    finally:
        os.close(fd)
    return found["control.tar"], found["data.tar"]


def _unzstd(data: bytes) -> bytes:
    with zstd.open_reader(io.BytesIO(data)) as stream:
        return stream.read()


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    try:
        file = tar.extractfile(name)
    except KeyError:
        return b""
    return b"" if file is None else file.read()


def _fields(text: str) -> dict[str, str]:
    return {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in text.split("\n"))
    }


def _name(alternative: str) -> str:
    return alternative.strip().partition(" ")[0].partition(":")[0]


def _files(tar: tarfile.TarFile, conffiles: Collection[str]) -> Iterable[File]:
    members = {member.name.removeprefix(".").rstrip("/"): member for member in tar}
    links: dict[str, list[str]] = {}
    for path, member in members.items():
        if member.islnk():
            links.setdefault(member.linkname.removeprefix("."), []).append(path)
    for path, member in members.items():
        if not path or _LEFT_OUT.match(path) or member.islnk():
            continue
        kind, data = 0, b""
        if member.isdir():
            if (member.mode, member.uname, member.gname) == (0o755, "root", "root"):
                continue  # what no rule is about needs no owner
            kind = stat.S_IFDIR
        elif member.issym():
            kind, data = stat.S_IFLNK, member.linkname.encode()
        elif member.isreg():
            file = tar.extractfile(member)
            assert file is not None
            kind, data = stat.S_IFREG, file.read()
        yield File(
            path,
            data,
            0o120777 if kind == stat.S_IFLNK else kind | member.mode,
            member.uname or "root",
            member.gname or "root",
            CONFIG | NOREPLACE if path in conffiles else 0,
            links=tuple(links.get(path, ())),
        )
