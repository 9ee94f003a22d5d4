"""Gathering the facts of a tree: one look at what a view knows already, and at the files of /etc.

It shares the rules' `Subject`, so that after a check little is left to do: the owners of files, the
accounts and the services are known by then.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from tmplbuild.changes import facts as f
from tmplbuild.changes.traits import os_release, traits
from tmplbuild.checks.subject import Family, Subject
from tmplbuild.checks.view import View
from tmplbuild.errors import StageError, VerifyError
from tmplbuild.leftovers.intent import matches
from tmplbuild.managers import apkdb, dpkg, pacmandb, pkgtools, rpmdb
from tmplbuild.managers.filed import Filed

TEXT_MOST = 64 << 10
"""Bytes up to which the text of a file in /etc is kept, so that its changes can be shown later."""
TEXTS_MOST = 8 << 20
"""Bytes of all texts that are kept of one template."""

CAPABILITY = "security.capability"
AUTO = "/var/lib/apt/extended_states"
# What not all may read is a secret anyway, and so is a text with a private key in it.
_SECRETS = (
    "/etc/shadow*", "/etc/gshadow*", "/etc/tcb/**", "/etc/security/opasswd", "/etc/machine-id",
    "/etc/ssl/private/**", "/etc/**/*_key", "/etc/**/*.key", "/etc/**/*.pem", "/etc/**/*secret*",
)  # fmt: skip
_OF_EVERY_RUN = ("/etc/ld.so.cache",)  # made of what else is there: its changes tell nothing


def gather(subject: Subject) -> f.Facts:
    """The facts of a tree.

    Packages are those of the package manager's database; where that is damaged there are none. Raises
    HostError where files cannot be read.
    """
    view = subject.view
    family, packages, unowned = _packages(subject)
    release = os_release(view)
    return f.Facts(
        family=family,
        title=release.get("PRETTY_NAME", "") or release.get("ID", ""),
        size=sum(entry.size for entry in view.entries.values() if entry.kind == "file"),
        unowned=unowned,
        traits=traits(subject),
        packages=packages,
        files=tuple(_files(view)),
        services=tuple(f.Service(name, state) for name, state in subject.services.items()),
        users=tuple(_users(subject)),
        groups=tuple(_groups(view)),
        privileged=tuple(_privileged(view)),
    )


def _packages(subject: Subject) -> tuple[str, tuple[f.Package, ...], int]:
    for family, read in _READERS.items():
        if family in subject.families:
            with suppress(StageError, VerifyError, OSError):  # a damaged database: the check says so
                return (family, *read(subject))
            return family, (), 0
    return "", (), 0


def _of_dpkg(subject: Subject) -> tuple[tuple[f.Package, ...], int]:
    sizes, unowned = _sizes(subject.view, {path: one.package for path, one in subject.owned.items()})
    auto = _automatic(subject.view)
    found = [
        f.Package(
            name=one.name,
            version=one.version,
            arch=one.arch,
            source=one.source,
            source_version=one.source_version,
            size=sizes[one.name],
            auto=one.name in auto,
            priority="essential" if one.essential else one.priority,
        )
        for one in subject.packages
        if one.state not in ("not-installed", "config-files")
    ]
    return tuple(found), unowned


def _of_rpm(subject: Subject) -> tuple[tuple[f.Package, ...], int]:
    view = subject.view
    rows = rpmdb.packages(view)
    sizes, unowned = _sizes(view, {view.real(path): one.name for one in rows for path in one.paths})
    auto = _automatic(view)
    found = [
        f.Package(
            name=one.name,
            version=one.version,
            arch=one.arch,
            source=one.source,
            size=sizes[one.name],
            auto=one.name in auto,
            changed=max((seconds for seconds, _, _ in one.changelog), default=0),
        )
        for one in rows
    ]
    return tuple(found), unowned


def _of_apk(subject: Subject) -> tuple[tuple[f.Package, ...], int]:
    asked = apkdb.asked_for(subject.view)
    return _filed(subject.view, apkdb.packages(subject.view), lambda name: name not in asked)


def _of_pacman(subject: Subject) -> tuple[tuple[f.Package, ...], int]:
    rows = pacmandb.packages(subject.view)
    pulled = {one.name for one in rows if one.auto}
    return _filed(subject.view, rows, pulled.__contains__)


def _of_slackware(subject: Subject) -> tuple[tuple[f.Package, ...], int]:
    return _filed(subject.view, pkgtools.packages(subject.view), lambda name: False)


def _filed(
    view: View, rows: Sequence[Filed], auto: Callable[[str], bool]
) -> tuple[tuple[f.Package, ...], int]:
    """The packages of a database that is files; `auto` tells those that were only pulled in."""
    sizes, unowned = _sizes(view, {view.real(path): one.name for one in rows for path in one.files})
    found = [
        f.Package(
            name=one.name,
            version=one.version,
            arch=one.arch,
            source=one.source,
            size=sizes[one.name],
            auto=auto(one.name),
        )
        for one in rows
    ]
    return tuple(found), unowned


_READERS: dict[Family, Callable[[Subject], tuple[tuple[f.Package, ...], int]]] = {
    "dpkg": _of_dpkg,
    "rpm": _of_rpm,
    "apk": _of_apk,
    "pacman": _of_pacman,
    "slackware": _of_slackware,
}


def _sizes(view: View, owners: Mapping[str, str]) -> tuple[Counter[str], int]:
    """The bytes of each package's files that are in the tree, and of those that no package owns."""
    sizes: Counter[str] = Counter()
    unowned = 0
    for path, entry in view.entries.items():
        if entry.kind == "file":
            owner = owners.get(path)
            if owner is None:
                unowned += entry.size
            else:
                sizes[owner] += entry.size
    return sizes, unowned


