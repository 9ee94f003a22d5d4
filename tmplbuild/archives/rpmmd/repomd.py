"""`repodata/repomd.xml`: the index of a repository's indexes, each with size and checksum.

The format is createrepo_c(8)'s; https://createrepo.baseurl.org (namespace linux.duke.edu/metadata/repo).
A detached, armoured signature lies beside it (repomd.xml.asc).
"""

from __future__ import annotations

import xml.etree.ElementTree as etree
from dataclasses import dataclass, field

from tmplbuild.archives import digest
from tmplbuild.archives.model import safe_path
from tmplbuild.errors import VerifyError

_REPO = "{http://linux.duke.edu/metadata/repo}"
_LARGEST = 1 << 40


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that repomd.xml vouches for: where it lies below the repository, its SHA-256 and size in
    bytes; the same of its uncompressed form ("" and 0 where they are not said)."""

    path: str
    sha256: str
    size: int
    plain_sha256: str = ""
    plain_size: int = 0


@dataclass(frozen=True, slots=True)
class Repomd:
    """A parsed repomd.xml. `date` is the newest time of its files, seconds since the epoch;
    `valid_until` is 0, as the format has no such field. `files` are by type ("primary")."""

    date: int
    valid_until: int = 0
    files: dict[str, Entry] = field(repr=False, default_factory=dict)


def parse(content: bytes, *, where: str) -> Repomd:
    """Read a repomd.xml. Files with a checksum that is not SHA-256 are left out.

    Raises VerifyError for what is none.
    """
    root = _root(content, where)
    if root.tag != f"{_REPO}repomd":
        raise _bad(where, f"its element is {root.tag[:80]!r}")
    files: dict[str, Entry] = {}
    newest = 0
    for data in root.iterfind(f"{_REPO}data"):
        kind = data.get("type", "")
        if kind in files:
            raise _bad(where, f"it names {kind!r} twice")
        newest = max(newest, int(float(_number(data, "timestamp", where))))
        entry = _entry(data, where)
        if entry is not None:
            files[kind] = entry
    if "primary" not in files:
        raise _bad(where, "it names no list of packages with a SHA-256")
    return Repomd(newest, files=files)


def _root(content: bytes, where: str) -> etree.Element:
    try:
        # decoded here: in another encoding a document type would not look like one
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(where, f"not UTF-8: {error}") from error
    if "<!" in text.replace("<!--", ""):
        raise _bad(where, "it declares a document type")  # no such file needs one; entities may be endless
    try:
        return etree.fromstring(text)
    except (etree.ParseError, ValueError, LookupError) as error:
        raise _bad(where, f"not XML: {error}") from error


def _entry(data: etree.Element, where: str) -> Entry | None:
    location = data.find(f"{_REPO}location")
    path = "" if location is None else location.get("href", "")
    sha256 = _sha256(data, "checksum")
    if not sha256:
        return None
    if not safe_path(path):
        raise _bad(where, f"it names a file {path[:200]!r}")
    return Entry(
        path,
        sha256,
        int(_number(data, "size", where)),
        _sha256(data, "open-checksum"),
        int(_number(data, "open-size", where)),
    )


def _sha256(data: etree.Element, name: str) -> str:
    found = data.find(_REPO + name)
    if found is None or found.get("type") != "sha256":
        return ""
    text = (found.text or "").strip().lower()
    try:
        digest.split(text)
    except ValueError:
        return ""
    return text


def _number(data: etree.Element, name: str, where: str) -> float:
    text = (data.findtext(_REPO + name) or "0").strip()
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < _LARGEST:
        raise _bad(where, f"{name} is {text[:40]!r}")
    return number


def _bad(where: str, why: str) -> VerifyError:
    return VerifyError(
        "a repository's repomd.xml cannot be read", where=where, why=why, hint="use another mirror (MIRROR=)"
    )
