"""The one walk: NAME.tar.gz is read once, checked, copied, and its tar stream handed to every format.

While it is read its gzip members are noted: a client that has an older build fetches those that are new
(`members.json`: size and sha256 of each member as it lies in the file).
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol

from tmplbuild.errors import StoreError, VerifyError
from tmplbuild.events import Bytes
from tmplbuild.publish.draft import Draft, told
from tmplbuild.publish.model import json_bytes

_CHUNK = 1 << 17  # what follows a member's end is copied once a member: small pieces keep that cheap
_GZIP = 31  # zlib's word for a gzip header and trailer


class Sink(Protocol):
    """What takes the tar stream: a context manager, whole when it is left without an error."""

    def __enter__(self) -> Sink: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def write(self, data: bytes, /) -> object: ...


Member = tuple[int, str]
"""Size and sha256 of one gzip member as it lies in the file."""


class Members:
    """Decompresses a file of gzip members and notes each one's size and digest."""

    def __init__(self) -> None:
        self.found: list[Member] = []
        self._start()

    def _start(self) -> None:
        self._inflate = zlib.decompressobj(_GZIP)
        self._hash = hashlib.sha256()
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        """The raw bytes that `data` completes."""
        raw = []
        while data:
            raw.append(self._inflate.decompress(data))
            rest = self._inflate.unused_data
            used = memoryview(data)[: len(data) - len(rest)]
            self._hash.update(used)
            self._size += len(used)
            if self._inflate.eof:
                self.found.append((self._size, self._hash.hexdigest()))
                self._start()
            data = rest
        return raw[0] if len(raw) == 1 else b"".join(raw)

    @property
    def between(self) -> bool:
        """Whether the last member has ended."""
        return not self._size


def walk(draft: Draft, sinks: Sequence[Sink]) -> None:
    """Copy the template's .tar.gz into the draft, and its tar stream into every sink.

    Raises VerifyError where the file is not the one that its manifest names, StoreError where it cannot
    be read, and what a sink raises.
    """
    artifact = draft.source.manifest.artifact
    tar, members = hashlib.sha256(), Members()
    done = 0
    try:
        source = draft.source.file.open("rb", buffering=0)
    except OSError as error:
        raise StoreError(
            "a template cannot be read", where=str(draft.source.file), why=error.strerror or ""
        ) from error
    with ExitStack() as stack:
        stack.enter_context(source)
        out = stack.enter_context(draft.create(draft.dated("tar.gz"), "tar.gz"))
        for sink in sinks:
            stack.enter_context(sink)
        draft.emit(Bytes("publish", 0, artifact.size))
        while data := source.read(_CHUNK):
            out.write(data)
            try:
                raw = members.feed(data)
            except zlib.error as error:
                raise _other(draft, f"it is damaged: {error}") from error
            tar.update(raw)
            for sink in sinks:
                sink.write(raw)
            done += len(data)
            draft.emit(Bytes("publish", done, artifact.size))
        draft.tar_sha256 = tar.hexdigest()
        same_tar = artifact.tar_sha256 in (None, draft.tar_sha256)
        if out.sha256 != artifact.sha256 or not same_tar or not members.between:
            raise _other(draft, f"its sha256 is {out.sha256}, the manifest says {artifact.sha256}")
        with told(draft.place):  # a sink's last bytes
            stack.close()
    draft.emit(Bytes("publish", done, artifact.size, ended=True))
    index = {
        "schema": 1,
        "file": draft.dated("tar.gz"),
        "size": artifact.size,
        "sha256": artifact.sha256,
        "tar_sha256": draft.tar_sha256,
        "members": members.found,
    }
    draft.put("members.json", "members", json_bytes(index))


def members_of(path: Path) -> list[Member] | None:
    """The gzip members of a file; None for one that is damaged or no row of members."""
    members = Members()
    try:
        with path.open("rb", buffering=0) as file:
            while data := file.read(_CHUNK):
                members.feed(data)
    except (OSError, zlib.error):
        return None
    return members.found if members.between else None


def _other(draft: Draft, why: str) -> VerifyError:
    return VerifyError(
        "the template is not the one that its manifest names",
        where=str(draft.source.file),
        why=why,
        hint=f"build it again: tmplbuild build {draft.source.manifest.recipe.name}",
    )
