"""hook: an executable of the recipe's own, run in the tree or in its booted system."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from tmplbuild.core.tree import Tree
from tmplbuild.errors import StageError
from tmplbuild.recipes.additions import Hook
from tmplbuild.recipes.model import Upgrade
from tmplbuild.secrets import Secret, Veil
from tmplbuild.stages.context import Ctx, Shell

_PLACE = "/run/tmplbuild-hook"  # /run is in memory, and ends with the VE
_SECRETS = f"{_PLACE}/secrets"
_PUT = 'umask 077; mkdir -p "${1%/*}" && cat > "$1" && chmod "$2" "$1"'
_TIMEOUT_S = 60
_CLOCK_S = 2.0  # a file's times are taken from a coarser clock than ours
_PIECE = 1 << 20


def run(
    ctx: Ctx,
    options: Hook,
    upgrade: Upgrade,
    name: str,
    about: Mapping[str, str],
    secrets: Sequence[Secret],
) -> dict[str, Any]:
    """Run the hook.

    Parameters:
        upgrade: how the tree is booted, for a hook that wants that.
        about: variables that tell the hook what is being built.
        secrets: those that it asks for.

    Returns nothing that needs to be told. Raises StageError when it fails, takes too long, or leaves a
    secret in the tree, RecipeError when its file cannot be read.
    """
    program = f"{_PLACE}/{name}"
    began = time.time() - _CLOCK_S
    with _shell(ctx, options, upgrade) as ve:
        _put(ve, program, ctx.beside(options.run), "0700")
        for secret in secrets:
            _put(ve, f"{_SECRETS}/{secret.name}", secret.data, "0400")
        env = {**about, **options.env, "TMPLBUILD_HOOK": name}
        if secrets:
            env["TMPLBUILD_SECRETS"] = _SECRETS
        ve.run(
            [program, *options.args],
            what=f"hook {name}",
            env=env,
            timeout_s=options.timeout_s,
            hidden=secrets,
        )
    if secrets:
        with ctx.tree() as tree:
            refuse_leaks(tree, name, secrets, began)
    return {}


def refuse_leaks(tree: Tree, name: str, secrets: Sequence[Secret], since: float) -> None:
    """See that no file that changed since holds a secret. Raises StageError that names the file."""
    for path, about in tree.walk():
        if about.st_ctime < since:
            continue
        for secret in secrets:
            if _holds(tree, path, about, Veil([secret])):
                raise StageError(
                    f"hook {name} left the secret {secret.name} in the tree",
                    where=path,
                    hint="use it and throw it away: whoever has the template would have it",
                )


def _holds(tree: Tree, path: str, about: os.stat_result, veil: Veil) -> bool:
    if veil.hides(os.fsencode(path)):
        return True
    if stat.S_ISLNK(about.st_mode):
        return veil.hides(os.fsencode(tree.readlink(path)))
    if not stat.S_ISREG(about.st_mode):
        return False
    with os.fdopen(tree.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        kept = b""
        while piece := file.read(_PIECE):
            if veil.hides(kept + piece):
                return True
            kept = piece[-veil.longest :]
    return False


def _shell(ctx: Ctx, options: Hook, upgrade: Upgrade) -> AbstractContextManager[Shell]:
    return ctx.live(upgrade) if options.booted else ctx.entered()


def _put(ve: Shell, path: str, data: bytes, mode: str) -> None:
    ve.run(
        ["/bin/sh", "-c", _PUT, "sh", path, mode], what="prepare the hook", stdin=data, timeout_s=_TIMEOUT_S
    )
