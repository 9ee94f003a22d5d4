"""What a template is published as: a format is one module and one row of these tables.

The tar stream is walked once: each streamed format takes the same bytes as they pass. What describes
a format's files (metadata of LXC and Incus, OCI's documents) is written after the walk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tmplbuild.publish.draft import Draft
from tmplbuild.publish.formats import incus, lxc, oci, squashfs, targz, tarxz, tarzst, wsl
from tmplbuild.publish.walk import Sink

STREAMED: Mapping[str, Callable[[Draft], Sink]] = {
    "tar.xz": tarxz.sink,
    "tar.zst": tarzst.sink,
    "squashfs": squashfs.sink,
}
"""Formats made of the passing stream."""

CHANGED: Mapping[str, Callable[[Draft], Sink]] = {
    **STREAMED,
    "tar.xz": tarxz.changed,
    "oci": targz.layer,
    "wsl": targz.wsl,
}
"""What takes the stream of a format that differs from the template for its consumer."""

AFTERWARDS: Mapping[str, Callable[[Draft], None]] = {
    "oci": oci.write,
    "lxc": lxc.write,
    "incus": incus.write,
    "wsl": wsl.write,
}
"""Formats made of files that the walk has left."""

_MISSING: Mapping[str, Callable[[], str]] = {"squashfs": squashfs.missing}


def possible(wanted: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those of the wanted formats that can be made here, and for the others why not."""
    lacking = {name: why for name in wanted if name in _MISSING and (why := _MISSING[name]())}
    faults = tuple(f"no {name} is made: {why}" for name, why in lacking.items())
    return tuple(name for name in wanted if name not in lacking), faults


__all__ = ["AFTERWARDS", "CHANGED", "STREAMED", "possible"]
