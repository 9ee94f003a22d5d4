"""Where a build came from: an in-toto statement with SLSA's provenance (slsa.dev/spec/v1.0/provenance).

Subjects are the files with their digests; the materials are the signed Release files of the archives, each
with the fingerprints that vouched for it, and the two package closures. With the recipe of that digest and
archives in that state the same command gives the same bytes.
"""

from __future__ import annotations

from typing import Any

from tmplbuild.artifact.manifest import rfc3339
from tmplbuild.publish.draft import Draft
from tmplbuild.publish.model import json_bytes

BUILD_TYPE = "https://tmplbuild.invalid/build/v1"
"""Says how to read the parameters below; the name leads nowhere (RFC 2606) since the project has no site."""

_SUBJECTS = ("tar.gz", "tar.xz", "plain.tar.xz", "tar.zst", "squashfs", "oci", "wsl")


def statement(draft: Draft) -> bytes:
    """The statement about all root file systems of a draft."""
    source = draft.source
    manifest = source.manifest
    subjects = [
        {"name": name, "digest": {"sha256": draft.sha256(name)}}
        for name, kind in sorted(draft.kinds.items())
        if kind in _SUBJECTS
    ]
    return json_bytes(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": subjects,
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": {"recipe": manifest.recipe.name, "arch": manifest.arch},
                    "internalParameters": {
                        "recipeSha256": manifest.recipe.digest,
                        "stages": [{"name": one.name, "key": one.key} for one in manifest.stages],
                        "baseClosureSha256": manifest.pins.base_closure,
                        "closureSha256": manifest.pins.closure,
                    },
                    "resolvedDependencies": [*_archives(draft), *_origin(draft)],
                },
                "runDetails": {
                    "builder": {
                        "id": f"{BUILD_TYPE.removesuffix('/build/v1')}/tmplbuild",
                        "version": {"tmplbuild": manifest.tool.partition(" ")[2]},
                    },
                    "metadata": {"invocationId": f"{source.template}/{draft.build}"},
                },
            },
        }
    )


def _archives(draft: Draft) -> list[dict[str, Any]]:
    return [
        {
            "name": f"{pin.role}/{pin.suite}",
            "digest": {"sha256": pin.release_sha256},
            "annotations": {"date": rfc3339(pin.date), "signedBy": list(pin.signed_by)},
        }
        for pin in draft.source.manifest.pins.archives
    ]


def _origin(draft: Draft) -> list[dict[str, Any]]:
    manifest = draft.source.manifest
    if not manifest.made_of_sha256:
        return []
    return [{"name": manifest.made_of or "template", "digest": {"sha256": manifest.made_of_sha256}}]
