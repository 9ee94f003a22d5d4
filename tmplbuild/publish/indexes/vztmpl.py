"""What vztmpl-dl(8) and other clients of fixed names read: `.listing`, NAME.tar.gz, NAME.tar.gz.asc.

The list has a bare name a line; a file's signature is NAME.tar.gz.asc (kolyshkin/vzctl:bin/vztmpl-dl.in).
"""

from __future__ import annotations

from collections.abc import Iterator

from tmplbuild.publish.indexes.catalog import Catalog
from tmplbuild.publish.model import Build, File

FIXED = {
    "tar.gz": "tar.gz",
    "tar.gz.asc": "tar.gz.asc",
    "tar.xz": "tar.xz",
    "plain.tar.xz": "tar.xz",
    "tar.zst": "tar.zst",
    "wsl": "wsl",
    "manifest": "manifest.json",
}
"""Kinds of files that have a name which stays the same from build to build, and its suffix."""


def fixed(build: Build) -> Iterator[tuple[str, File]]:
    """The fixed names of a build's files. What LXC gets otherwise than others do has none: NAME.tar.xz is
    the template itself. (All that read a .tar.zst are Proxmox's.)
    """
    for file in build.files:
        if file.kind in FIXED and not (file.kind == "tar.xz" and file.kind in build.differs):
            yield f"{build.template}.{FIXED[file.kind]}", file


def files(catalog: Catalog) -> dict[str, bytes]:
    """`.listing`."""
    names = [build.template for build in catalog.state.current() if build.file("tar.gz")]
    return {".listing": "".join(f"{name}\n" for name in names).encode()}


def links(catalog: Catalog) -> dict[str, str]:
    """The files of the current builds by their fixed names."""
    return {name: file.path for build in catalog.state.current() for name, file in fixed(build)}
