"""NAME.manifest.json: what a template was made of, and what came out.

Nothing in it varies between two builds with equal pins: no clock, no host name, no duration; only
`changes` tells of the build before, on the machine that has it in its history. The
text is canonical (sorted keys, UTF-8, two spaces, one newline at the end), so that equal builds
give equal bytes and `diff` shows what changed between two nights.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from pathlib import Path

from tmplbuild.artifact.atomic import write_atomic
from tmplbuild.artifact.typed import decode, plain
from tmplbuild.errors import StoreError

_LAST = 253_402_300_799  # 9999-12-31T23:59:59Z: RFC 3339 has years of four digits

SCHEMA = 1
"""Raised when a reader of the old form would misread the new one."""


@dataclasses.dataclass(frozen=True, slots=True)
class RecipeRef:
    """The recipe's name, the sha256 of the flattened recipe's canonical form, and the features that were
    laid on it, in order."""

    name: str
    digest: str
    features: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Pin:
    """One verified suite of an archive. `date` is its Release file's, seconds since the epoch;
    `release_sha256` the digest of the signed file; `signed_by` full fingerprints."""

    role: str
    suite: str
    date: int
    release_sha256: str
    signed_by: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Pins:
    """All that the archives' state decided: the suites, and the digests of the two package closures."""

    archives: tuple[Pin, ...]
    base_closure: str
    closure: str


@dataclasses.dataclass(frozen=True, slots=True)
class PackageRef:
    """One installed package; `source` names its source package where that has another name."""

    name: str
    version: str
    arch: str
    source: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class StageRef:
    """A stage and the key of its layer."""

    name: str
    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class Artifact:
    """The packed file: its name without directory, size and digest, the tar's size in bytes, tar entries.

    `tar_sha256`, the tar's digest, is in manifests of earlier versions; today who publishes a template works
    it out (`members.json` of a mirror has it)."""

    file: str
    size: int
    sha256: str
    tar_size: int
    entries: int
    tar_sha256: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Leftover:
    """A configuration file that an upgrade left beside the one in use, and what was done about it.

    `kind` is the side it held (new, old), or waste, stray, replaced, obsolete; `cause` who had changed
    the file in use; versions are the package's before and after. Hashes are those of the file as
    its package had delivered it, as it was in use, of the package's new version, and of what is in
    use now. `diff`: whether the record of the build has the difference between the two in question.
    """

    path: str
    decision: str
    kind: str = ""
    cause: str = ""
    package: str | None = None
    from_version: str | None = None
    to_version: str | None = None
    old_sha256: str | None = None
    disk_sha256: str | None = None
    new_sha256: str | None = None
    result_sha256: str | None = None
    diff: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class ChangedPackage:
    """A package that came, went or changed: `change` is added, removed, upgraded, downgraded or changed;
    versions before and after; whether the change mends a vulnerability, and which."""

    name: str
    change: str
    before: str | None = None
    after: str | None = None
    security: bool = False
    cves: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Changes:
    """How the file differs from that of the last good build before it: the id of that build, its file's
    digest, all in one line, what may break those who use the template, and names. `files` are those of
    /etc, `others` services, users, groups, setuid files and the like, a line each."""

    against: str
    against_sha256: str
    headline: str
    breaking: tuple[str, ...] = ()
    packages: tuple[ChangedPackage, ...] = ()
    files: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """Everything of NAME.manifest.json but `schema` and `created`, which are made when it is written.

    `epoch` is the newest archive date, seconds; `stripped` tells, a line each, what was taken out.
    `made_of` is the earlier release's template that this one was made out of, `made_of_sha256` its digest,
    `differences` how the result differs from a clean build that was at hand, a line each. `changes` is
    None for a first build. `boot_test` is "passed", or why there was none; `emulator` what ran the template's
    programs where the machine could not: then it was upgraded without its init.
    """

    template: str
    recipe: RecipeRef
    tool: str
    arch: str
    epoch: int
    pins: Pins
    packages: tuple[PackageRef, ...]
    stages: tuple[StageRef, ...]
    artifact: Artifact
    stripped: tuple[str, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    made_of: str | None = None
    made_of_sha256: str | None = None
    differences: tuple[str, ...] = ()
    changes: Changes | None = None
    boot_test: str = ""
    emulator: str | None = None


def manifest_bytes(manifest: Manifest) -> bytes:
    """The canonical text. Packages and pins are sorted; stages keep their order."""
    ordered = dataclasses.replace(
        manifest,
        packages=tuple(sorted(manifest.packages, key=lambda one: (one.name, one.arch, one.version))),
        pins=dataclasses.replace(
            manifest.pins,
            archives=tuple(sorted(manifest.pins.archives, key=lambda one: (one.role, one.suite))),
        ),
    )
    data = plain(ordered)
    data["schema"] = SCHEMA
    data["created"] = rfc3339(manifest.epoch)
    text = json.dumps(data, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    # A path may hold bytes that are not UTF-8: Python's stand-ins for them become JSON's own \udcXX.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write the manifest, whole or not at all (0644). Raises StoreError."""
    write_atomic(path, manifest_bytes(manifest))


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest. Raises StoreError where it cannot be read, and as `manifest_of`."""
    return manifest_of(manifest_text(path), path)


def manifest_text(path: Path) -> bytes:
    """A manifest as it lies there. Raises StoreError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError("The manifest cannot be read.", where=str(path), why=str(error.strerror)) from error


def manifest_of(raw: bytes, path: Path) -> Manifest:
    """Check a manifest that was read from `path`.

    Raises StoreError where it is no JSON, is of another schema, or where a key is missing, unknown or of a
    wrong type (all faults are told at once).
    """
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _bad(path, f"it is no JSON: {error}") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, dict) else None
        raise _bad(path, f"schema {SCHEMA} was expected, it says {found!r}")
    faults: list[str] = []
    created = data.pop("created", None)
    del data["schema"]
    manifest = decode(data, Manifest, "", faults)
    if not faults and manifest.epoch > _LAST:
        faults.append("epoch: it is beyond the year 9999")
    elif not faults and created != rfc3339(manifest.epoch):
        faults.append(f"created: {created!r} is not the epoch's date")
    if faults:
        raise _bad(path, "\n".join(faults))
    checked: Manifest = manifest
    return checked


def rfc3339(epoch: int) -> str:
    """Seconds since the epoch as a UTC date and time (RFC 3339)."""
    return datetime.datetime.fromtimestamp(epoch, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _bad(path: Path, why: str) -> StoreError:
    return StoreError(
        "The manifest is not one that this version reads.",
        where=str(path),
        why=why,
        hint="build the template again",
    )
