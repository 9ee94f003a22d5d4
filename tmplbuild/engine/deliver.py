"""deliver: the packed template and its manifest into the template cache, each by one rename.

What vzctl would find first is looked at as well: it tries NAME.tar before NAME.tar.gz, so a stale
sibling would shadow a new template (vzctl(8), --ostemplate).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from tmplbuild.artifact.atomic import atomic_file, remove_stale, write_atomic
from tmplbuild.errors import StoreError
from tmplbuild.events import Emit, Note

DEFAULT = Path("/var/lib/vz/template/cache")
_SHADOWS = ("", ".tar")


def prepare_directory(directory: Path) -> None:
    """Make sure, before anything is built, that a file can appear in the template cache.

    OpenVZ's own place is made where it is missing; any other that is missing was mistyped, or is not
    mounted. Raises StoreError.
    """
    if directory == DEFAULT:
        directory.mkdir(parents=True, exist_ok=True)
    if not directory.is_dir():
        raise StoreError(
            "the template cache is not there",
            where=str(directory),
            why="no such directory" if not directory.exists() else "it is no directory",
            hint=f"mkdir -p {directory}, or name another with --cache",
        )
    if not os.access(directory, os.W_OK | os.X_OK):
        raise StoreError(
            "the template cache cannot be written",
            where=str(directory),
            why="the directory or its file system is read-only",
            hint="name another with --cache",
        )


def deliver(
    artifact: Path, directory: Path, name: str, manifest: bytes, size: int, emit: Emit
) -> dict[str, Any]:
    """Put NAME.tar.gz and NAME.manifest.json into the template cache.

    The file is linked, or copied where the cache is on another file system; the manifest follows
    it, and names its sha256. Returns what `is_delivered` wants to see again.
    """
    target = directory / f"{name}.tar.gz"
    remove_stale(target)
    link = target.with_name(f".{name}.tar.gz.{os.getpid()}.tmplbuild-part")
    try:
        os.link(artifact, link)
        os.rename(link, target)
        link.unlink(missing_ok=True)  # rename(2) leaves it where both names are one file already
    except OSError:  # another file system, or one without hard links
        link.unlink(missing_ok=True)
        with artifact.open("rb") as source, atomic_file(target, needed=size) as file:
            shutil.copyfileobj(source, file, 1 << 20)
    write_atomic(directory / f"{name}.manifest.json", manifest)
    for suffix in _SHADOWS:
        if (directory / f"{name}{suffix}").exists():
            emit(Note(f"{directory / name}{suffix} hides the new template from vzctl: remove it", "warning"))
    return _mark(target)


def is_delivered(directory: Path, name: str, mark: dict[str, Any] | None) -> bool:
    """Whether the file in the template cache is still the one that was put there."""
    target = directory / f"{name}.tar.gz"
    try:
        return mark == _mark(target) and (directory / f"{name}.manifest.json").is_file()
    except OSError:
        return False


def _mark(path: Path) -> dict[str, Any]:
    state = path.stat()
    return {"path": str(path), "inode": state.st_ino, "size": state.st_size, "mtime_ns": state.st_mtime_ns}
