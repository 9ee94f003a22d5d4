"""verify: a whole mirror, looked at as each of its clients would.

Every index is read as its client reads it; every file that one names is fetched and hashed; what files say of
each other (sums, signatures, fingerprints, manifest, bill of materials, provenance) must hold.
"""

from __future__ import annotations

import gzip
import lzma
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tmplbuild.config import Settings
from tmplbuild.errors import TmplbuildError, VerifyError
from tmplbuild.events import Bytes, Emit, Note
from tmplbuild.publish.indexes import KEY, SIGNATURES, own
from tmplbuild.publish.model import File
from tmplbuild.publish.remote import Remote
from tmplbuild.publish.verifybuild import check_build
from tmplbuild.publish.verifyindex import INDEXES
from tmplbuild.publish.verifypage import check_pages

_SHAPELESS = (KeyError, TypeError, ValueError, IndexError, AttributeError)
_LOOKS = 3
"""How often a mirror is looked at that is changed meanwhile."""
_DAMAGED = (gzip.BadGzipFile, zlib.error, lzma.LZMAError, tarfile.TarError, EOFError)


@dataclass(slots=True)
class Report:
    """What was found. `faults` are (where, what); `files` and `size` what was fetched and hashed, each file
    once; `pages` those for people, whose links were followed; `key` the fingerprint that everything was
    verified by, "" if none was asked for."""

    address: str
    key: str = ""
    templates: int = 0
    builds: int = 0
    files: int = 0
    size: int = 0
    signatures: int = 0
    pages: int = 0
    rebuilt: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)


class Checker:
    """The mirror that is looked at, the files that its index names, and the report."""

    def __init__(self, remote: Remote, key: str) -> None:
        self.remote = remote
        self.key = key
        self.report = Report(remote.address, key)
        self.known: dict[str, File] = {}
        """Every file that index.json names, by path."""

    def fault(self, where: str, what: str) -> None:
        """Note a fault, once."""
        row = (self.remote.where(where), what)
        if row not in self.report.faults:
            self.report.faults.append(row)

    @contextmanager
    def noting(self, where: str) -> Iterator[None]:
        """What is raised inside is a fault of `where`, and the rest of the block is left out."""
        try:
            yield
        except VerifyError as error:
            self.fault(where, f"{error.what}{f': {error.why}' if error.why else ''}")
        except TmplbuildError as error:
            self.fault(where, error.what)
        except (*_SHAPELESS, *_DAMAGED) as error:
            self.fault(where, f"it has not the form that its clients expect: {error!r}")

    def small(self, path: str) -> bytes:
        """An index that must be there. Raises VerifyError."""
        data = self.remote.small(path)
        if data is None:
            raise VerifyError("it is not there")
        return data

    def signed(self, path: str, signature: str, data: bytes | None = None) -> None:
        """Check a signature, if there is a key to check it by."""
        if self.key:
            with self.noting(signature):
                self.remote.check(path, signature, self.key, data)
                self.report.signatures += 1

    def named(self, index: str, path: str, size: int | None = None, sha256: str | None = None) -> File | None:
        """A file that an index names must be one of a listed build, with that size and digest."""
        file = self.known.get(path)
        if file is None:
            self.fault(index, f"it names {path}, which no build has")
        elif (size is not None and size != file.size) or (sha256 is not None and sha256 != file.sha256):
            self.fault(index, f"it has another size or digest for {path}")
        return file


def verify(
    place: str,
    *,
    key: str,
    emit: Emit,
    jobs: int = 4,
    rebuild: Settings | None = None,
    packages: Path | None = None,
) -> Report:
    """Check the mirror at an address or in a directory.

    Parameters:
        key: fingerprint that must have signed everything; "" to look at hashes alone.
        rebuild: build the current builds again, with these settings.
        packages: a directory that has packages which lay beside recipes.

    Raises UsageError for what is no mirror, FetchError where it cannot be reached, VerifyError where it has
    no index.json that can be believed; all else becomes a fault of the report.
    """
    with tempfile.TemporaryDirectory(prefix="tmplbuild-verify-", dir="/var/tmp") as folder:
        for looks in range(1, _LOOKS + 1):
            checker = Checker(Remote(place, Path(folder), jobs=jobs), key)
            index = _look(checker, emit)
            if not checker.report.faults or looks == _LOOKS or not checker.remote.moved(own.NAME):
                break
            emit(Note("the mirror was changed while it was looked at: all is looked at anew"))
        if rebuild is not None:
            _rebuild(checker, index, rebuild, emit, packages)
        return checker.report


def _look(checker: Checker, emit: Emit) -> dict[str, Any]:
    """Look at everything once; the mirror's own index."""
    index = _own_index(checker, emit)
    for template in index["templates"]:
        checker.report.templates += 1
        for build in template["builds"]:
            checker.known |= {row["path"]: _file(row) for row in build["files"]}
    total = sum(file.size for file in checker.known.values())
    for template in index["templates"]:
        for build in template["builds"]:
            checker.report.builds += 1
            with checker.noting(str(build.get("path", own.NAME))):
                check_build(checker, template, build)
            emit(Bytes("verify", checker.report.size, total))
    emit(Bytes("verify", checker.report.size, total, ended=True))
    for name, check in INDEXES.items():
        with checker.noting(name):
            check(checker, index)
    _signatures(checker)
    with checker.noting(str(index.get("page", own.NAME))):
        check_pages(checker, index)
    return index


def _rebuild(
    checker: Checker, index: dict[str, Any], settings: Settings, emit: Emit, packages: Path | None
) -> None:
    from tmplbuild.publish.rebuild import rebuild  # which needs all that builds

    for template in index["templates"]:
        for build in template["builds"][:1]:
            with checker.noting(build["path"]):
                rebuild(checker.remote, template, build, settings, emit, packages)
                checker.report.rebuilt += 1


def _own_index(checker: Checker, emit: Emit) -> dict[str, Any]:
    remote = checker.remote
    if checker.key:
        remote.check(own.NAME, f"{own.NAME}.asc", checker.key)
    else:
        emit(Note("signatures are not checked: no key is pinned (--key FINGERPRINT)", "warning"))
    index = remote.json(own.NAME)
    if index is None:
        raise VerifyError(
            "this is no mirror of tmplbuild", where=remote.where(own.NAME), why="it has no index.json"
        )
    if not isinstance(index, dict) or index.get("schema") != own.SCHEMA:
        raise VerifyError("the mirror's index is of another version", where=remote.where(own.NAME))
    if checker.key and index.get("key") != checker.key:
        checker.fault(own.NAME, f"it says that {index.get('key')} signs, not {checker.key}")
    return index


def _signatures(checker: Checker) -> None:
    """Every index that is signed, in every form; and that a mirror with a key signs all of them."""
    has_key = checker.remote.small(KEY) is not None
    for name, suffixes in SIGNATURES.items():
        if checker.remote.small(name) is None or not has_key:
            continue
        for suffix in suffixes:
            checker.signed(name, f"{name}{suffix}")


def _file(row: dict[str, Any]) -> File:
    return File(row["path"], row["kind"], row["size"], row["sha256"])
