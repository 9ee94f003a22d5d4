"""Is what is kept still what it was when it was put there? Bad disks and crashes change files silently.

Packages, indexes and members are named by what they hold; of a packed template, the record of its stage
has the digest. A layer has none of its own: in depth, the tree of each template's last good build is compared
with the packed template that was made of it, file by file. So a file is not looked at that lies in a lower
layer and that an upper one has replaced or removed. What is bad is dropped, and fetched or made again by the
next build that needs it.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmplbuild.archives import digest
from tmplbuild.archives.cache import remove_unlocked
from tmplbuild.archives.deb import prepared
from tmplbuild.artifact.members import MemberCache
from tmplbuild.artifact.readback import compare
from tmplbuild.config import Settings
from tmplbuild.core import Core, Rootfs
from tmplbuild.engine.facts import keys_of, packed_tree
from tmplbuild.engine.keeping import Kept, kept, records
from tmplbuild.engine.pins import Pins
from tmplbuild.engine.store import Store
from tmplbuild.errors import StoreError, VerifyError

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Bad:
    """One thing that is not what it should be, and why."""

    kept: Kept
    why: str


def verify(
    settings: Settings, *, keep_bad: bool = False, deep: bool = False, progress: Callable[[int], None]
) -> list[Bad]:
    """Read all that can be told to be whole. Returns what is not; it is dropped unless `keep_bad`.

    Parameters:
        deep: compare layers with packed templates as well; needs root.
        progress: called with the bytes (on the disk) that have been looked at so far.

    Raises StoreError.
    """
    found: list[Bad] = []
    done = 0
    store = Store(settings.state_dir) if settings.state_dir.is_dir() else None
    packed = dict(_artifacts(store)) if store is not None else {}
    for row in kept(settings):
        try:
            why = _trouble(row, packed)
        except FileNotFoundError:  # a build that runs beside us took it away
            continue
        except (OSError, EOFError) as error:
            why = f"it cannot be read: {error}"
        done += row.size
        progress(done)
        if why:
            found.append(Bad(row, why))
            if not keep_bad:
                _drop(row, store)
    if deep and store is not None:
        for bad in _damaged_layers(settings, store):
            found.append(bad)
            if not keep_bad:
                _drop(bad.kept, store)
    return found


def _damaged_layers(settings: Settings, store: Store) -> Iterator[Bad]:
    """The layers of good builds with files that are not what was packed, each once."""
    core = Core(settings.run_dir)
    damaged: dict[Path, list[str]] = {}
    for record in records(store):
        for key, path in _differences(core, store, record):
            layer = next((one for one in store.chain(key) if os.path.lexists(f"{one.fs}{path}")), None)
            if layer is not None:
                damaged.setdefault(layer.path, []).append(path)
    for place, paths in damaged.items():
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        yield Bad(Kept("layers", place, 0, 0.0, True), f"not what was packed: {', '.join(paths[:3])}{more}")


def _differences(core: Core, store: Store, record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Of a good build, the key of the tree that was packed, and the paths in it that are others now."""
    if "notes" not in record:  # of a failure
        return
    keys = keys_of(record)
    artifact = store.artifact(keys["pack"])
    wanted = f"sha256:{record['summary']['sha256']}"
    try:
        if _hashed(artifact, wanted) or store.get(packed_tree(keys)) is None:
            return  # nothing to compare with: that is told of by itself
        lower = tuple(layer.fs for layer in store.chain(packed_tree(keys)))
    except (OSError, StoreError):
        return
    rootfs = Rootfs.plain(lower[0]) if len(lower) == 1 else Rootfs.overlay(lower, None)
    epoch = Pins.from_json(record["pins"]).target.epoch
    with core.tree(rootfs, writable=False) as tree, gzip.open(artifact) as stream:
        for error in compare(stream, tree, epoch=epoch):
            yield packed_tree(keys), error.where


def _trouble(row: Kept, packed: dict[str, str]) -> str:
    """Why a thing is bad, or ""."""
    path = row.path
    if row.kind == "packages" and path.name.endswith(prepared.SUFFIX):
        return _prepared(path)
    if row.kind in ("packages", "indexes") and path.suffix in ("", ".deb", ".pkg"):
        return _named(path, path.name.partition(".")[0])
    if row.kind == "members":
        return "" if MemberCache.is_whole(path) else "its checksum is not the one it was kept with"
    if row.kind == "layers":
        return _layer(path)
    if row.kind == "artifacts" and path.name.endswith(".tar.gz"):
        wanted = packed.get(path.name.removesuffix(".tar.gz"))
        return "" if wanted is None else _hashed(path, wanted)
    return ""


def _named(path: Path, name: str) -> str:
    kind, dash, value = name.partition("-")
    wanted = f"{kind}:{value}" if dash else name
    try:
        digest.split(wanted)
    except ValueError:
        return ""  # a download under way, or no file of ours
    return _hashed(path, wanted)


def _hashed(path: Path, wanted: str) -> str:
    engine = digest.hasher(wanted)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            engine.update(chunk)
    found = engine.hexdigest()
    return "" if found == digest.split(wanted)[1] else f"its digest is {found}"


def _prepared(path: Path) -> str:
    sha256 = path.name.partition(".")[0]
    try:
        with prepared.open_contents(prepared.load(path, sha256)) as contents:
            while contents.read(_CHUNK):
                pass
    except (VerifyError, OSError, EOFError, ValueError) as error:
        return f"it is damaged: {error}".splitlines()[0]
    return ""


def _layer(path: Path) -> str:
    if path.parent.name != "layers":
        return ""
    try:
        meta = json.loads((path / "meta.json").read_bytes())
    except (OSError, ValueError):
        return "it has no readable meta.json"
    return "" if str(meta.get("key", ""))[:32] == path.name else "it says that it is another layer"


def _artifacts(store: Store) -> Iterator[tuple[str, str]]:
    """The digest of each packed template by its short key."""
    for path in store.dir.glob("layers/*/meta.json"):
        with suppress(OSError, ValueError):
            meta = json.loads(path.read_bytes())
            sha256 = meta.get("note", {}).get("sha256")
            if meta.get("stage") == "pack" and sha256:
                yield path.parent.name, str(sha256)


def _drop(row: Kept, store: Store | None) -> None:
    if row.kind in ("packages", "indexes", "members"):
        remove_unlocked(row.path)
    elif store is not None:
        store.discard(row.path)
        if row.kind == "artifacts":  # or the step would be thought done
            short = row.path.name.removesuffix(".tar.gz")
            with suppress(FileNotFoundError):
                store.discard(store.dir / "layers" / short)
