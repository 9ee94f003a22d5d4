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
        no_recommends: what these are given where recommended packages are not wanted; `autoremove` then
            also takes what only a recommendation or a suggestion holds (`strict_autoremove`).
        manual: prints the names of the packages that were asked for; mark_auto: a prefix that makes
            packages such that were only pulled in.
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
    strict_autoremove: Argv = ()
    manual: Argv = ()
    mark_auto: Argv = ()


def manager(name: str) -> Manager:
    """The table of a manager by the name that recipes use. Raises KeyError."""
    from tmplbuild.managers import apt_deb

    return {"apt-deb": apt_deb.TABLE}[name]
