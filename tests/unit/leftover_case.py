"""A template through time for the stage leftovers: as installed, before the upgrade, after it."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.unit.fake_bench import FakeBench, UserTree, make_tree
from tmplbuild.core.tree import Tree
from tmplbuild.events import Note
from tmplbuild.recipes.afterwards import Leftovers
from tmplbuild.recipes.model import Clean, Configure, Edit, File, Strip
from tmplbuild.stages import files, leftovers
from tmplbuild.stages.work import work_of

Texts = Mapping[str, str]


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


@dataclass
class Case:
    """Files by path ("etc/a.conf").

    Parameters:
        installed: the tree after install.
        changed: what differs from it before the upgrade, beside the recipe's own work; None: gone.
        upgraded: what differs from that after the upgrade; None: gone.
        said: what rpm says before and after the upgrade.
        options: keys of the recipe's section.
    """

    root: Path
    installed: Texts
    upgraded: Mapping[str, str | None]
    changed: Mapping[str, str | None] = field(default_factory=dict)
    files: Mapping[str, File] = field(default_factory=dict)
    edits: tuple[Edit, ...] = ()
    strip_edits: tuple[Edit, ...] = ()
    removed: tuple[str, ...] = ()
    clean_files: Mapping[str, File] = field(default_factory=dict)
    said: tuple[str, str] = ("", "")
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("installed", "before", "tree"):
            (self.root / name).mkdir(parents=True)
        self.bench = FakeBench(self.root / "tree", says={"rpm": self.said[1].encode()})
        make_tree(self.root / "installed", self.installed)
        self._change("installed", "before", self.changed)
        with UserTree(self.root / "before") as tree:
            edits = (*self.edits, *self.strip_edits)
            files.put(tree, {**self.files, **self.clean_files}, self.bench.beside)
            files.edit(tree, edits)
        self._change("before", "tree", self.upgraded)

    def _change(self, old: str, new: str, changes: Mapping[str, str | None]) -> None:
        subprocess.run(["cp", "-a", f"{self.root / old}/.", str(self.root / new)], check=True)
        for path, text in changes.items():
            (self.root / new / path).unlink(missing_ok=True)
            if text is not None:
                make_tree(self.root / new, {path: text})

    def run(self) -> dict[str, dict[str, Any]]:
        """The rows by path; the warnings are in `warnings` then."""
        work = work_of(
            Configure(files=dict(self.files), edits=self.edits),
            Strip(remove=self.removed, edits=self.strip_edits),
            Clean(files=dict(self.clean_files)),
        )
        past = leftovers.Past(
            pristine=lambda: self._open("installed"),
            before=lambda: self._open("before"),
            ask=lambda argv: self.said[0].encode(),
        )
        section = Leftovers(**self.options)
        rows = leftovers.run(self.bench, section, work, past).get("leftovers", [])
        assert len(rows) == len({row["path"] for row in rows})
        return {row["path"]: row for row in rows}

    @contextmanager
    def _open(self, name: str) -> Iterator[Tree]:
        with UserTree(self.root / name) as tree:
            yield tree

    @property
    def warnings(self) -> list[str]:
        notes = [event for event in self.bench.events if isinstance(event, Note)]
        return [note.text for note in notes if note.level == "warning"]

    def text(self, path: str) -> str:
        """What a file of the tree holds in the end."""
        return (self.root / "tree" / path).read_text()

    def names(self, folder: str = "etc") -> list[str]:
        """The names in a directory in the end, without those of databases."""
        return sorted(path.name for path in (self.root / "tree" / folder).iterdir() if path.is_file())


def dpkg_status(package: str, version: str, conffiles: Texts, obsolete: tuple[str, ...] = ()) -> str:
    """A stanza of dpkg's status file; `conffiles` has the pristine texts by absolute path."""
    rows = [f" {path} {md5(text)}{' obsolete' * (path in obsolete)}" for path, text in conffiles.items()]
    return "\n".join(
        [
            f"Package: {package}",
            "Status: install ok installed",
            "Architecture: all",
            f"Version: {version}",
            *(["Conffiles:", *rows] if rows else []),
            "",
            "",
        ]
    )
