"""Which tmplbuild this is: two that differ do not work on one template."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from tmplbuild import __version__
from tmplbuild.errors import HostError

_PACKAGE = Path(__file__).resolve().parent.parent


@functools.cache
def identity() -> str:
    """The version, and a hash of the program's own code: a checkout has the version of its last release."""
    total = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        total.update(
            f"{path.relative_to(_PACKAGE)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        )
    return f"{__version__}+{total.hexdigest()[:12]}"


def refuse_other(theirs: str, who: str) -> None:
    """Raise HostError when another version of the program speaks."""
    if theirs != identity():
        raise HostError(
            f"{who} is of another version of tmplbuild",
            why=f"theirs is {theirs}, this machine has {identity()}",
            hint="install the same version on all machines of the fleet",
        )


def files() -> list[tuple[str, int, int]]:
    """The program's files, each with its size and when it was written: they differ from those of a moment
    ago when it was updated meanwhile."""
    states = ((path, path.stat()) for path in _PACKAGE.rglob("*.py"))
    return sorted((str(path), state.st_size, state.st_mtime_ns) for path, state in states)
