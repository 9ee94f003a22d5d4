"""What consumers get otherwise than the template: from the recipe, and as a file of the mirror.

`deltas.json` of a build tells it whole, so that each consumer's tar can be made out of the template's, and
`verify` does so. Its "deltas" have by consumer: "kinds" of files that are made so, "remove", and "files": of
each path, kind ("file", "link" or "directory"), data (base64; of a link its target), mode, uid and gid.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tmplbuild.errors import RecipeError, VerifyError
from tmplbuild.publish.model import json_bytes
from tmplbuild.recipes import LoadedRecipe
from tmplbuild.recipes.model import File

SCHEMA = 1
DELTAS = "deltas.json"

CONSUMERS: Mapping[str, str] = {
    "tar.zst": "proxmox",
    "tar.xz": "lxc",
    "squashfs": "incus",
    "oci": "oci",
    "wsl": "wsl",
}
"""Whom the files of a kind are for: a key of the recipe's [publish]."""


@dataclass(frozen=True, slots=True)
class Put:
    """A file that is put in: `kind` is "file", "link" (`data` is its target) or "directory"."""

    path: str
    kind: str
    data: bytes
    mode: int
    uid: int
    gid: int

    @property
    def parents(self) -> list[str]:
        """The directories above it, the outermost first."""
        words = self.path.split("/")[1:-1]
        return ["/" + "/".join(words[: count + 1]) for count in range(len(words))]


@dataclass(frozen=True)
class Delta:
    """What is left out, with all below it, and what is put in, sorted by path."""

    remove: tuple[str, ...] = ()
    files: tuple[Put, ...] = ()

    @cached_property
    def touched(self) -> frozenset[str]:
        """The paths that do not stay as they are; a directory that is put in may be there."""
        return frozenset(self.remove) | {put.path for put in self.files if put.kind != "directory"}

    @cached_property
    def parents(self) -> frozenset[str]:
        """The directories that files are put into."""
        return frozenset(parent for put in self.files for parent in put.parents)

    def removes(self, path: str) -> bool:
        """Whether a path lies below one that is left out."""
        return any(path.startswith(f"{one}/") for one in self.remove)


def deltas_of(loaded: LoadedRecipe) -> dict[str, Delta]:
    """What consumers get otherwise, of those that do. Raises RecipeError for a file that is not there."""
    found = {}
    for consumer in CONSUMERS.values():
        section = getattr(loaded.recipe.publish, consumer)
        files = tuple(_put(loaded, path, file) for path, file in sorted(section.files.items()))
        if files or section.remove:
            found[consumer] = Delta(tuple(sorted(section.remove)), files)
    return found


def _put(loaded: LoadedRecipe, path: str, file: File) -> Put:
    mode = int(file.mode, 8) if file.mode else 0o755 if file.directory else 0o644
    if file.link is not None:
        return Put(path, "link", file.link.encode(), 0o777, file.uid, file.gid)
    if file.directory:
        return Put(path, "directory", b"", mode, file.uid, file.gid)
    data = (file.text or "").encode()
    if file.source is not None:
        found = loaded.find(file.source)
        if found is None:
            raise RecipeError(
                f"{file.source} is not there",
                where=f"{loaded.path}: the file {path}",
                hint="its path is relative to the recipe's directory",
            )
        data = found.read_bytes()
    return Put(path, "file", data, mode, file.uid, file.gid)


def for_kinds(deltas: Mapping[str, Delta], kinds: Sequence[str]) -> dict[str, Delta]:
    """The deltas by kind of file, of the kinds that are made."""
    return {kind: deltas[who] for kind, who in CONSUMERS.items() if kind in kinds and who in deltas}


def deltas_json(by_kind: Mapping[str, Delta]) -> bytes:
    """The text of deltas.json."""
    rows = {
        CONSUMERS[kind]: {
            "kinds": [kind],
            "remove": list(delta.remove),
            "files": [
                {**dataclasses.asdict(put), "data": base64.b64encode(put.data).decode()}
                for put in delta.files
            ],
        }
        for kind, delta in by_kind.items()
    }
    return json_bytes({"schema": SCHEMA, "deltas": rows})


def read_deltas(raw: bytes) -> dict[str, Delta]:
    """The deltas by kind of file that a deltas.json tells. Raises VerifyError."""
    try:
        rows: dict[str, Any] = json.loads(raw)["deltas"]
        return {
            kind: Delta(
                tuple(row["remove"]),
                tuple(Put(**{**put, "data": base64.b64decode(put["data"])}) for put in row["files"]),
            )
            for row in rows.values()
            for kind in row["kinds"]
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise VerifyError("deltas.json is damaged", why=repr(error)) from error
