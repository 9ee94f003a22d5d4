"""configure: what makes the tree this template: sources list, files, line edits, commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tmplbuild.core.tree import Tree
from tmplbuild.recipes.model import Archive, Configure
from tmplbuild.stages import files
from tmplbuild.stages.context import Ctx

VERSION = 1


def run(ctx: Ctx, options: Configure, archives: Mapping[str, Archive]) -> dict[str, Any]:
    """Write the sources list and the recipe's files, apply its edits, run its commands.

    Raises RecipeError for a source file that cannot be read, StageError for a command that fails.
    """
    with ctx.tree() as tree:
        sources = write_sources(tree, options.sources, archives)
        made = files.put(tree, options.files, ctx.beside)
        changed = files.edit(tree, options.edits)
    if options.commands:
        with ctx.entered() as ve:
            for argv in options.commands:
                ve.run(argv, what=f"configure: {argv[0]}", timeout_s=options.timeout_s)
    return {"sources": sources, "files": made, "edited": changed}


def write_sources(tree: Tree, form: str, archives: Mapping[str, Archive]) -> list[str]:
    """Write the list of archives for the tree's own package manager, with public addresses only.

    Every other list of theirs is removed first. Returns the paths written. Formats: sources.list(5).
    """
    for path in tree.glob("/etc/apt/sources.list.d/*"):
        tree.remove(path)
    if form == "list":
        tree.write("/etc/apt/sources.list", one_line_style(archives), mode=0o644)
        return ["/etc/apt/sources.list"]
    tree.remove("/etc/apt/sources.list")
    written = []
    keyring = _keyring(tree)
    path = f"/etc/apt/sources.list.d/{next(iter(archives))}.sources"
    tree.write(path, deb822_style(archives, keyring), mode=0o644)
    written.append(path)
    return written


def one_line_style(archives: Mapping[str, Archive]) -> str:
    """`deb URI SUITE COMPONENT...` lines."""
    rows = [
        f"deb {archive.public} {suite} {' '.join(archive.components)}\n"
        for archive in archives.values()
        for suite in archive.suites
    ]
    return "".join(rows)


def deb822_style(archives: Mapping[str, Archive], keyring: str) -> str:
    """One stanza an archive."""
    stanzas = []
    for archive in archives.values():
        rows = {
            "Types": "deb",
            "URIs": archive.public,
            "Suites": " ".join(archive.suites),
            "Components": " ".join(archive.components),
        }
        if keyring:
            rows["Signed-By"] = keyring
        stanzas.append("".join(f"{key}: {value}\n" for key, value in rows.items()))
    return "\n".join(stanzas)


def _keyring(tree: Tree) -> str:
    """The distribution's keyring in the tree, if its package brought one."""
    found = [*tree.glob("/usr/share/keyrings/*-archive-keyring.pgp")]
    found += tree.glob("/usr/share/keyrings/*-archive-keyring.gpg")
    return found[0] if found else ""
