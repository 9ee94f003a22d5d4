"""Templates unpacked once: read-only trees that the VEs made from a template share.

`bases/SHA256/fs` is a tree, named by the digest of its tarball; `bases/files/KEY` remembers the digest
of a file by what stat(2) tells of it, so that a file that is known need not be read at all. A
tarball that was copied or renamed has the same tree.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tmplbuild.archives import zstd
from tmplbuild.core import linux
from tmplbuild.core.filelock import exclusive
from tmplbuild.core.tarread import Limits
from tmplbuild.core.untar import decompressed, extract
from tmplbuild.errors import StoreError, VerifyError
from tmplbuild.events import Emit, Progress

_ROOM = 256 << 20  # bytes that unpacking leaves free
_CHUNK = 1 << 20
_PATIENCE_S = 1800.0  # a large template on a slow disk

File = io.BufferedReader
"""An open file that can be peeked into."""


class Bases:
    """The shared trees below a directory.

    Parameters:
        home: the directory; made when missing, its owner's alone: trees hold set-user-id programs.
        emit: where events go.
    """

    def __init__(self, home: Path, emit: Emit) -> None:
        self.home = home
        self.emit = emit

    @contextmanager
    def locked(self) -> Iterator[None]:
        """No other process unpacks or removes a tree meanwhile: a tree is safe once something links to it."""
        try:
            (self.home / "files").mkdir(mode=0o700, parents=True, exist_ok=True)
            self.home.chmod(0o700)
        except OSError as error:
            raise StoreError("the directory cannot be made", where=str(self.home), why=str(error)) from error
        with exclusive(self.home / ".lock", "templates are being unpacked", grace_s=_PATIENCE_S):
            yield

    def of(self, template: Path) -> Path:
        """The tree of a template's file, unpacked if it is not there yet. To be called `locked`.

        Raises VerifyError for a damaged or hostile archive, StoreError when the disk refuses.
        """
        try:
            file = template.open("rb")
        except OSError as error:
            raise StoreError("a template cannot be read", where=str(template), why=str(error)) from error
        with file:
            key = self.home / "files" / _key(os.fstat(file.fileno()))
            if key.is_symlink() and (key / "fs").is_dir():
                return self.home / os.readlink(key)[3:] / "fs"
            self.emit(Progress(f"read {template.name}"))
            digest = _digest(file)
            tree = self.home / digest / "fs"
            if not tree.is_dir():
                self.emit(Progress(f"unpack {template.name}"))
                self._unpack(file, digest, template)
        draft = key.with_name(f".{key.name}.new")
        draft.unlink(missing_ok=True)
        draft.symlink_to(f"../{digest}")
        draft.rename(key)
        return tree

    def _unpack(self, file: File, digest: str, template: Path) -> None:
        draft = self.home / f".{digest}.new"
        shutil.rmtree(draft, ignore_errors=True)
        try:
            unpack(file, draft / "fs", template)
            draft.rename(self.home / digest)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise

    def collect(self, used: Callable[[], Iterable[Path]], templates: Iterable[Path]) -> list[str]:
        """Remove trees that no VE uses and that no template of today would need. Returns their names.

        Parameters:
            used: tells the trees that VEs use, when no VE can begin to use one.
            templates: files whose trees are kept for the next VE.
        """
        if not self.home.is_dir():
            return []
        with self.locked():
            today = set(filter(None, map(_key_of, templates)))
            keep = {path.parent.name for path in used()}
            for key in (self.home / "files").iterdir():
                if key.name in today:
                    keep.add(os.readlink(key)[3:])
                else:
                    key.unlink()
            gone = []
            for entry in self.home.iterdir():
                if entry.name not in keep and entry.name not in ("files", ".lock"):
                    shutil.rmtree(entry)
                    gone.append(entry.name)
            return gone


def unpack(file: File, tree: Path, template: Path) -> None:
    """Unpack an open tarball, from its start, into a new directory, and see it on disk.

    Raises VerifyError for an archive that is damaged, hostile, no root file system, or larger than the
    disk has room for; StoreError when the disk refuses.
    """
    file.seek(0)
    tree.mkdir(mode=0o755, parents=True)
    tree.chmod(0o755)  # it is the VE's "/": the umask has no say in it
    space = os.statvfs(tree)
    most = Limits(
        members=max(space.f_favail, 1) if space.f_files else Limits().members,
        stored=max(space.f_bavail * space.f_frsize - _ROOM, 0),
    )
    root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with decompressed(file, str(template), zstd=zstd.open_reader) as stream:
            extract(stream, root, limits=most)
        linux.syncfs(root)
    except VerifyError as error:
        error.where = error.where or str(template)
        raise
    finally:
        os.close(root)
    if not any((tree / name).is_dir() for name in ("etc", "bin", "usr")):
        raise VerifyError(
            "the archive holds no root file system",
            where=str(template),
            why="there is neither etc, bin nor usr in its first directory",
        )


def _key(state: os.stat_result) -> str:
    facts = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def _key_of(path: Path) -> str:
    """The key of a template's file; "" for what is none, or was replaced just now."""
    try:
        state = path.stat()
    except OSError:
        return ""
    return _key(state) if stat.S_ISREG(state.st_mode) else ""


def _digest(file: File) -> str:
    found = hashlib.sha256()
    while data := file.read(_CHUNK):
        found.update(data)
    return found.hexdigest()
