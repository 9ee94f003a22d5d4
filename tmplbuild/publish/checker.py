"""What is looked at when a mirror is verified, and what was found: the files, the faults, the counts."""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tmplbuild.errors import TmplbuildError, VerifyError
from tmplbuild.publish.model import File
from tmplbuild.publish.remote import Remote

_SHAPELESS = (KeyError, TypeError, ValueError, IndexError, AttributeError)
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
