"""Compressed members kept from run to run, by the digest of what they were made of.

A kept member lies in DIR/ab/REST-OF-KEY: the member's bytes, then the sha256 of them, so that a file
torn by a crash or changed on the disk is found out and not used. Runs may share a directory: files
appear by rename, whole, and one that vanishes is compressed anew.

A reused member is read, checked and written rather than passed on by copy_file_range(2): the digest
of the whole artifact needs every byte in any case.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
from pathlib import Path

from tmplbuild.errors import StoreError

_SUM = hashlib.sha256().digest_size
_KEPT = re.compile(r"[0-9a-f]{62}")
_DRAFT = re.compile(r"\.[0-9a-f]{62}\.\d+\.\d+")


class MemberCache:
    """A directory of compressed members; made if it is not there (0700: nobody else may put things in it).

    `failed` is why the last member could not be kept ("" if all were). A cache that cannot be
    written is no reason to fail: it only saves time.

    Raises StoreError where the directory cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.failed = ""
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                "The cache of compressed members cannot be made.",
                where=str(directory),
                why=str(error.strerror),
            ) from error

    def key(self, level: int, library: str, raw: memoryview) -> str:
        """The name of the member that `library` makes of `raw` at `level`."""
        digest = hashlib.sha256(f"{library} level {level}\n".encode())
        digest.update(raw)
        return digest.hexdigest()

    def has(self, key: str) -> bool:
        """Whether a member is kept under this name; `get` may still find it damaged."""
        return self._path(key).exists()

    def get(self, key: str) -> bytes | None:
        """The kept member, now marked as used; None where there is none, or none that is whole."""
        path = self._path(key)
        try:
            with open(path, "rb") as file:
                data = file.read()
                if not _whole(data):
                    path.unlink(missing_ok=True)
                    return None
                with contextlib.suppress(OSError):
                    os.utime(file.fileno())
        except OSError:
            return None
        return data[:-_SUM]

    def put(self, key: str, member: bytes | bytearray) -> None:
        """Keep a member. A failure is noted in `failed`, and leaves nothing behind."""
        path = self._path(key)
        draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_native_id()}")
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            with open(draft, "wb") as file:
                file.write(member)
                file.write(hashlib.sha256(member).digest())
            os.rename(draft, path)
        except OSError as error:
            self.failed = f"{path}: {error.strerror}"
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)

    @staticmethod
    def files(directory: Path) -> list[Path]:
        """The members (and drafts of dead runs) in a cache's directory."""
        found = sorted(directory.glob("[0-9a-f][0-9a-f]/*"))
        return [path for path in found if _KEPT.fullmatch(path.name) or _DRAFT.fullmatch(path.name)]

    @staticmethod
    def is_whole(path: Path) -> bool:
        """Whether a kept member is what was put there. Raises OSError."""
        return _whole(path.read_bytes())

    def _path(self, key: str) -> Path:
        return self.directory / key[:2] / key[2:]


def _whole(data: bytes) -> bool:
    return len(data) > _SUM and hashlib.sha256(data[:-_SUM]).digest() == data[-_SUM:]
