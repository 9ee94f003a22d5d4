"""verify: a whole mirror, looked at as each of its clients would.

Every index is read as its client reads it; every file that one names is fetched and hashed; what files say of
each other (sums, signatures, fingerprints, manifest, bill of materials, provenance) must hold.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tmplbuild.config import Settings
from tmplbuild.errors import BusyError, VerifyError
from tmplbuild.events import Bytes, Emit, Note
from tmplbuild.publish.checker import Checker, Report
from tmplbuild.publish.indexes import KEY, SIGNATURES, own
from tmplbuild.publish.model import File
from tmplbuild.publish.remote import Remote
from tmplbuild.publish.verifybuild import check_build
from tmplbuild.publish.verifyindex import INDEXES
from tmplbuild.publish.verifypage import check_pages

_LOOKS = 3
"""How often a mirror is looked at that is changed meanwhile."""


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
    no index.json that can be believed, BusyError where it changes all the time; all else becomes a fault of
    the report.
    """
    with tempfile.TemporaryDirectory(prefix="tmplbuild-verify-", dir="/var/tmp") as folder:
        for _ in range(_LOOKS):
            checker = Checker(Remote(place, Path(folder), jobs=jobs), key)
            index = _look(checker, emit)
            if not checker.report.faults or not checker.remote.moved(own.NAME):
                break
            emit(Note("the mirror was changed while it was looked at"))
        else:
            raise BusyError(
                "the mirror is changed again and again while it is looked at",
                where=checker.remote.address,
                hint="look again when nobody publishes",
            )
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
