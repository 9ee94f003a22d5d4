"""Package managers as tables: argument lists and the environment they need. No logic of stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Argv = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manager:
    """How one package manager is spoken to.

    Parameters:
        env: added to every call.
        update, download, upgrade, autoremove, clean: what the live upgrade runs, in this order.
        audits: calls that fail when the package database is not whole.
        purge, install: prefixes to which package names are added.
        minimal: upgrades what needs no new package and no removal; empty where there is no such call.
        no_recommends: what `upgrade` is given where recommended packages are not wanted.
        progress: reads a line of output; a short text and a share of 0..1 where the line tells one.
    """

    name: str
    env: Mapping[str, str]
    update: Argv
    download: Argv
    upgrade: Argv
    autoremove: Argv
    clean: Argv
    audits: tuple[Argv, ...]
    purge: Argv
    install: Argv
    progress: Callable[[bytes], tuple[str, float] | None]
    minimal: Argv = ()
    no_recommends: Argv = ()


def manager(name: str) -> Manager:
    """The table of a manager by the name that recipes use. Raises KeyError."""
    from tmplbuild.managers import apt_deb

    return {"apt-deb": apt_deb.TABLE}[name]
