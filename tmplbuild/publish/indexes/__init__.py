"""All indexes of a mirror, made of its state alone: the same state gives the same bytes.

An index is one module with `files`, and perhaps `links` (name to a path of the mirror).
"""

from __future__ import annotations

from tmplbuild.publish.indexes import lxc, own, proxmox, simplestreams, sums, vztmpl, wsl
from tmplbuild.publish.indexes.catalog import Catalog

KEY = "signing-key.asc"
"""The certificate that signs; clients pin its fingerprint, not this file."""

_MODULES = (vztmpl, sums, simplestreams, lxc, proxmox, wsl, own)

SIGNATURES: dict[str, tuple[str, ...]] = {
    sums.NAME: (".gpg", ".asc"),
    proxmox.NAME: (".asc",),
    simplestreams.INDEX: (".gpg",),
    simplestreams.IMAGES: (".gpg",),
    own.NAME: (".asc",),
}
"""Indexes that are signed, and how. SHA256SUMS.gpg is binary, as old systemd wants; the rest armored."""

__all__ = ["KEY", "SIGNATURES", "Catalog", "index_files", "index_links"]


def index_files(catalog: Catalog) -> dict[str, bytes]:
    """Every generated file by its path below the mirror's root, unsigned."""
    found: dict[str, bytes] = {}
    for module in _MODULES:
        found |= module.files(catalog)
    if catalog.key:
        found[KEY] = catalog.key
    return found


def index_links(catalog: Catalog) -> dict[str, str]:
    """Fixed names and the paths of the mirror that they stand for."""
    return vztmpl.links(catalog)
