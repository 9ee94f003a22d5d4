"""fetch: a template from somebody's mirror into the template cache, verified.

Four kinds of mirrors are read, the first that an address turns out to be: one of tmplbuild (index.json),
simplestreams (Incus, LXD), LXC's download server (meta/1.0), and OpenVZ's (NAME.tar.gz, NAME.tar.gz.asc).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tmplbuild.artifact.atomic import atomic_file, write_atomic
from tmplbuild.artifact.gzipped import GzipWriter
from tmplbuild.artifact.manifest import read_manifest
from tmplbuild.config import Settings
from tmplbuild.core.untar import open_tarball
from tmplbuild.engine.deliver import prepare_directory
from tmplbuild.engine.locks import template_lock
from tmplbuild.errors import StoreError, UsageError, VerifyError
from tmplbuild.events import Bytes, Emit, Note
from tmplbuild.publish import foreign
from tmplbuild.publish.found import Found
from tmplbuild.publish.members import assemble
from tmplbuild.publish.remote import Remote

_CHUNK = 1 << 20
_LEVEL = 6


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came: the template's name and file, its sha256 and size, `came` bytes over the network, whether it
    was there `already`, `build` where the mirror has such names, `kind` of the mirror."""

    template: str
    file: Path
    sha256: str
    size: int
    came: int
    already: bool
    build: str
    kind: str


def fetch(
    name: str,
    place: str,
    *,
    settings: Settings,
    key: str,
    keyring: Path | None = None,
    trust_server: bool = False,
    build: str = "",
    emit: Emit,
) -> Fetched:
    """Bring a template into the cache; what is there already, in whole or in part, is not fetched again.

    Parameters:
        name: the template's, with or without the architecture (this machine's then).
        place: the mirror's address or directory.
        key: fingerprint that must have signed.
        keyring: file with its certificate, where the mirror does not have it.
        trust_server: believe an unsigned index that came over HTTPS or from this machine.
        build: one of the mirror's builds instead of the newest.

    Raises UsageError, FetchError, VerifyError, StoreError, BusyError; the cache is then as it was.
    """
    prepare_directory(settings.template_cache)
    incoming = settings.cache_dir / "fetch"
    remote = Remote(place, incoming, keyring=_read(keyring), jobs=settings.jobs)
    trust = _trust(remote, key, trust_server)
    found = foreign.find(remote, name, build, trust)
    with template_lock(settings.state_dir, found.template):
        target = settings.template_cache / f"{found.template}.tar.gz"
        if _is_there(target, found):
            return Fetched(found.template, target, found.sha256, found.size, 0, True, found.build, found.kind)
        counted = _Counted(emit, found.size)
        manifest = _manifest(remote, found)
        with _as_gzip(remote, found, target, incoming, settings.jobs, counted) as (file, sha256, size):
            _place(file, target, size, manifest)
    emit(Bytes("fetch", counted.done, counted.done, ended=True))
    return Fetched(found.template, target, sha256, size, counted.done, False, found.build, found.kind)


class _Counted:
    """Bytes that came, as events."""

    def __init__(self, emit: Emit, total: int) -> None:
        self._emit = emit
        self._total = total
        self.done = 0

    def __call__(self, count: int) -> None:
        self.done += count
        self._emit(Bytes("fetch", self.done, max(self._total, self.done)))


def _trust(remote: Remote, key: str, trust_server: bool) -> str:
    if key or trust_server:
        if not key and not remote.address.startswith(("https://", "file://")):
            raise UsageError("a server that is asked without HTTPS cannot be trusted", where=remote.address)
        return key
    raise UsageError(
        "there is nothing to verify the template by",
        where=remote.address,
        hint="--key FINGERPRINT of the key that signs there; or --trust-server, to believe what HTTPS brings",
    )


def _read(keyring: Path | None) -> bytes | None:
    if keyring is None:
        return None
    try:
        return keyring.read_bytes()
    except OSError as error:
        raise UsageError(
            "the keyring cannot be read", where=str(keyring), why=error.strerror or ""
        ) from error


def _is_there(target: Path, found: Found) -> bool:
    if found.compression != "gz" or not target.is_file() or target.stat().st_size != found.size:
        return False
    with target.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != found.sha256:
            return False
    try:
        return not found.manifest or read_manifest(_manifest_at(target)).artifact.sha256 == found.sha256
    except StoreError:
        return False  # a run that was killed came no further


@contextlib.contextmanager
def _as_gzip(
    remote: Remote, found: Found, target: Path, incoming: Path, jobs: int, came: _Counted
) -> Iterator[tuple[Path, str, int]]:
    """The template as a .tar.gz on this disk, with its digest and size; gone at the end."""
    incoming.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tmplbuild-fetch-", dir=incoming) as folder:
        file = Path(folder) / "template.tar.gz"
        if found.members and (sizes := assemble(remote, found, target, file, came)):
            yield file, found.sha256, sizes
            return
        whole = remote.file(found.path, found.size, found.sha256, "fetch")
        came(found.size)
        try:
            if found.compression == "gz":
                os.rename(whole, file)
                yield file, found.sha256, found.size
                return
            with file.open("wb") as out, open_tarball(whole) as stream:
                sha256, size = _compress(stream, out, jobs)
            yield file, sha256, size
        finally:
            whole.unlink(missing_ok=True)


def _compress(stream: BinaryIO, out: BinaryIO, jobs: int) -> tuple[str, int]:
    with GzipWriter(out, level=_LEVEL, jobs=jobs) as writer:
        while data := stream.read(_CHUNK):
            writer.write(data)
        done = writer.finish()
    return done.sha256, done.size


def _place(file: Path, target: Path, size: int, manifest: bytes | None) -> None:
    """Both files into the cache; a manifest of an earlier file is never beside this one."""
    with file.open("rb") as source, atomic_file(target, needed=size) as out:
        shutil.copyfileobj(source, out, _CHUNK)
        _manifest_at(target).unlink(missing_ok=True)
    if manifest is not None:
        write_atomic(_manifest_at(target), manifest)


def _manifest_at(target: Path) -> Path:
    return target.with_name(f"{target.name.removesuffix('.tar.gz')}.manifest.json")


def _manifest(remote: Remote, found: Found) -> bytes | None:
    """The mirror's manifest of the template, if it has such things. Raises VerifyError."""
    if not found.manifest:
        return None
    local = remote.file(*found.manifest, "fetch")
    try:
        if read_manifest(local).artifact.sha256 != found.sha256:
            raise VerifyError("the mirror's manifest is of another file", where=remote.where(found.path))
        return local.read_bytes()
    finally:
        local.unlink(missing_ok=True)


def summary(result: Fetched, emit: Emit) -> Mapping[str, object]:
    """What `--json` prints; says aloud what was spared."""
    if 0 < result.came < result.size:
        share = 100 * result.came / result.size
        emit(Note(f"{share:.0f} % of the file was fetched; the rest was in the cache"))
    return {
        "event": "fetched",
        "template": result.template,
        "file": str(result.file),
        "sha256": result.sha256,
        "size": result.size,
        "fetched": result.came,
        "already": result.already,
        "build": result.build,
        "mirror": result.kind,
    }