def _automatic(view: View) -> set[str]:
    """The names of packages that apt installed only because others need them."""
    if not view.is_file(AUTO):
        return set()
    rows = [row for _, row in dpkg.stanzas(view.read_text(AUTO), AUTO)]
    return {row.get("package", "") for row in rows if row.get("auto-installed") == "1"}


def _files(view: View) -> Iterator[f.File]:
    left = TEXTS_MOST
    for entry in view.below("/etc"):
        if entry.path in _OF_EVERY_RUN:
            continue
        if entry.kind != "file":
            yield f.File(entry.path, entry.kind, entry.mode, entry.uid, entry.gid, target=entry.target)
            continue
        secret = not entry.mode & 0o004 or matches(entry.path, _SECRETS)
        data = view.read(entry.path, entry.size)
        text = None if secret or len(data) > min(TEXT_MOST, left) else _text(data)
        left -= len(text or "")
        digest = hashlib.sha256(data).hexdigest()
        yield f.File(entry.path, "file", entry.mode, entry.uid, entry.gid, digest, text=text, secret=secret)


def _text(data: bytes) -> str | None:
    if b"\0" in data or b"PRIVATE KEY-----" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _users(subject: Subject) -> Iterator[f.User]:
    hashes = {name: field for _, name, field in subject.hashes}
    for one in subject.accounts:
        field = hashes.get(one.name, one.password)
        login = "empty" if not field else "locked" if field[0] in "*!x" else "password"
        yield f.User(one.name, one.uid, one.gid, one.home, one.shell, login)


def _groups(view: View) -> Iterator[f.Group]:
    for line in view.lines("/etc/group"):
        fields = line.split(":")
        if len(fields) == 4 and fields[2].isdecimal():
            yield f.Group(fields[0], int(fields[2]), tuple(filter(None, fields[3].split(","))))


def _privileged(view: View) -> Iterator[f.Privileged]:
    for path, entry in view.entries.items():
        if entry.kind == "file" and entry.mode & 0o6111:
            capability = view.xattrs(entry).get(CAPABILITY, b"").hex()
            if capability or entry.mode & 0o6000:
                yield f.Privileged(path, entry.mode, entry.uid, entry.gid, capability)
