"""The facts of a template: all that is compared between two, as plain data that JSON can hold."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tmplbuild.archives import zstd
from tmplbuild.artifact.atomic import write_atomic
from tmplbuild.artifact.typed import decode, plain
from tmplbuild.errors import StoreError, VerifyError

SCHEMA = 1
"""Raised when a reader of the old form would misread the new one."""

_LIMIT = 64 << 20  # bytes of facts; those of a template with 2000 packages take 2 MiB


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package.

    `source_version` is the source package's, which its changelog counts by. `size` are the bytes of its
    files in this tree; `auto`: it was only pulled in; `priority` as dpkg has it; `origin` the archive
    that it came from, where that is known. `changed`: an RPM's newest changelog entry, seconds since the
    epoch.
    """

    name: str
    version: str
    arch: str
    source: str = ""
    source_version: str = ""
    size: int = 0
    auto: bool = False
    priority: str = ""
    origin: str = ""
    changed: int = 0


@dataclass(frozen=True, slots=True)
class File:
    """A name in /etc. `digest` is the sha256 of a file's content; `target` where a link points; `text` the
    content of a short text. A `secret` one's text is not kept."""

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    digest: str = ""
    target: str = ""
    text: str | None = None
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """What the init knows by this name, and whether a boot starts it: enabled, disabled or masked."""

    name: str
    state: str


@dataclass(frozen=True, slots=True)
class User:
    """A line of passwd(5). `login` tells what its password lets in: locked, empty or password."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    login: str


@dataclass(frozen=True, slots=True)
class Group:
    """A line of group(5)."""

    name: str
    gid: int
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Privileged:
    """A file that gives whom runs it more than they have: setuid, setgid, or `capability` (its
    security.capability in hex)."""

    path: str
    mode: int
    uid: int
    gid: int
    capability: str = ""


@dataclass(frozen=True, slots=True)
class Traits:
    """What those who use a template count on, in a word each; "" for what is not there.

    `ssh` is the server and whether it starts, `ssh_root` and `ssh_passwords` what its configuration says,
    `ssh_keys` whether host keys lie in the template. `usr` is "merged" where /bin leads to /usr/bin.
    """

    distribution: str = ""
    release: str = ""
    arch: str = ""
    libc: str = ""
    usr: str = ""
    shell: str = ""
    init: str = ""
    network: str = ""
    resolver: str = ""
    ssh: str = ""
    ssh_root: str = ""
    ssh_passwords: str = ""
    ssh_keys: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """All of a template. `family` names its package database (dpkg, rpm, "" for one that is not read);
    `size` are the bytes of all files, `unowned` those of files that no package brought."""

    family: str
    title: str
    size: int
    unowned: int
    traits: Traits
    packages: tuple[Package, ...] = ()
    files: tuple[File, ...] = ()
    services: tuple[Service, ...] = ()
    users: tuple[User, ...] = ()
    groups: tuple[Group, ...] = ()
    privileged: tuple[Privileged, ...] = ()


def write_facts(path: Path, facts: Facts) -> None:
    """Write facts, whole or not at all, for the owner's eyes (0600): hashes of secrets are among them.

    Raises StoreError."""
    text = json.dumps({"schema": SCHEMA, **plain(facts)}, separators=(",", ":"))
    write_atomic(path, zstd.compress(text.encode()), mode=0o600)


def read_facts(path: Path) -> Facts:
    """Read what `write_facts` wrote. Raises StoreError where it cannot be read, is damaged, or of
    another schema."""
    try:
        data = json.loads(zstd.decompress(path.read_bytes(), limit=_LIMIT))
    except OSError as error:
        raise _bad(path, str(error.strerror)) from error
    except (ValueError, VerifyError) as error:
        raise _bad(path, str(error)) from error
    if not isinstance(data, dict) or data.pop("schema", None) != SCHEMA:
        raise _bad(path, "they are of another version of this program")
    faults: list[str] = []
    found: Facts = decode(data, Facts, "", faults)
    if faults:
        raise _bad(path, "\n".join(faults[:5]))
    return found


def _bad(path: Path, why: str) -> StoreError:
    return StoreError("the facts of a build cannot be read", where=str(path), why=why)
