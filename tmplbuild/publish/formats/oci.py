"""TEMPLATE_BUILD.oci.tar: an OCI image layout in a tar, which `docker load` takes as well.

The layer is the template's own .tar.gz, unless the recipe wants something of it otherwise. Names have no
"./": Proxmox VE looks for exactly `oci-layout`, `index.json` and `blobs/` (PVE::LXC::Create). Docker's older
store wants manifest.json beside them (moby#47065); readers of OCI ignore it (image-layout.md: unknown files).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tmplbuild.artifact import tarstream
from tmplbuild.artifact.manifest import rfc3339
from tmplbuild.publish.draft import Draft, Layer
from tmplbuild.publish.smalltar import entry

_CHUNK = 1 << 20
_IMAGE = "application/vnd.oci.image"
_ARCHES = {
    "i386": "386",
    "i586": "386",
    "i686": "386",
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armhf": "arm",
    "armv7l": "arm",
    "ppc64el": "ppc64le",
}
"""Go's words (GOARCH) where the distributions' are others."""


def write(draft: Draft) -> None:
    """Write the archive."""
    manifest = draft.source.manifest
    artifact = manifest.artifact
    own = Layer(draft.place / draft.dated("tar.gz"), artifact.size, artifact.sha256, draft.tar_sha256)
    layer = draft.layer or own
    config = _json(_config(draft, layer))
    image = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_IMAGE}.manifest.v1+json",
            "config": _descriptor(f"{_IMAGE}.config.v1+json", config),
            "layers": [
                {
                    "mediaType": f"{_IMAGE}.layer.v1.tar+gzip",
                    "digest": f"sha256:{layer.sha256}",
                    "size": layer.size,
                }
            ],
            "annotations": _annotations(draft),
        }
    )
    index = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_IMAGE}.index.v1+json",
            "manifests": [
                {
                    **_descriptor(f"{_IMAGE}.manifest.v1+json", image),
                    "platform": _platform(draft),
                    "annotations": {
                        "org.opencontainers.image.ref.name": draft.source.release,
                        "io.containerd.image.name": f"docker.io/library/{_tag(draft)}",
                    },
                }
            ],
        }
    )
    blobs = [_digest(config), layer.sha256]
    docker = _json(
        [
            {
                "Config": f"blobs/sha256/{blobs[0]}",
                "RepoTags": [_tag(draft)],
                "Layers": [f"blobs/sha256/{blobs[1]}"],
            }
        ]
    )
    epoch = manifest.epoch
    with draft.create(draft.dated("oci.tar"), "oci") as out:

        def small(name: str, data: bytes) -> None:
            out.write(entry(name, epoch=epoch, size=len(data)) + data + tarstream.padding(len(data)))

        small("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        small("index.json", index)
        small("manifest.json", docker)
        out.write(entry("blobs/", epoch=epoch) + entry("blobs/sha256/", epoch=epoch))
        small(f"blobs/sha256/{blobs[0]}", config)
        small(f"blobs/sha256/{_digest(image)}", image)
        out.write(entry(f"blobs/sha256/{blobs[1]}", epoch=epoch, size=layer.size))
        with layer.path.open("rb") as file:
            while data := file.read(_CHUNK):
                out.write(data)
        out.write(tarstream.padding(layer.size) + tarstream.END)
    if layer is not own:
        layer.path.unlink()


def _config(draft: Draft, layer: Layer) -> dict[str, Any]:
    """The image's configuration: a system container, which Proxmox and podman know by /sbin/init."""
    manifest = draft.source.manifest
    return {
        **_platform(draft),
        "created": rfc3339(manifest.epoch),
        "config": {"Cmd": ["/sbin/init"], "StopSignal": "SIGRTMIN+3", "Labels": _annotations(draft)},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.tar_sha256}"]},
        "history": [{"created": rfc3339(manifest.epoch), "created_by": manifest.tool}],
    }


def _platform(draft: Draft) -> dict[str, str]:
    arch = draft.source.arch
    platform = {"architecture": _ARCHES.get(arch, arch), "os": "linux"}
    return {**platform, "variant": "v7"} if platform["architecture"] == "arm" else platform


def _annotations(draft: Draft) -> dict[str, str]:
    source = draft.source
    return {
        "org.opencontainers.image.title": source.title,
        "org.opencontainers.image.version": draft.build,
        "org.opencontainers.image.created": rfc3339(source.manifest.epoch),
    }


def _tag(draft: Draft) -> str:
    source = draft.source
    name = source.distro if source.variant == "default" else f"{source.distro}-{source.variant}"
    return f"{name.lower()}:{source.release}"


def _descriptor(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{_digest(data)}", "size": len(data)}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
