"""What a mirror holds, as data: builds of templates, their files, and which of them are served.

The state is one JSON file in each generation of the indexes, so that it changes with them at once.
Everything else in a mirror is made of it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tmplbuild.artifact.typed import decode, plain
from tmplbuild.errors import StoreError

SCHEMA = 1
BUILD = re.compile(r"\d{8}_\d{6}")
"""A build's name: the UTC time at which it was published. simplestreams reads its first eight digits
as a date (shared/simplestreams of Incus)."""


@dataclass(frozen=True, slots=True)
class File:
    """A published file: `path` below the mirror's root, `kind` ("tar.gz", "squashfs", "manifest", ...).

    `sha512` is there for archives that Proxmox may take, which asks for it.
    """

    path: str
    kind: str
    size: int
    sha256: str
    sha512: str = ""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Combined:
    """The fingerprint that Incus and LXD give to a metadata file and a root file together."""

    root: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Build:
    """One published build of a template.

    `arch` is the distribution's word, `epoch` the newest archive date in it, `published` when it came
    (both seconds). `artifact` is the sha256 of NAME.tar.gz, `manifest` that of its manifest. `formats` are
    those that were asked for and could be made, `differs` the kinds of files that are not the template itself
    but what its recipe wants for their consumer. `key` is the fingerprint that signed. `forced`: why `check`
    refused it, where it was published all the same. `withdrawn`: a rollback took it out of the indexes.
    `unlisted`: since when (seconds) no index names it, 0 while one does.
    """

    template: str
    build: str
    distro: str
    release: str
    suite: str
    arch: str
    variant: str
    title: str
    eol: str
    epoch: int
    published: int
    artifact: str
    manifest: str
    files: tuple[File, ...]
    combined: tuple[Combined, ...] = ()
    formats: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    key: str = ""
    forced: str = ""
    pinned: bool = False
    withdrawn: bool = False
    unlisted: int = 0

    @property
    def folder(self) -> str:
        """Where its files lie below the mirror's root; LXC's download template wants this form."""
        return f"images/{self.distro}/{self.release}/{self.arch}/{self.variant}/{self.build}"

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    def file(self, kind: str) -> File | None:
        """The file of a kind, if it was published."""
        return next((file for file in self.files if file.kind == kind), None)


@dataclass(frozen=True, slots=True)
class State:
    """All builds of a mirror. `serial` counts generations, `made` is the time of this one (seconds)."""

    serial: int = 0
    made: int = 0
    builds: tuple[Build, ...] = ()

    def of(self, template: str) -> tuple[Build, ...]:
        """A template's builds, newest first. Raises nothing: there may be none."""
        found = [build for build in self.builds if build.template == template]
        return tuple(sorted(found, key=lambda build: build.build, reverse=True))

    def templates(self) -> tuple[str, ...]:
        """The templates' names, sorted."""
        return tuple(sorted({build.template for build in self.builds}))

    def listed(self, template: str) -> tuple[Build, ...]:
        """The builds that indexes name, newest first; the first one is the current one."""
        return tuple(build for build in self.of(template) if not build.withdrawn and not build.unlisted)

    def current(self) -> tuple[Build, ...]:
        """The current build of every template that has one."""
        return tuple(builds[0] for name in self.templates() if (builds := self.listed(name)))

    def with_builds(self, changed: Iterable[Build]) -> State:
        """The state with some builds replaced or added."""
        mine = {(build.template, build.build): build for build in self.builds}
        mine |= {(build.template, build.build): build for build in changed}
        return dataclasses.replace(self, builds=tuple(mine[key] for key in sorted(mine)))

    def without(self, gone: Iterable[Build]) -> State:
        """The state without some builds."""
        names = {(build.template, build.build) for build in gone}
        kept = tuple(build for build in self.builds if (build.template, build.build) not in names)
        return dataclasses.replace(self, builds=kept)


def state_bytes(state: State) -> bytes:
    """The state as canonical JSON."""
    data = {"schema": SCHEMA, **plain(state)}
    return json_bytes(data)


def read_state(raw: bytes, where: str) -> State:
    """The state that a mirror's file holds. Raises StoreError for one that is damaged or newer."""
    try:
        data = json.loads(raw)
    except ValueError as error:
        raise _damaged(where, str(error)) from error
    if not isinstance(data, dict) or data.pop("schema", None) != SCHEMA:
        raise _damaged(where, f"it is not of schema {SCHEMA}: was it written by a newer version?")
    faults: list[str] = []
    state = decode(data, State, "", faults)
    if faults:
        raise _damaged(where, "\n".join(faults))
    checked: State = state
    return checked


def json_bytes(data: Any) -> bytes:
    """Canonical JSON: sorted keys, UTF-8, one newline at the end."""
    text = json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _damaged(where: str, why: str) -> StoreError:
    return StoreError("the mirror's state cannot be read", where=where, why=why)
