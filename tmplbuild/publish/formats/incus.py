"""incus.tar.xz: the metadata half of a split image of Incus and LXD (doc/reference/image_format.md).

Host name and hosts file are templates, filled in when an instance is created or copied. The fingerprint
of an image is the sha256 of this file and the root file system one after the other.
"""

from __future__ import annotations

import hashlib
from typing import Any

from tmplbuild.publish.draft import Draft
from tmplbuild.publish.model import Combined, json_bytes
from tmplbuild.publish.smalltar import tar_xz

NAME = "incus.tar.xz"
ROOTS = {"squashfs": "squashfs", "tar.xz": "root.tar.xz"}
"""Kinds of root file systems that an image can have, and simplestreams' words for them."""

_CHUNK = 1 << 20
_HOSTNAME = b"{{ container.name }}\n"
_HOSTS = b"127.0.0.1\tlocalhost\n127.0.1.1\t{{ container.name }}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
# The words of Incus and LXD for architectures (shared/osarch): the kernel's.
_ARCHES = {"amd64": "x86_64", "arm64": "aarch64", "i386": "i686", "i586": "i686", "armhf": "armv7l"}


def write(draft: Draft) -> None:
    """Write incus.tar.xz."""
    files = {
        # JSON is YAML; metadata.yaml first: the daemon stops looking once it has it
        "metadata.yaml": json_bytes(metadata(draft)),
        "templates/hostname.tpl": _HOSTNAME,
        "templates/hosts.tpl": _HOSTS,
    }
    draft.put(NAME, "incus", tar_xz(files, epoch=draft.source.manifest.epoch))


def metadata(draft: Draft) -> dict[str, Any]:
    """What metadata.yaml says."""
    source = draft.source
    when = {"when": ["create", "copy"], "create_only": False, "properties": {}}
    return {
        "architecture": _ARCHES.get(source.arch, source.ve_arch),
        "creation_date": max(source.manifest.epoch, 1),
        "properties": {
            "architecture": source.arch,
            "description": f"{source.title} {source.arch} ({draft.build})",
            "name": f"{source.template}-{draft.build}",
            "os": source.distro.capitalize(),
            "release": source.release,
            "serial": draft.build,
            "variant": source.variant,
        },
        "templates": {
            "/etc/hostname": {**when, "template": "hostname.tpl"},
            "/etc/hosts": {**when, "template": "hosts.tpl"},
        },
    }


def combined(draft: Draft) -> tuple[Combined, ...]:
    """The fingerprints of the images that the files of a draft make."""
    if NAME not in draft.kinds:
        return ()
    found = []
    for name, kind in sorted(draft.kinds.items()):
        if kind in ROOTS:
            digest = hashlib.sha256((draft.place / NAME).read_bytes())
            with (draft.place / name).open("rb") as file:
                while data := file.read(_CHUNK):
                    digest.update(data)
            found.append(Combined(kind, digest.hexdigest()))
    return tuple(found)
