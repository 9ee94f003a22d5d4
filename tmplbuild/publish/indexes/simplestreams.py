"""streams/v1/{index,images}.json for Incus and LXD (lxc/incus:shared/simplestreams).

The metadata file is named twice, as incus.tar.xz for Incus and as lxd.tar.xz for LXD: each reads its own.
A root file counts only with the combined fingerprint that the metadata item names for it.
"""

from __future__ import annotations

from typing import Any

from tmplbuild.artifact.manifest import rfc3339
from tmplbuild.publish.formats.incus import ROOTS
from tmplbuild.publish.indexes.catalog import Catalog
from tmplbuild.publish.model import Build, File, json_bytes

INDEX = "streams/v1/index.json"
IMAGES = "streams/v1/images.json"
_COMBINED = {"squashfs": "combined_squashfs_sha256", "tar.xz": "combined_rootxz_sha256"}


def files(catalog: Catalog) -> dict[str, bytes]:
    """Both files."""
    found: dict[str, list[Build]] = {}
    for build in catalog.builds():
        if build.combined:
            found.setdefault(_product_name(build), []).append(build)
    products = {name: _product(builds) for name, builds in sorted(found.items())}
    stamp = rfc3339(catalog.state.made)
    index = {
        "format": "index:1.0",
        "updated": stamp,
        "index": {
            "images": {
                "datatype": "image-downloads",
                "path": IMAGES,
                "format": "products:1.0",
                "updated": stamp,
                "products": list(products),
            }
        },
    }
    images = {
        "content_id": "images",
        "datatype": "image-downloads",
        "format": "products:1.0",
        "updated": stamp,
        "products": products,
    }
    return {INDEX: json_bytes(index), IMAGES: json_bytes(images)}


def _product_name(build: Build) -> str:
    return f"{build.distro}:{build.release}:{build.arch}:{build.variant}"


def _product(builds: list[Build]) -> dict[str, Any]:
    newest = builds[0]
    product = {
        "aliases": ",".join(aliases(newest)),
        "arch": newest.arch,
        "os": newest.distro.capitalize(),
        "release": newest.release,
        "release_codename": newest.suite,
        "release_title": newest.release,
        "requirements": {},
        "variant": newest.variant,
        "version": newest.release,
        "versions": {build.build: {"items": _items(build)} for build in builds},
    }
    return {**product, "support_eol": newest.eol, "supported": True} if newest.eol else product


def aliases(build: Build) -> list[str]:
    """The names that users say; of the default variant the short ones come last."""
    words = dict.fromkeys([build.release, build.suite])
    names = [f"{build.distro}/{word}" for word in words]
    full = [f"{name}/{build.variant}" for name in names]
    return [*full, *names] if build.variant == "default" else full


def _items(build: Build) -> dict[str, Any]:
    metadata = build.file("incus")
    if metadata is None:
        return {}
    combined: dict[str, str] = {_COMBINED[one.root]: one.sha256 for one in build.combined}
    if "combined_squashfs_sha256" not in combined and "combined_rootxz_sha256" in combined:
        combined["combined_sha256"] = combined["combined_rootxz_sha256"]
    items = {name: {"ftype": name, **_item(metadata), **combined} for name in ("incus.tar.xz", "lxd.tar.xz")}
    for kind, ftype in ROOTS.items():
        if root := build.file(kind):
            items[ftype] = {"ftype": ftype, **_item(root)}
    return items


def _item(file: File) -> dict[str, Any]:
    return {"path": file.path, "sha256": file.sha256, "size": file.size}
