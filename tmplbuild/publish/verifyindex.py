"""The indexes of a mirror, each read as its own client reads it."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from tmplbuild.publish.checker import Checker
from tmplbuild.publish.indexes import lxc, proxmox, simplestreams, sums, wsl

_BUILD_DATE = 8


def _simplestreams(checker: Checker, index: dict[str, Any]) -> None:
    """index.json leads to images.json; each item is a build's file, each combined digest is right."""
    entry = checker.remote.json(simplestreams.INDEX)["index"]["images"]
    images = checker.remote.json(entry["path"])
    if entry["datatype"] != "image-downloads" or sorted(entry["products"]) != sorted(images["products"]):
        checker.fault(simplestreams.INDEX, "its products are not those of images.json")
    for product in images["products"].values():
        for name, version in product["versions"].items():
            if not name[:_BUILD_DATE].isdigit():
                checker.fault(simplestreams.IMAGES, f"clients skip the version {name}")
            items = version["items"]
            for item in items.values():
                checker.named(simplestreams.IMAGES, item["path"], item["size"], item["sha256"])
            _combined(checker, items)


def _combined(checker: Checker, items: dict[str, Any]) -> None:
    keys = {"squashfs": "combined_squashfs_sha256", "root.tar.xz": "combined_rootxz_sha256"}
    for root, key in keys.items():
        if root in items:
            digest = hashlib.sha256()
            for name in ("incus.tar.xz", root):
                item = items[name]
                path = checker.remote.file(item["path"], item["size"], item["sha256"], "verify")
                digest.update(path.read_bytes())
                path.unlink()
            for name in ("incus.tar.xz", "lxd.tar.xz"):
                if items[name][key] != digest.hexdigest():
                    checker.fault(simplestreams.IMAGES, f"{key} of {items[name]['path']} is wrong")


def _lxc(checker: Checker, index: dict[str, Any]) -> None:
    for name in lxc.NAMES:
        for line in checker.small(name).decode().splitlines():
            folder = line.split(";")[5].strip("/")
            for file in ("rootfs.tar.xz", "meta.tar.xz"):
                checker.named(name, f"{folder}/{file}")


def _listing(checker: Checker, index: dict[str, Any]) -> None:
    """Every name of the list is a .tar.gz that is the current build's."""
    current = {one["name"]: one["builds"][0] for one in index["templates"] if one["builds"]}
    for name in checker.small(".listing").decode().splitlines():
        build = current.get(name)
        if build is None:
            checker.fault(".listing", f"it names {name}, which has no build")


def _sums(checker: Checker, index: dict[str, Any]) -> None:
    """Every file with a fixed name is served, and is the current build's."""
    current = {one["name"]: one["builds"][0] for one in index["templates"] if one["builds"]}
    sizes = {row["sha256"]: row["size"] for build in current.values() for row in build["files"]}
    for line in checker.small(sums.NAME).decode().splitlines():
        digest, _, name = line.partition("  ")
        if digest not in sizes:
            checker.fault(sums.NAME, f"its {name} is of no current build")
            continue
        with checker.noting(name):
            checker.remote.file(name, sizes[digest], digest, "verify").unlink()
            checker.report.files += 1
            checker.report.size += sizes[digest]


def _proxmox(checker: Checker, index: dict[str, Any]) -> None:
    data = checker.small(proxmox.NAME)
    if gzip.decompress(checker.small(f"{proxmox.NAME}.gz")) != data:
        checker.fault(f"{proxmox.NAME}.gz", f"it is not {proxmox.NAME}, compressed")
    for record in filter(None, data.decode().split("\n\n")):
        fields = dict(line.split(": ", 1) for line in record.splitlines() if not line.startswith(" "))
        missing = {"Package", "Type", "OS", "Version", "Infopage"} - fields.keys()
        if missing:
            checker.fault(proxmox.NAME, f"a record has no {', '.join(sorted(missing))}")
        checker.named(proxmox.NAME, fields["Location"])


def _wsl(checker: Checker, index: dict[str, Any]) -> None:
    if checker.remote.small(wsl.NAME) is None:
        return  # there is no template for it, or the mirror's address is not set
    for flavor, entries in checker.remote.json(wsl.NAME)["ModernDistributions"].items():
        if sum(entry["Default"] for entry in entries) != 1:
            checker.fault(wsl.NAME, f"not exactly one of {flavor} is the default")
        for entry in entries:
            for place in (entry[key] for key in ("Amd64Url", "Arm64Url") if key in entry):
                path = place["Url"].removeprefix(f"{index['url']}/")
                checker.named(wsl.NAME, path, None, place["Sha256"].removeprefix("0x"))


INDEXES: Mapping[str, Callable[[Checker, dict[str, Any]], None]] = {
    simplestreams.IMAGES: _simplestreams,
    lxc.NAMES[0]: _lxc,
    ".listing": _listing,
    sums.NAME: _sums,
    proxmox.NAME: _proxmox,
    wsl.NAME: _wsl,
}
"""Each index by its path, and what checks it."""
