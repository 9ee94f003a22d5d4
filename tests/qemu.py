"""QEMU's user mode out of Debian's archive; not installed, since its package may register it on the host."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.debian import debian_archives, debian_keys
from tmplbuild.archives import deb, mirrors
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.model import Package


def debs(names: tuple[str, ...], arch: str, cache: PackageCache) -> dict[str, Path]:
    """The files of some packages of Debian 12, without what they depend on."""
    archives = debian_archives("bookworm")
    fetcher = Fetcher(mirrors.table(archives))
    states = deb.read_archives(archives, arch, fetcher=fetcher, cache=cache, keys_dir=debian_keys())
    pool = deb.open_pool(states, arch)
    found: dict[str, Package] = {}
    for name in names:
        package = pool.candidate(name)
        assert package is not None, name
        found[name] = package
    deb.download(list(found.values()), fetcher=fetcher, cache=cache)
    return {name: cache.path(package.sha256) for name, package in found.items()}


def qemu(place: Path, cpu: str, packages: Path) -> Path:
    """A directory with qemu-CPU-static.

    Parameters:
        packages: the package cache.
    """
    file = debs(("qemu-user-static",), "amd64", PackageCache(packages))["qemu-user-static"]
    unpack(file, place, f"./usr/bin/qemu-{cpu}-static")
    return place / "usr/bin"


def unpack(file: Path, place: Path, *members: str) -> None:
    """Unpack a package's files, or some of them."""
    place.mkdir(parents=True, exist_ok=True)
    tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(file)], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(place), *members], input=tar, check=True)
