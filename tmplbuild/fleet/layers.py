"""Layers between this machine's store and the one that a fleet shares.

A layer travels as a tar.zst of its directory, whiteouts (device 0:0) and all; what tar's readers here do not
restore (ACLs, overlayfs's own marks) is listed beside it. A step that changed no file has only its note.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tmplbuild.archives import zstd
from tmplbuild.archives.cache import PackageCache
from tmplbuild.artifact import tarstream
from tmplbuild.core.placing import open_below
from tmplbuild.core.untar import extract, open_tarball
from tmplbuild.engine.store import Layer, Store
from tmplbuild.errors import StoreError
from tmplbuild.fleet.shared import SharedStore

_LEVEL = 1  # a layer is read a few times and then forgotten
_TOLD = "shared.json"
_IN_TAR = ("user.", "security.capability")
_MEANT = ("trusted.overlay.opaque", "trusted.overlay.redirect", "trusted.overlay.whiteout")
_KINDS = {
    stat.S_IFREG: tarstream.REGULAR,
    stat.S_IFLNK: tarstream.SYMLINK,
    stat.S_IFDIR: tarstream.DIRECTORY,
    stat.S_IFCHR: tarstream.CHARACTER,
    stat.S_IFBLK: tarstream.DEVICE,
    stat.S_IFIFO: tarstream.FIFO,
}


def name_of(key: str) -> str:
    """Under what name the store tells of a layer."""
    return f"layers/{key}.json"


def known(layer: Layer) -> dict[str, Any] | None:
    """What the fleet's store was told of this machine's own layer; None if it was told nothing."""
    try:
        found: dict[str, Any] = json.loads((layer.path / _TOLD).read_bytes())
    except FileNotFoundError:
        return None
    return found


def push(
    layer: Layer,
    shared: SharedStore,
    scratch: Path,
    *,
    threads: int,
    below: Sequence[Layer] = (),
    anew: bool = False,
) -> None:
    """Upload a layer, then what tells of it.

    Parameters:
        scratch: a directory for the file that is uploaded.
        threads: that compress.
        below: layers that it cannot do without, topmost last, which have been uploaded: a boot leaves other
            names behind each time, so that what removes them fits to that very one only.
        anew: whether it takes the place of one that is there; else that stays, for others build on it.

    Raises StoreError.
    """
    entry: dict[str, Any] = {
        "key": layer.key,
        "stage": layer.stage,
        "parent": layer.parent,
        "whole": layer.whole,
        "note": layer.note,
        "sha256": "",
        "attributes": {},
    }
    if layer.fs.is_dir():
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=scratch, prefix="layer-") as file:
            with zstd.open_writer(file, level=_LEVEL, threads=threads) as out:  # type: ignore[arg-type]
                entry["attributes"] = _pack(layer.fs, out)
            file.flush()
            entry["sha256"] = shared.put(Path(file.name))
    _tell(layer.path, entry)
    entry["with"] = [known(one) for one in below]
    there = shared.read_json(name_of(layer.key))
    if anew or (there is not None and not _whole(there, shared)):
        shared.write_json(name_of(layer.key), entry)
    else:
        shared.add_json(name_of(layer.key), entry)


def pull(key: str, store: Store, shared: SharedStore, cache: PackageCache) -> bool:
    """Fetch a layer into this machine's store, and those below that it cannot do without, in place of what is
    there. False when the shared store does not have it.

    Raises StoreError, VerifyError.
    """
    entry = shared.read_json(name_of(key))
    if entry is None or not _whole(entry, shared):
        return False
    for one in _all_of(entry):
        mine = store.get(one["key"])
        if mine is None or not is_sound(mine, store) or (known(mine) or {}).get("sha256") != one["sha256"]:
            _adopt(one, store, shared, cache)
    return True


def is_sound(layer: Layer, store: Store) -> bool:
    """Whether what lies below a layer is what it was made on, and no later one."""
    if layer.parent is None:
        return True
    below = store.get(layer.parent)
    return below is not None and layer.made >= below.made


def _adopt(entry: dict[str, Any], store: Store, shared: SharedStore, cache: PackageCache) -> None:
    about = {"whole": bool(entry["whole"]), "note": entry["note"]}
    with store.adopt(entry["key"], entry["stage"], entry["parent"], **about) as place:
        if entry["sha256"]:
            file = shared.get(entry["sha256"], cache.root / "layers" / f"{entry['sha256']}.tar.zst", cache)
            (place / "fs").mkdir()
            _unpack(file, place / "fs", entry["attributes"])
            file.unlink(missing_ok=True)  # unpacked it lies in the store
        _tell(place, {name: value for name, value in entry.items() if name != "with"})


def _tell(place: Path, entry: dict[str, Any]) -> None:
    draft = place / f".{_TOLD}"
    draft.write_text(json.dumps(entry, sort_keys=True))
    draft.rename(place / _TOLD)


def _all_of(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [*entry.get("with", ()), entry]


def blobs(entry: dict[str, Any]) -> set[str]:
    """The files that an entry names."""
    return {one["sha256"] for one in _all_of(entry) if one["sha256"]}


def _whole(entry: dict[str, Any], store: SharedStore) -> bool:
    return all(store.has(sha256) for sha256 in blobs(entry))


def _pack(top: Path, out: BinaryIO) -> dict[str, dict[str, str]]:
    """Write the tree; returns the attributes that are not in the tar, by path."""
    attributes: dict[str, dict[str, str]] = {}
    first: dict[tuple[int, int], str] = {}
    for name in _walk(top):
        path = top / name
        state = path.lstat()
        kind = _KINDS.get(stat.S_IFMT(state.st_mode))
        if kind is None:  # a socket that nobody listens on
            continue
        kept, apart = _attributes(path)
        if apart:
            attributes[name] = apart
        size, link = 0, b""
        if kind == tarstream.SYMLINK:
            link = os.fsencode(os.readlink(path))
        elif kind != tarstream.DIRECTORY and state.st_nlink > 1:
            earlier = first.setdefault((state.st_dev, state.st_ino), name)
            if earlier != name:
                kind, link, kept = tarstream.HARDLINK, b"./" + os.fsencode(earlier), []
        if kind == tarstream.REGULAR:
            size = state.st_size
        out.write(
            tarstream.head(
                b"./" + os.fsencode(name) + (b"/" if kind == tarstream.DIRECTORY and name else b""),
                kind,
                mode=stat.S_IMODE(state.st_mode),
                uid=state.st_uid,
                gid=state.st_gid,
                mtime=max(0, int(state.st_mtime)),
                size=size,
                link=link,
                device=(os.major(state.st_rdev), os.minor(state.st_rdev)) if state.st_rdev else (0, 0),
                records=kept,
            )
        )
        if kind == tarstream.REGULAR:
            _copy(path, size, out)
    out.write(tarstream.END)
    return attributes


def _walk(top: Path) -> Iterator[str]:
    yield ""
    for folder, folders, names in os.walk(top):
        folders.sort()
        base = os.path.relpath(folder, top)
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        here = [name for name in folders if name not in links]
        for name in sorted([*names, *folders]):
            yield name if base == "." else f"{base}/{name}"
        folders[:] = here


def _attributes(path: Path) -> tuple[list[tuple[bytes, bytes]], dict[str, str]]:
    records, apart = [], {}
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        if name.startswith("trusted.") and name not in _MEANT:
            continue  # what overlayfs notes for itself holds for this very file system
        value = os.getxattr(path, name, follow_symlinks=False)
        if name.startswith(_IN_TAR):
            records.append((b"SCHILY.xattr." + os.fsencode(name), value))
        else:
            apart[name] = value.hex()
    return records, apart


def _copy(path: Path, size: int, out: BinaryIO) -> None:
    left = size
    with path.open("rb", buffering=0) as file:
        while left and (data := file.read(min(left, 1 << 20))):
            out.write(data)
            left -= len(data)
    if left:
        raise StoreError("a file of a layer has shrunk while it was read", where=str(path))
    out.write(tarstream.padding(size))


def _unpack(file: Path, top: Path, attributes: dict[str, dict[str, str]]) -> None:
    root = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with open_tarball(file, zstd=zstd.open_reader) as stream:
            extract(stream, root, skip_devices=False)
        for name, values in attributes.items():
            fd = open_below(root, name, os.O_PATH | os.O_NOFOLLOW)
            try:
                for attribute, value in values.items():
                    os.setxattr(f"/proc/self/fd/{fd}", attribute, bytes.fromhex(value))
            finally:
                os.close(fd)
    finally:
        os.close(root)
