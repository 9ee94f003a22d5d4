"""A VE's private area: its files at rest, either as a layer over a shared tree or as a tree of its own.

Layout "overlay": `base` links to the shared tree (`tmplbuild.vz.bases`), `upper` takes the changes.
Layout "image": the same, but a file system of a fixed size in `disk` takes them: full is full.
Layout "simfs", OpenVZ's word for a plain directory: the area is the tree, as vzctl makes it. Which
one an area has stands in VEID.conf and nowhere in the area: a VE's root could write that.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tmplbuild.core import Limits, Rootfs, images
from tmplbuild.errors import BusyError, StoreError, UsageError
from tmplbuild.vz import bases

LAYOUTS = {"overlay": "overlay", "image": "image", "copy": "simfs", "simfs": "simfs"}
"""What `--layout` takes, and what VEID.conf then has as VE_LAYOUT."""

_NEW, _GONE = "tmplbuild-new", "tmplbuild-gone"


@dataclass(frozen=True, slots=True)
class Area:
    """A private area.

    Parameters:
        path: its directory.
        layout: "overlay", "image" or "simfs".
    """

    path: Path
    layout: str

    def rootfs(self) -> Rootfs:
        """What the core runs. Raises StoreError where the area is not whole."""
        base, changes = self.path / "base", self.path / ("disk" if self.layout == "image" else "upper")
        if not (self.path if self.layout == "simfs" else changes).exists():
            raise StoreError("the private area is not there", where=str(self.path))
        if self.layout == "simfs":
            return Rootfs.plain(self.path)
        if not base.is_dir():
            raise StoreError(
                "the shared tree that the VE is made of is not there",
                where=str(base),
                why="it was removed, or its disk is not mounted",
            )
        lower = (Path(os.path.realpath(base)),)
        if self.layout == "image":
            return Rootfs.imaged(lower, changes)
        return Rootfs.overlay(lower, changes, self.path / "work")


def layout_of(word: str) -> str:
    """VE_LAYOUT for what an option or a file says. Raises UsageError for what cannot be had here."""
    name = word.partition(":")[0]
    if name in LAYOUTS:
        return LAYOUTS[name]
    why = "ploop images need OpenVZ's kernel" if name == "ploop" else ""
    raise UsageError(f"there is no layout {word!r}", why=why, hint="overlay, image, or copy (vzctl's simfs)")


@contextmanager
def creating(path: Path, layout: str, shared: bases.Bases, template: Path, limits: Limits) -> Iterator[Area]:
    """A new private area under another name; at the end of the block it gets its own.

    Parameters:
        limits: their disk space is the size of an image.

    On any error nothing of it is left. The caller holds the VE's lock. Raises BusyError when the
    area is there, VerifyError and StoreError as `bases.unpack`.
    """
    if path.exists():
        raise BusyError(
            "the private area is there already",
            where=str(path),
            hint="another VE's, or of one whose configuration was lost: `tmplbuild ve destroy` removes it",
        )
    draft = _beside(path, _NEW)
    remove_tree(draft)
    try:
        _make_parent(path.parent)
        if layout == "simfs":
            with _opened(template) as file:
                bases.unpack(file, draft, template)
        else:
            with shared.locked():
                tree = shared.of(template)
                draft.mkdir(mode=0o700)
                (draft / "base").symlink_to(tree)
            if layout == "image":
                assert limits.disk_mib is not None
                images.make(draft / "disk", limits.disk_mib, limits.inodes)
            else:
                (draft / "upper").mkdir()
                (draft / "upper").chmod(tree.stat().st_mode & 0o7777)
        yield Area(draft, layout)
        draft.rename(path)
    except OSError as error:
        raise StoreError("the private area cannot be made", where=str(path), why=str(error)) from error
    finally:
        remove_tree(draft)


def destroy(path: Path) -> None:
    """Remove a private area: the name goes first, at once, then the files."""
    gone = _beside(path, _GONE)
    remove_tree(gone)
    try:
        path.rename(gone)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError("the private area cannot be removed", where=str(path), why=str(error)) from error
    remove_tree(gone)


def leftovers(folder: Path) -> list[Path]:
    """What crashes left of creating and destroying, in a directory of private areas."""
    if not folder.is_dir():
        return []
    return [
        path for path in folder.iterdir() if path.name.startswith(".") and path.name.endswith((_NEW, _GONE))
    ]


def base_of(path: Path) -> Path | None:
    """The shared tree that a private area is made of; None for one that has none, or is no more."""
    try:
        return Path(os.readlink(path / "base"))
    except OSError:
        return None


def veid_of(leftover: Path) -> str:
    """The VE that a leftover was to become, or had been."""
    return leftover.name[1:].rpartition(".")[0]


def remove_tree(path: Path) -> None:
    """Remove a directory with all in it; none is well. Raises StoreError."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError("a directory cannot be removed", where=str(path), why=str(error)) from error


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f".{path.name}.{what}")


def _make_parent(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True)
        folder.chmod(0o700)  # trees of VEs hold set-user-id programs: no user of the host may run them


@contextmanager
def _opened(template: Path) -> Iterator[bases.File]:
    try:
        file = template.open("rb")
    except OSError as error:
        raise StoreError("a template cannot be read", where=str(template), why=str(error)) from error
    with file:
        yield file
