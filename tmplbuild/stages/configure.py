"""configure: what makes the tree this template: sources list, files, line edits, commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tmplbuild.core.tree import Tree
from tmplbuild.recipes.model import Archive, Configure
from tmplbuild.stages import aptrpm, files, repofiles
from tmplbuild.stages.context import Ctx


def run(ctx: Ctx, options: Configure, archives: Mapping[str, Archive]) -> dict[str, Any]:
    """Write the sources list and the recipe's files, apply its edits, run its commands.

    Raises RecipeError for a source file that cannot be read, StageError for a command that fails.
    """
    with ctx.tree() as tree:
        if options.sources == "dnf":
            sources, made = repofiles.write(tree, archives, ctx.beside), []
        else:
            sources = write_sources(tree, options.sources, archives)
            made = write_keys(tree, archives, ctx.beside)
        made += files.put(tree, options.files, ctx.beside)
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
    if form == "apt-rpm":
        return aptrpm.write_sources(tree, archives)
    for path in tree.glob("/etc/apt/sources.list.d/*"):
        tree.remove(path)
    if form == "list":
        tree.write("/etc/apt/sources.list", one_line_style(archives), mode=0o644)
        return ["/etc/apt/sources.list"]
    tree.remove("/etc/apt/sources.list")
    path = f"/etc/apt/sources.list.d/{next(iter(archives))}.sources"
    tree.write(path, deb822_style(archives, _keyring(tree)), mode=0o644)
    return [path]


def write_keys(tree: Tree, archives: Mapping[str, Archive], beside: Callable[[str], bytes]) -> list[str]:
    """Give the tree the certificates of archives that come with keys of their own."""
    made = []
    for role, archive in archives.items():
        if archive.vendor:
            made += aptrpm.write_vendor(tree, archive, beside)
            continue
        for key, path in zip(archive.keys, _own_keys(role, archive), strict=False):
            tree.write(path, beside(f"keys/{key}.asc"), mode=0o644)
            made.append(path)
    return made


def _own_keys(role: str, archive: Archive) -> list[str]:
    if not archive.own_keys:
        return []
    return [f"/etc/apt/keyrings/{role}-{key}.asc" for key in archive.keys]


def one_line_style(archives: Mapping[str, Archive]) -> str:
    """`deb [ signed-by=FILE,... ] URI SUITE COMPONENT...` lines."""
    rows = []
    for role, archive in archives.items():
        own = ",".join(_own_keys(role, archive))
        options = f"[ signed-by={own} ] " if own else ""
        rows += [
            f"deb {options}{archive.public} {suite} {' '.join(archive.components)}\n"
            for suite in archive.suites
        ]
    return "".join(rows)


def deb822_style(archives: Mapping[str, Archive], keyring: str) -> str:
    """One stanza an archive.

    Parameters:
        keyring: the distribution's own keyring in the tree; none where empty.
    """
    stanzas = []
    for role, archive in archives.items():
        rows = {
            "Types": "deb",
            "URIs": archive.public,
            "Suites": " ".join(archive.suites),
            "Components": " ".join(archive.components),
            "Signed-By": " ".join(_own_keys(role, archive)) or keyring,
        }
        stanzas.append("".join(f"{key}: {value}\n" for key, value in rows.items() if value))
    return "\n".join(stanzas)


def _keyring(tree: Tree) -> str:
    """The distribution's keyring in the tree, if its package brought one."""
    found = [*tree.glob("/usr/share/keyrings/*-archive-keyring.pgp")]
    found += tree.glob("/usr/share/keyrings/*-archive-keyring.gpg")
    return found[0] if found else ""
