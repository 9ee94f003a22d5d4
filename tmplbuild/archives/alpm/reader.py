"""Repositories of Arch's kind: one database each.

A suite of such an archive is one repository, named by its directory below the archive's address
("core/os/x86_64"); the database in it has the repository's name. Arch signs packages, not databases: a recipe
says signed = "packages".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tmplbuild.archives import openpgp, suites
from tmplbuild.archives.alpm import database
from tmplbuild.archives.alpm.database import Database
from tmplbuild.archives.clock import refuse_future
from tmplbuild.archives.model import ArchiveState
from tmplbuild.archives.suites import Form, Suite
from tmplbuild.recipes.model import Archive

_LIMIT = 256 << 20


def read_archives(archives: Mapping[str, Archive], arch: str, **options: Any) -> tuple[ArchiveState, ...]:
    """Read all repositories of all archives.

    Parameters:
        archives: by role, as the recipe has them; their suites are directories of databases.
        arch: Arch's word for the architecture (x86_64); for messages, as suites name their own.

    The other parameters and the errors are those of `tmplbuild.archives.suites.read`.
    """
    return suites.read(_FORM, archives, arch, **options)


def name_of(suite: str) -> str:
    """The path of a repository's database below the archive's address."""
    return f"{suite}/{suite.partition('/')[0]}.db"


def _paths(suite: str) -> tuple[str, ...]:
    return (name_of(suite),)


def _verify(body: bytes, signature: bytes | None, suite: Suite, url: str) -> openpgp.Signed:
    keys = suite.archive.keys
    return openpgp.verify_detached(body, signature or b"", keys, suite.keys_dir, now=suite.now, where=url)


def _check(release: Database, suite: Suite, url: str) -> None:
    refuse_future(f"the database of {suite.suite}", release.date, suite.now, url)


_FORM: Form[Database] = Form(
    title="database",
    paths=_paths,
    limit=_LIMIT,
    verify=_verify,
    parse=lambda content, url: database.head(content, url),
    check=_check,
    accepted=lambda suite, _release: f"accepted_{suite.role}_{suite.suite}_{suite.trust}",
    indexes=lambda head: [],
    wanted=lambda head: [],
    ready=lambda heads, fetcher: None,
)
