"""Package managers as tables: argument lists and the environment they need. No logic of stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from tmplbuild.core.tree import Tree

Argv = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Installed:
    """A package in a tree's database. `version` is spelled as the archive's reader spells it."""

    name: str
    version: str
    arch: str
    source: str


class Runs(Protocol):
    """What runs commands in a VE (`tmplbuild.stages.context.Shell`)."""

    def run(
        self, argv: Sequence[str], *, what: str, timeout_s: float | None = None, ok: Sequence[int] = (0,)
    ) -> bytes: ...


class Place(Protocol):
    """A tree whose database is asked (`tmplbuild.stages.context.Ctx`): as files, or by its own programs."""

    def tree(self) -> AbstractContextManager[Tree]: ...
    def entered(self) -> AbstractContextManager[Runs]: ...


def _no_failure(said: bytes) -> str:
    return ""


def _same(argv: Argv, names: Sequence[str]) -> Argv:
    return argv


@dataclass(frozen=True, slots=True)
class Manager:
    """How one package manager is spoken to.

    Parameters:
        env: added to every call.
        update, download, upgrade, autoremove, clean: what the live upgrade runs, in this order; empty where
            the package manager does that with another of these.
        audits: calls that fail when the package database is not whole.
        purge, install: prefixes to which package names are added.
        well: exit statuses of its commands that are no failure.
        minimal: upgrades what needs no new package and no removal; empty where there is no such call.
        no_recommends: what these are given where recommended packages are not wanted; `autoremove` then
            also takes what only a recommendation or a suggestion holds (`strict_autoremove`).
        recommends: what `install` is given where recommended packages are wanted.
        purging: what these are given where the configuration of what is removed is to go too.
        manual: prints the names of the packages that were asked for; mark_auto: a prefix that makes
            packages such that were only pulled in.
        progress: reads a line of output; a short text and a share of 0..1 where the line tells one.
        installed: the packages in a tree's database, sorted.
        owners: the package by real path of each file that packages own.
        listed: the same of a tree at rest, as far as its database is read as files; empty where it is not.
            It may know less than `owners`: what is packed ahead by it only saves time.
        hold: makes of `upgrade` a call that leaves packages of these names alone, which are newer than any
            archive's; the same call where it does so anyway.
        prepare: run in a booted VE before anything else; empty where nothing is to be prepared.
        silent: those of the audits that only say something when a thing is wrong, whatever their status.
        settle: waits until nothing works on the package database any more; empty where all ends in time.
        failure: what in the output of a command that ended well tells of a failure all the same, or "".
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
    installed: Callable[[Place], list[Installed]]
    owners: Callable[[Place], dict[str, str]]
    listed: Callable[[Tree], dict[str, str]] = lambda tree: {}
    prepare: Argv = ()
    silent: tuple[Argv, ...] = ()
    settle: Argv = ()
    failure: Callable[[bytes], str] = _no_failure
    well: tuple[int, ...] = (0,)
    minimal: Argv = ()
    no_recommends: Argv = ()
    strict_autoremove: Argv = ()
    recommends: Argv = ()
    purging: Argv = ()
    manual: Argv = ()
    mark_auto: Argv = ()
    hold: Callable[[Argv, Sequence[str]], Argv] = _same


_TABLES = {
    "apt-deb": "apt_deb",
    "apt-rpm": "apt_rpm",
    "dnf": "dnf",
    "zypper": "zypper",
    "apk": "apk",
    "pacman": "pacman",
    "slackpkg": "slackpkg",
}


def manager(name: str) -> Manager:
    """The table of a manager by the name that recipes use. Raises KeyError."""
    found: Manager = import_module(f"tmplbuild.managers.{_TABLES[name]}").TABLE
    return found
