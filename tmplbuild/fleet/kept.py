"""The process that a worker keeps to have its parts of builds begin at once: see `tmplbuild.core.forks`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

import tmplbuild
from tmplbuild.fleet import shared
from tmplbuild.fleet.identity import files, identity

_NOT = (
    "__main__",
    "cli",
    "publish",
    "ui",
    "vz",
    "fleet.crew",
    "fleet.grid",
    "fleet.local",
    "fleet.maker",
    "fleet.part",
    "fleet.sftp",
)
"""What no part of a build runs, or what is loaded already."""


def load(store: str) -> Callable[[], bool]:
    """Import whatever a part of a build may, so that no copy does it again.

    Parameters:
        store: the shared store's address.

    Returns what says whether the program on the disk has become another one since.
    """
    before = files()
    skip = tuple(f"tmplbuild.{name}" for name in _NOT)
    for module in pkgutil.walk_packages(tmplbuild.__path__, "tmplbuild."):
        if not module.name.startswith(skip):
            importlib.import_module(module.name)
    shared.load(store)
    identity()

    def is_another() -> bool:
        try:
            return files() != before
        except OSError:  # one that was there a moment ago is just being replaced
            return True

    return is_another
