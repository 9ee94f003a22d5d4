"""What is in a build, as the two usual bills of materials: SPDX 2.3 and CycloneDX 1.5, both JSON.

Packages are named by package URLs (github.com/package-url/purl-spec: types deb and rpm). Nothing varies
between two documents of the same template: the time is the newest archive's, ids are made of the digest.
"""

from __future__ import annotations

import re
import uuid
from typing import Any
from urllib.parse import quote, urlencode

from tmplbuild.artifact.manifest import PackageRef, rfc3339
from tmplbuild.publish.model import json_bytes
from tmplbuild.publish.source import Source


def spdx(source: Source) -> bytes:
    """An SPDX 2.3 document (spdx.github.io/spdx-spec/v2.3)."""
    manifest = source.manifest
    artifact = manifest.artifact
    root = "SPDXRef-template"
    packages: list[dict[str, Any]] = [
        {
            "SPDXID": root,
            "name": source.template,
            "versionInfo": rfc3339(manifest.epoch),
            "packageFileName": artifact.file,
            "primaryPackagePurpose": "OPERATING-SYSTEM",
            "checksums": [{"algorithm": "SHA256", "checksumValue": artifact.sha256}],
            **_UNKNOWN,
        }
    ]
    relations = [_relation("SPDXRef-DOCUMENT", "DESCRIBES", root)]
    for number, package in enumerate(manifest.packages):
        name = f"SPDXRef-package-{number}-{re.sub(r'[^A-Za-z0-9.-]', '-', package.name)}"
        packages.append(
            {
                "SPDXID": name,
                "name": package.name,
                "versionInfo": package.version,
                "primaryPackagePurpose": "INSTALL",
                "externalRefs": [
                    {
                        "referenceCategory": "PACKAGE-MANAGER",
                        "referenceType": "purl",
                        "referenceLocator": purl(source, package),
                    }
                ],
                **({"sourceInfo": f"built from {package.source}"} if package.source else {}),
                **_UNKNOWN,
            }
        )
        relations.append(_relation(root, "CONTAINS", name))
    return json_bytes(
        {
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": "SPDXRef-DOCUMENT",
            "name": source.template,
            "documentNamespace": f"urn:uuid:{_uuid(source, 'spdx')}",
            "creationInfo": {
                "created": rfc3339(manifest.epoch),
                "creators": [f"Tool: {manifest.tool.replace(' ', '-')}"],
            },
            "packages": packages,
            "relationships": relations,
        }
    )


def cyclonedx(source: Source) -> bytes:
    """A CycloneDX 1.5 document (cyclonedx.org/docs/1.5/json)."""
    manifest = source.manifest
    tool, _, version = manifest.tool.partition(" ")
    return json_bytes(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "serialNumber": f"urn:uuid:{_uuid(source, 'cyclonedx')}",
            "version": 1,
            "metadata": {
                "timestamp": rfc3339(manifest.epoch),
                "tools": {"components": [{"type": "application", "name": tool, "version": version}]},
                "component": {
                    "type": "operating-system",
                    "bom-ref": "template",
                    "name": source.template,
                    "version": rfc3339(manifest.epoch),
                    "hashes": [{"alg": "SHA-256", "content": manifest.artifact.sha256}],
                },
            },
            "components": [
                {
                    "type": "library",
                    "bom-ref": f"package-{number}",
                    "name": package.name,
                    "version": package.version,
                    "purl": purl(source, package),
                }
                for number, package in enumerate(manifest.packages)
            ],
            "dependencies": [
                {
                    "ref": "template",
                    "dependsOn": [f"package-{number}" for number in range(len(manifest.packages))],
                }
            ],
        }
    )


def purl(source: Source, package: PackageRef) -> str:
    """The package URL of one package of a template."""
    qualifiers = {"arch": package.arch, "distro": f"{source.distro}-{source.release}"}
    version = package.version
    epoch, colon, rest = version.partition(":")
    if source.family == "rpm" and colon:  # the type rpm has the epoch as a qualifier
        qualifiers["epoch"], version = epoch, rest
    query = urlencode(sorted(qualifiers.items()), quote_via=quote)
    name = quote(package.name, safe=".-_~")
    return f"pkg:{source.family}/{quote(source.distro)}/{name}@{quote(version, safe='.-_~')}?{query}"


_UNKNOWN = {
    "downloadLocation": "NOASSERTION",
    "filesAnalyzed": False,
    "licenseConcluded": "NOASSERTION",
    "licenseDeclared": "NOASSERTION",
    "copyrightText": "NOASSERTION",
}


def _relation(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}


def _uuid(source: Source, kind: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}:{source.manifest.artifact.sha256}")
