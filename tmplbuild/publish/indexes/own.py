"""index.json: everything, for programs: every build with its files, digests, manifest, SBOM, provenance.

It is what `tmplbuild fetch` and `tmplbuild verify` read (docs/publish.md describes each field).
"""

from __future__ import annotations

from typing import Any

from tmplbuild.artifact.manifest import rfc3339
from tmplbuild.publish.indexes.catalog import Catalog
from tmplbuild.publish.model import Build, json_bytes

NAME = "index.json"
SCHEMA = 1


def files(catalog: Catalog) -> dict[str, bytes]:
    """index.json."""
    found = {
        "schema": SCHEMA,
        "title": catalog.settings.title,
        "url": catalog.settings.url,
        "serial": catalog.state.serial,
        "updated": rfc3339(catalog.state.made),
        "key": catalog.settings.key,
        "page": "index.html" if catalog.settings.page else "",
        "templates": [_template(catalog, name) for name in catalog.state.templates()],
    }
    return {NAME: json_bytes(found)}


def _template(catalog: Catalog, name: str) -> dict[str, Any]:
    builds = catalog.state.listed(name)
    newest = catalog.state.of(name)[0]
    return {
        "name": name,
        "distro": newest.distro,
        "release": newest.release,
        "suite": newest.suite,
        "arch": newest.arch,
        "variant": newest.variant,
        "title": newest.title,
        "eol": newest.eol,
        "current": builds[0].build if builds else "",
        "builds": [_build(build) for build in builds],
    }


def _build(build: Build) -> dict[str, Any]:
    return {
        "build": build.build,
        "path": build.folder,
        "published": rfc3339(build.published),
        "archive_date": rfc3339(build.epoch),
        "sha256": build.artifact,
        "key": build.key,
        "forced": build.forced,
        "pinned": build.pinned,
        "files": [
            {"path": file.path, "kind": file.kind, "size": file.size, "sha256": file.sha256}
            for file in build.files
        ],
    }
