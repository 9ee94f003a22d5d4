"""A mirror on disk, and the one switch that changes it.

    DIR/
      images/DISTRO/RELEASE/ARCH/VARIANT/BUILD/   a build's files: dated, never changed
      .gen/N/                                     a generation: every index, the fixed names, state.json
      .current -> .gen/N                          replaced by rename(2): the switch
      streams -> .current/streams, .listing -> .current/.listing, NAME.tar.gz -> .current/NAME.tar.gz, ...
      .tmplbuild.lock                             held by who publishes

Whoever reads at any instant sees one generation, and every file that it names is there: files come before
the switch and go long after it. A run that dies leaves a draft (`.NAME.tmplbuild-part`) or a build
that no generation names; the next one, which holds the lock, removes them. Whatever else lies in DIR is
somebody's, and stays.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from tmplbuild.core.filelock import exclusive
from tmplbuild.errors import StoreError
from tmplbuild.publish.draft import sync_folder, told
from tmplbuild.publish.model import BUILD, Build, State, read_state, state_bytes

PART = ".tmplbuild-part"
_GENERATIONS = ".gen"
_CURRENT = ".current"
_LOCK = ".tmplbuild.lock"
_IMAGES = "images"
_STATE = "state.json"
_OWN = {_GENERATIONS, _CURRENT, _LOCK, _IMAGES}
_DRAFT = re.compile(rf"\.\S+{re.escape(PART)}")


class Mirror:
    """The mirror in the directory `root`, which is made if its parent is there.

    Raises StoreError where it cannot be used.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        if not root.is_dir():
            if root.exists() or not root.parent.is_dir():
                raise StoreError(
                    "the mirror's directory is not there",
                    where=str(root),
                    why="it is no directory" if root.exists() else f"{root.parent} is not there",
                    hint=f"mkdir -p {root}, or name another with --to",
                )
            with told(root):
                root.mkdir(mode=0o755, exist_ok=True)

    def state(self) -> State:
        """What is served now. Raises StoreError for a state that is damaged."""
        path = self.root / _CURRENT / _STATE
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return State()
        except OSError as error:
            raise StoreError(
                "the mirror's state cannot be read", where=str(path), why=error.strerror or ""
            ) from error
        return read_state(raw, str(path))

    @contextmanager
    def locked(self) -> Iterator[State]:
        """Hold the mirror for a change, tidy up after runs that died; the state that is served.

        Raises BusyError when another run publishes here, StoreError.
        """
        with exclusive(self.root / _LOCK, "another run is publishing to this mirror"):
            state = self.state()
            with told(self.root):
                self._tidy(state)
            yield state

    def read(self, path: str) -> bytes:
        """A file of a build. Raises OSError."""
        return (self.root / path).read_bytes()

    def generations(self) -> Iterator[Path]:
        """The directories of the generations that are still kept, the oldest first."""
        place = self.root / _GENERATIONS
        numbers = sorted(int(path.name) for path in place.glob("*") if path.name.isdigit())
        return (place / str(number) for number in numbers)

    # -- builds ----------------------------------------------------------------------------------

    @contextmanager
    def draft(self, folder: str) -> Iterator[Path]:
        """A new directory that becomes `folder` (of a `Build`) when the block ends well."""
        final = self.root / folder
        place = final.with_name(f".{final.name}{PART}")
        with told(place):
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            place.mkdir(mode=0o755)
        try:
            yield place
            with told(final):
                os.chmod(place, 0o755)
                os.rename(place, final)
                for parent in list(final.parents)[: len(Path(folder).parts)]:
                    sync_folder(parent)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            self._drop_empty(final.parent)
            raise

    def remove(self, builds: Iterable[Build]) -> None:
        """Delete the files of builds that no index has named for long enough."""
        with told(self.root):
            for build in builds:
                place = self.root / build.folder
                if place.is_dir():
                    doomed = place.with_name(f".{place.name}{PART}")  # which `_tidy` finds after a kill
                    os.rename(place, doomed)
                    self._remove_tree(doomed)

    # -- the switch ------------------------------------------------------------------------------

    def switch(self, state: State, files: Mapping[str, bytes], links: Mapping[str, str]) -> None:
        """Serve a new generation, all at once.

        Parameters:
            files: every generated file by its path below the root.
            links: fixed names, and the paths below the root of what they stand for.

        Raises StoreError where something of somebody else's has one of the names, or there is no room; the
        old generation is then served on.
        """
        names = sorted({path.split("/", 1)[0] for path in [*files, *links]})
        self.look_out(names)
        with told(self.root):
            final = self.root / _GENERATIONS / str(state.serial)
            place = final.with_name(f".{state.serial}{PART}")
            shutil.rmtree(place, ignore_errors=True)
            try:
                self._write_generation(place, {**files, _STATE: state_bytes(state)}, links)
                os.rename(place, final)
                sync_folder(final.parent)
                for name in names:
                    self._link(name)
                self._replace(_CURRENT, f"{_GENERATIONS}/{state.serial}")
            except BaseException:
                shutil.rmtree(place, ignore_errors=True)
                raise
            sync_folder(self.root)
            self._unlink_except(names)

    def drop_generations(self, before: float) -> None:
        """Delete generations that were no longer served at `before` (seconds): the next was there by then."""
        place = self.root / _GENERATIONS
        with told(self.root):
            numbers = sorted(int(path.name) for path in place.iterdir() if path.name.isdigit())
            for number, following in pairwise(numbers):
                if (place / str(following)).stat().st_mtime <= before:
                    self._remove_tree(place / str(number))

    def _write_generation(self, place: Path, files: Mapping[str, bytes], links: Mapping[str, str]) -> None:
        folders = {place}
        place.mkdir(parents=True, mode=0o755)
        for name, data in files.items():
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            folders |= {one for one in path.parents if one.is_relative_to(place)}
            if self._link_same(name, data, path):
                continue
            with path.open("xb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
        for name, target in links.items():
            os.symlink(f"../../{target}", place / name)
        for folder in folders:
            os.chmod(folder, 0o755)
            sync_folder(folder)

    def _link_same(self, name: str, data: bytes, path: Path) -> bool:
        """Take a file of the generation that is served, which is synced, where it holds the same."""
        served = self.root / _CURRENT / name
        try:
            if served.read_bytes() != data:
                return False
            os.link(served, path)
        except OSError:  # it is not there, or the file system has no links
            return False
        return True

    def _link(self, name: str) -> None:
        path = self.root / name
        target = f"{_CURRENT}/{name}"
        if not path.is_symlink() or os.readlink(path) != target:
            self._replace(name, target)

    def _replace(self, name: str, target: str) -> None:
        draft = self.root / f".{name.lstrip('.')}{PART}"
        draft.unlink(missing_ok=True)
        os.symlink(target, draft)
        os.rename(draft, self.root / name)

    def _unlink_except(self, names: Iterable[str]) -> None:
        """Remove the root's links to names that the generation does not have any more."""
        kept = set(names)
        for path in self.root.iterdir():
            if path.name not in kept and self._is_ours(path) and path.name not in _OWN:
                path.unlink(missing_ok=True)

    # -- what is ours ----------------------------------------------------------------------------

    def foreign(self) -> list[str]:
        """Paths below the root that are not the mirror's, directories with a slash at the end."""
        state = self.state()
        found = [
            path.name + "/" * (path.is_dir() and not path.is_symlink())
            for path in self.root.iterdir()
            if path.name not in _OWN and not self._is_ours(path) and not _DRAFT.fullmatch(path.name)
        ]
        ours = {file.path for build in state.builds for file in build.files}
        for place, folders, names in os.walk(self.root / _IMAGES):
            folders[:] = [name for name in folders if not _DRAFT.fullmatch(name)]
            for name in names:
                path = os.path.relpath(os.path.join(place, name), self.root)
                if path not in ours:
                    found.append(path)
        return sorted(found)

    def _is_ours(self, path: Path) -> bool:
        return path.is_symlink() and os.readlink(path) == f"{_CURRENT}/{path.name}"

    def look_out(self, names: Iterable[str]) -> None:
        """See that the mirror can have these names at its root. Raises StoreError."""
        for name in [*names, _GENERATIONS, _CURRENT, _IMAGES]:
            path = self.root / name
            if name in (_GENERATIONS, _IMAGES):
                wrong = path.is_symlink() or (path.exists() and not path.is_dir())
            elif name == _CURRENT:
                wrong = not path.is_symlink() and path.exists()
            else:
                wrong = os.path.lexists(path) and not self._is_ours(path)
            if wrong:
                raise StoreError(
                    "something else has a name that the mirror needs",
                    where=str(path),
                    why="it is not one of the mirror's own links",
                    hint="move it away, or publish into an empty directory",
                )

    def _tidy(self, state: State) -> None:
        """Remove what runs left that died before their switch: drafts, and builds that no state names."""
        known = {build.folder for build in state.builds}
        for place in (self.root, self.root / _GENERATIONS):
            for path in place.iterdir() if place.is_dir() else ():
                if path.name.endswith(PART):
                    self._remove_tree(path)
        for path in (self.root / _GENERATIONS).glob("*"):
            if path.name.isdigit() and int(path.name) > state.serial:
                self._remove_tree(path)
        for folder in sorted((self.root / _IMAGES).glob("*/*/*/*/*")):
            left = folder.relative_to(self.root).as_posix() not in known and BUILD.fullmatch(folder.name)
            if folder.name.endswith(PART) or (left and (folder / "SHA256SUMS").is_file()):
                self._remove_tree(folder)

    def _remove_tree(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=False)
        else:
            path.unlink(missing_ok=True)
        self._drop_empty(path.parent)

    def _drop_empty(self, folder: Path) -> None:
        """Remove directories of images/ that have nothing in them any more."""
        while folder.is_relative_to(self.root / _IMAGES):
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent
