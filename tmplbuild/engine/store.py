"""The store of layers: every stage's result under its key, committed by rename.

    state_dir/
      layers/KEY/{meta.json, fs/, durable}   a committed layer: `fs` is an overlay's upper directory
                                             (or a whole tree: the bottom layer, and copy mode)
      drafts/TEMPLATE/{fs, work}             the layer being made; thrown away at the next start
      trash/                                 layers that were replaced, until the next `prune`
      failed/TEMPLATE/{meta.json, fs}        the tree of the stage that failed last, for `shell`
      artifacts/KEY.tar.gz                   packed templates, kept until the next good one
      facts/KEY.json.zst                     what stage check saw of the tree (tmplbuild.changes.facts)
      builds/TEMPLATE/BUILD/                 the history: see tmplbuild.changes.history
      records/TEMPLATE.json                  the last good build; TEMPLATE.failed.json the last failure

Layers are renamed into place at once but synced to disk only at the end of a run (one syncfs for
all): a layer without its `durable` mark counts only while the machine has not been restarted since.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmplbuild.core import Rootfs
from tmplbuild.core.linux import exchange, make_apart, spread
from tmplbuild.core.process import run as run_process
from tmplbuild.engine.locks import at_rest, layer_lock
from tmplbuild.errors import BusyError, StoreError

TRIAL = "trial-"
"""How the names of the drafts begin in which packed templates are tried."""
_META = "meta.json"


@dataclass(frozen=True, slots=True)
class Layer:
    """A committed layer. `whole` is true when `fs` needs no layer below it."""

    key: str
    path: Path
    parent: str | None
    whole: bool
    stage: str
    made: float
    note: dict[str, Any]

    @property
    def fs(self) -> Path:
        """The files of this layer."""
        return self.path / "fs"


@dataclass(frozen=True, slots=True)
class Draft:
    """A layer in the making: `rootfs` is the tree a stage works on."""

    template: str
    path: Path
    rootfs: Rootfs
    parent: str | None
    whole: bool


class Store:
    """All layers and records below one directory.

    Parameters:
        state_dir: where; made if it is not there.
        mode: "overlay", or "copy" where overlayfs cannot be used (each layer is then a whole tree).

    Raises StoreError where the directory cannot be used.
    """

    def __init__(self, state_dir: Path, mode: str = "overlay") -> None:
        self.dir = state_dir
        self.builds = state_dir / "builds"
        self.mode = mode
        try:
            for name in ("layers", "drafts", "failed", "artifacts", "facts", "records", "logs", "trash"):
                (state_dir / name).mkdir(parents=True, exist_ok=True)
            spread(state_dir / "drafts")  # where layers are made
        except OSError as error:
            raise StoreError(
                "the layer store cannot be used",
                where=str(state_dir),
                why=str(error),
                hint="run as root, or name another place with TMPLBUILD_STATE_DIR",
            ) from error

    # -- layers ----------------------------------------------------------------------------------

    def get(self, key: str) -> Layer | None:
        """The layer with this key, if it is whole and safe to use."""
        path = self.dir / "layers" / key[:32]
        try:
            meta = json.loads((path / _META).read_bytes())
        except (OSError, ValueError):
            return None
        if meta.get("key") != key:
            return None
        if not (path / "durable").exists() and meta.get("boot_id") != _boot_id():
            return None  # the machine went down before it was synced
        return Layer(
            key=key,
            path=path,
            parent=meta["parent"],
            whole=meta["whole"],
            stage=meta["stage"],
            made=meta["made"],
            note=meta["note"],
        )

    def chain(self, key: str) -> tuple[Layer, ...]:
        """The layer and those below it, topmost first, down to a whole one, all of them marked as used now.

        Raises StoreError when one is missing.
        """
        layers: list[Layer] = []
        wanted: str | None = key
        while wanted is not None:
            layer = self.get(wanted)
            if layer is None:
                raise StoreError(
                    "a layer is missing from the store",
                    where=str(self.dir / "layers" / wanted[:32]),
                    hint="build again with --rebuild",
                )
            self.use(layer)
            if layer.fs.is_dir():  # not so for a step that only looked at the tree
                layers.append(layer)
            wanted = None if layer.whole else layer.parent
        return tuple(layers)

    @contextmanager
    def look(self, template: str, parent: str) -> Iterator[Draft]:
        """The tree of a committed layer, to be read only: nothing of it can be committed."""
        fs = tuple(layer.fs for layer in self.chain(parent))
        rootfs = Rootfs.plain(fs[0]) if len(fs) == 1 else Rootfs.overlay(fs, None, None)
        yield Draft(template, self.dir / "drafts" / template, rootfs, parent, whole=False)

    @contextmanager
    def room(self, name: str) -> Iterator[Path]:
        """A directory for this process alone, gone at the end; the next tidying up removes a dead one's."""
        place = self.dir / "drafts" / f".{name}.{os.getpid()}"
        _remove(place)
        try:
            make_apart(str(place))
            yield place
        finally:
            _remove(place)

    @contextmanager
    def scratch(self, name: str, lower: tuple[Path, ...]) -> Iterator[Rootfs]:
        """A tree of these layers (topmost first) that can be changed; the changes are thrown away."""
        with self.room(name) as place:
            yield self._on_top(lower, place)

    def _on_top(self, lower: tuple[Path, ...], place: Path) -> Rootfs:
        fs, work = place / "fs", place / "work"
        if self.mode == "copy":
            run_process(["cp", "-a", "--reflink=auto", str(lower[0]), str(fs)], what="copy the tree")
            return Rootfs.plain(fs)
        work.mkdir()
        fs.mkdir()
        state = lower[0].stat()  # the root directory's own mode and owner come from the topmost layer
        os.chmod(fs, state.st_mode & 0o7777)
        os.chown(fs, state.st_uid, state.st_gid)
        return Rootfs.overlay(lower, fs, work, volatile=True)  # synced when the run ends

    @contextmanager
    def draft(self, template: str, parent: str | None) -> Iterator[Draft]:
        """A new draft on top of `parent` (or an empty tree). Left behind on an error: `fail` or
        the next `draft` of this template deals with it."""
        path = self.dir / "drafts" / template
        _remove(path)
        try:
            make_apart(str(path))
            if parent is None:
                (path / "fs").mkdir()
                os.chmod(path / "fs", 0o755)  # it is the tree's "/": the umask has no say in it
                yield Draft(template, path, Rootfs.plain(path / "fs"), None, whole=True)
            else:
                lower = tuple(layer.fs for layer in self.chain(parent))
                rootfs = self._on_top(lower, path)
                yield Draft(template, path, rootfs, parent, whole=self.mode == "copy")
        except OSError as error:
            raise disk_error(error, path) from error

    def commit(self, draft: Draft, key: str, stage: str, note: dict[str, Any]) -> Layer:
        """Make a draft the layer `key`. From here on it is read only."""
        _remove(draft.path / "work")
        self._write_meta(draft.path, key, stage, draft.parent, draft.whole, note)
        self._place(draft.path, key)
        layer = self.get(key)
        assert layer is not None
        return layer

    def commit_note(self, key: str, stage: str, parent: str | None, note: dict[str, Any]) -> None:
        """Record a stage that changes no file (a check, a pack) under its key."""
        place = self.dir / "drafts" / f".{key[:32]}"
        with layer_lock(self.dir, key, lambda: None):  # templates of other names may have the same step
            _remove(place)
            place.mkdir()
            self._write_meta(place, key, stage, parent, False, note)
            self._place(place, key)

    @contextmanager
    def adopt(
        self, key: str, stage: str, parent: str | None, *, whole: bool, note: dict[str, Any]
    ) -> Iterator[Path]:
        """A directory to put a layer's `fs` into that the store of another machine holds; it becomes the
        layer `key` when the block ends well."""
        place = self.dir / "drafts" / f".{key[:32]}.{os.getpid()}"
        _remove(place)
        try:
            place.mkdir()
            yield place
            self._write_meta(place, key, stage, parent, whole, note)
            self._place(place, key)
        except OSError as error:
            raise disk_error(error, place) from error
        finally:
            _remove(place)

    def _place(self, made: Path, key: str) -> None:
        target = self.dir / "layers" / key[:32]
        while not _renamed(made, target):
            # an unusable one, or one that --rebuild replaces, or another build's that was faster; somebody
            # may still read its files through a mount, so they go with the next `prune`
            aside = self.dir / "trash" / f"{target.name}-{time.time_ns()}"
            with suppress(FileNotFoundError):  # another build has put it aside in the meantime
                if exchange(made, target):  # who looks for the layer finds one of the two
                    os.rename(made, aside)
                    return
                os.rename(target, aside)

    def _write_meta(
        self, place: Path, key: str, stage: str, parent: str | None, whole: bool, note: dict[str, Any]
    ) -> None:
        meta = {
            "key": key,
            "stage": stage,
            "parent": parent,
            "whole": whole,
            "made": time.time(),
            "boot_id": _boot_id(),
            "note": note,
        }
        (place / _META).write_text(json.dumps(meta, sort_keys=True))

    def fail(self, draft: Draft, stage: str) -> Path:
        """Keep the tree of a failed stage, in place of the last kept one of this template."""
        target = self.dir / "failed" / draft.template
        _remove(target)
        if draft.path.exists():
            _remove(draft.path / "work")
            self._write_meta(draft.path, "", stage, draft.parent, draft.whole, {})
            os.rename(draft.path, target)
        return target

    def failed(self, template: str) -> tuple[str, tuple[Path, ...]] | None:
        """The stage that failed last and the layers of its tree, topmost first, if they are kept."""
        path = self.dir / "failed" / template
        try:
            meta = json.loads((path / _META).read_bytes())
        except (OSError, ValueError):
            return None
        below = () if meta["parent"] is None or meta["whole"] else self.chain(meta["parent"])
        return meta["stage"], (path / "fs", *(layer.fs for layer in below))

    def forget_failed(self, template: str) -> None:
        """After a good build the failed tree and its record have no use."""
        _remove(self.dir / "failed" / template)
        self.record_path(template, "failed").unlink(missing_ok=True)

    def make_durable(self) -> None:
        """Sync everything below the store to disk, then mark all layers durable."""
        fresh = [p for p in (self.dir / "layers").iterdir() if not (p / "durable").exists()]
        if not fresh:
            return
        fd = os.open(self.dir, os.O_RDONLY | os.O_DIRECTORY)
        try:
            from tmplbuild.core import linux

            linux.syncfs(fd)
        except OSError as error:
            raise StoreError(
                "the layers could not be synced to disk", where=str(self.dir), why=str(error)
            ) from error
        finally:
            os.close(fd)
        for path in fresh:
            with suppress(FileNotFoundError):  # another build has put it aside in the meantime
                (path / "durable").touch()

    def base_epoch(self, packages: str) -> int | None:
        """The epoch of a bootstrap in the store made of the packages with this digest."""
        found = self._note("bootstrap", packages, lambda note: True)
        return None if found is None else int(found["epoch"])

    def install_epochs(self, packages: str, base: str) -> tuple[int, int] | None:
        """The epochs of an install in the store made of the packages with these digests, and of the
        bootstrap that it lies on."""
        found = self._note("install", packages, lambda note: note.get("base") == base)
        return None if found is None else (int(found["epoch"]), int(found["base_epoch"]))

    def _note(
        self, stage: str, packages: str, fits: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any] | None:
        for path in (self.dir / "layers").iterdir():
            try:
                meta = json.loads((path / _META).read_bytes())
            except (OSError, ValueError):
                continue
            note: dict[str, Any] = meta.get("note", {})
            usable = meta.get("stage") == stage and note.get("packages") == packages and fits(note)
            if usable and self.get(meta["key"]) is not None:
                return note
        return None

    # -- records ---------------------------------------------------------------------------------

    def record_path(self, template: str, kind: str = "") -> Path:
        """Where a template's record lies; kind "failed" for the last failure's."""
        return self.dir / "records" / (f"{template}.{kind}.json" if kind else f"{template}.json")

    def read_record(self, template: str, kind: str = "") -> dict[str, Any] | None:
        """The record, or None when there is none that can be read."""
        try:
            data = json.loads(self.record_path(template, kind).read_bytes())
        except (OSError, ValueError):
            return None
        return data if isinstance(data, dict) else None

    def write_record(self, template: str, record: dict[str, Any], kind: str = "") -> None:
        """Replace a record at once."""
        path = self.record_path(template, kind)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with draft.open("w") as file:
            json.dump(record, file, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)

    def artifact(self, key: str) -> Path:
        """Where the packed template of this key lies."""
        return self.dir / "artifacts" / f"{key[:32]}.tar.gz"

    def known(self, template: str, stage: str) -> Path:
        """Where a stage keeps what it found in a template's tree, to look only at what changes."""
        return self.dir / "known" / f"{template}.{stage}.json"

    def facts(self, key: str) -> Path:
        """Where the facts of the tree lie that the check of this key looked at."""
        return self.dir / "facts" / f"{key[:32]}.json.zst"

    def log_dir(self, template: str) -> Path:
        """Where the logs of a template's runs lie."""
        path = self.dir / "logs" / template
        path.mkdir(parents=True, exist_ok=True)
        return path

    # -- pruning ---------------------------------------------------------------------------------

    def use(self, layer: Layer) -> None:
        """Mark a layer as used now."""
        with suppress(OSError):  # who only looks at the store need not be able to write there
            os.utime(layer.path / _META)

    def hold(self, layer: Layer) -> int | None:
        """A descriptor with which, as long as it is open, nobody lets a layer go. None when it has gone."""
        path = layer.path / _META
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_SH)  # `let_go` has it for an instant
            if os.path.samestat(os.fstat(fd), path.stat()):
                os.utime(fd)
                return fd
        os.close(fd)
        return None

    def used(self, layer: Path) -> float:
        """When a layer was used last, or made, seconds since 1970; 0 for one that is not whole."""
        try:
            return (layer / _META).stat().st_mtime
        except OSError:
            return 0.0

    def abandoned(self) -> list[Path]:
        """What runs that were killed have left: trees of their own (`scratch`, `adopt`), whose names no later
        one uses, and drafts of templates, of which nobody knows when they are built here again."""
        found = []
        for path in self.dir.glob("drafts/*"):
            pid = path.suffix[1:] if path.name.startswith(".") else ""
            if (pid.isdecimal() and not os.path.exists(f"/proc/{pid}")) or not path.name.startswith("."):
                found.append(path)
        return found

    def let_go(self, layer: Path, used: float) -> bool:
        """Remove a layer, unless somebody holds it, or has used it since `used` (its time when it was
        chosen). Whether it was removed. Raises OSError."""
        target = self.dir / "trash" / f"{layer.name}-{time.time_ns()}"
        try:
            fd = os.open(layer / _META, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # it is not whole
            os.rename(layer, target)
        else:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(fd).st_mtime > used:
                    return False
                os.rename(layer, target)
            except BlockingIOError:
                return False
            finally:
                os.close(fd)
        _remove(target)
        return True

    def discard(self, path: Path) -> bool:
        """Remove something else of the store, but no draft of a template that is being built. Whether it was
        removed. Raises OSError."""
        if path.parent.name == "drafts" and not path.name.startswith("."):
            target = self.dir / "trash" / f"{path.name}-{time.time_ns()}"
            try:
                with at_rest(self.dir, path.name.removeprefix(TRIAL)):
                    os.rename(path, target)
            except BusyError:
                return False
            path = target
        _remove(path)
        return True

    def wanted(self) -> set[str]:
        """The short keys of what every template's last good build is made of, and of what a failed one
        goes on from."""
        keep: set[str] = set()
        for path in (self.dir / "records").glob("*.json"):
            try:
                steps = json.loads(path.read_bytes()).get("steps", [])
                keep.update(step["key"][:32] for step in steps)
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue
        return keep


def disk_error(error: OSError, path: Path) -> StoreError:
    """An OSError on the store's disk as an error for the user, with the free space."""
    try:
        free = shutil.disk_usage(path if path.exists() else path.parent).free
        room = f"; {free / 1e6:.0f} MB are free there"
    except OSError:
        room = ""
    return StoreError(
        "the tree could not be written",
        where=str(error.filename or path),
        why=f"{error.strerror or error}{room}",
        hint="make room, or name another place with TMPLBUILD_STATE_DIR",
    )


def _renamed(made: Path, target: Path) -> bool:
    """Give a directory its name, unless another one has it: False."""
    try:
        os.rename(made, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
