"""Rules: the tarball itself is one that every manager unpacks."""

from __future__ import annotations

from tmplbuild.checks.rule import Faults, rule
from tmplbuild.checks.subject import Subject


@rule(
    "archive-unsafe-name",
    "No names that lead out of the archive",
    why='A name with ".." is refused by some programs that unpack it and obeyed by others.',
    fix="Pack the tree anew.",
    families=("tarball",),
)
def archive_unsafe_name(subject: Subject) -> Faults:
    yield from _odd(subject, "unsafe-name")


@rule(
    "archive-duplicate",
    "No name is in the archive twice",
    why="Which of the two wins depends on the program (OCI forbids it).",
    fix="Pack the tree anew instead of appending to the archive.",
    families=("tarball",),
)
def archive_duplicate(subject: Subject) -> Faults:
    yield from _odd(subject, "duplicate")


@rule(
    "archive-link",
    "No member lies behind a link, and hard links have their first name before them",
    why="Programs that unpack safely refuse to write through a link, and cannot link to what is not there.",
    fix="Pack the tree anew, in one run.",
    families=("tarball",),
)
def archive_link(subject: Subject) -> Faults:
    yield from _odd(subject, "through-link")
    yield from _odd(subject, "no-target")


@rule(
    "archive-prefix",
    'Names begin with "./"',
    why="Proxmox and LXC leave out devices by the pattern ./dev/*: other spellings slip through it.",
    fix="tar -C TREE -c . (not TREE/* and not absolute names).",
    severity="warning",
    families=("tarball",),
)
def archive_prefix(subject: Subject) -> Faults:
    yield from _odd(subject, "prefix")


def _odd(subject: Subject, what: str) -> Faults:
    for oddity in subject.view.oddities:
        if oddity.what == what:
            yield oddity.path, oddity.text
