"""configure: what makes the tree this template: sources list, files, line edits, commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from tmplbuild import secrets
from tmplbuild.core.tree import Tree
from tmplbuild.recipes.model import Archive, Configure
from tmplbuild.stages import (
    apksources,
    aptrpm,
    aptsources,
    files,
    pacmansources,
    repofiles,
    slacksources,
    users,
)
from tmplbuild.stages.context import Ctx

Writer: TypeAlias = Callable[[Tree, Mapping[str, Archive], Callable[[str], bytes]], list[str]]
"""Writes public addresses only, and removes every other list or puts it out of force; gives the tree what
certificates it needs of those beside the recipe. Returns the paths written or changed."""


def run(
    ctx: Ctx,
    options: Configure,
    archives: Mapping[str, Archive],
    secret: Callable[[str], str] = secrets.text_of,
) -> dict[str, Any]:
    """Write the sources list and the recipe's files, apply its edits, make its users, run its commands.

    Parameters:
        secret: gives the value of a secret by its reference.

    Raises RecipeError for a source file that cannot be read, StageError for a command that fails, or an
    account that cannot be made, HostError for a secret.
    """
    with ctx.tree() as tree:
        sources = WRITERS[options.sources](tree, archives, ctx.beside)
        made = files.put(tree, options.files, ctx.beside)
        changed = files.edit(tree, options.edits)
        accounts = users.make(tree, options.users, secret)
    if options.commands:
        with ctx.entered() as ve:
            for argv in options.commands:
                ve.run(argv, what=f"configure: {argv[0]}", timeout_s=options.timeout_s)
    return {"sources": sources, "files": made, "edited": changed, "users": accounts}


WRITERS: dict[str, Writer] = {
    "deb822": aptsources.write_deb822,
    "list": aptsources.write_list,
    "apt-rpm": aptrpm.write,
    "dnf": repofiles.write_dnf,
    "zypper": repofiles.write_zypper,
    "apk": apksources.write,
    "pacman": pacmansources.write,
    "slackpkg": slacksources.write,
}
"""What writes the list of archives for the tree's own package manager, by `configure.sources`."""
