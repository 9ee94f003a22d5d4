"""The table of all VEs: the named ones with their configuration, and those that builds run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tmplbuild.core import VEInfo
from tmplbuild.errors import HostError, StageError, UsageError
from tmplbuild.vz import mounts
from tmplbuild.vz.conf import Conf
from tmplbuild.vz.manage import Manager


@dataclass(frozen=True, slots=True)
class Row:
    """One VE.

    Parameters:
        veid: its number, or a build's id.
        status: "running", "starting", "stopped", "mounted", "leftover".
        conf: its configuration; None for a build's.
        info: what the core knows of it; None when it does not run.
        held: what it uses now, by resource; empty when it does not run.
    """

    veid: str
    status: str
    conf: Conf | None = None
    info: VEInfo | None = None
    held: dict[str, float] = field(default_factory=dict)

    def value(self, key: str, default: str = "") -> str:
        """A value of its configuration."""
        return self.conf.get(key, default) if self.conf else default


def rows(manager: Manager) -> list[Row]:
    """All VEs: by number, then those of builds by id. Reads what each running one uses."""
    infos = {info.veid: info for info in manager.core.list()}
    found = []
    for of in manager.confs():
        info = infos.pop(of.veid, None)
        found.append(Row(of.veid, _status(manager, of, info), of, info, _held(manager, info)))
    found += [Row(veid, info.state, None, info, _held(manager, info)) for veid, info in infos.items()]
    return found


def _status(manager: Manager, of: Conf, info: VEInfo | None) -> str:
    if info is not None and info.state != "leftover":
        return info.state
    return "mounted" if mounts.is_mounted(manager.root(of)) else "stopped"


def _held(manager: Manager, info: VEInfo | None) -> dict[str, float]:
    if info is None or info.state == "leftover":
        return {}
    try:
        return {row.resource: row.held for row in manager.core.attach(info.veid).usage()}
    except (HostError, StageError):
        return {}  # it ended meanwhile


Column = tuple[str, Callable[[Row], object]]

COLUMNS: dict[str, Column] = {
    "ctid": ("CTID", lambda row: row.veid),
    "nproc": ("NPROC", lambda row: _whole(row.held.get("pids"))),
    "status": ("STATUS", lambda row: row.status),
    "ip": ("IP_ADDR", lambda row: " ".join(row.info.addresses) if row.info else row.value("IP_ADDRESS")),
    "hostname": ("HOSTNAME", lambda row: row.value("HOSTNAME")),
    "memory": ("MEMORY", lambda row: _whole(row.held.get("memory"))),
    "name": ("NAME", lambda row: row.value("NAME")),
    "description": ("DESCRIPTION", lambda row: row.value("DESCRIPTION")),
    "ostemplate": ("OSTEMPLATE", lambda row: row.value("OSTEMPLATE")),
    "layout": ("LAYOUT", lambda row: row.value("VE_LAYOUT", "simfs") if row.conf else ""),
    "private": ("PRIVATE", lambda row: row.value("VE_PRIVATE")),
    "root": ("ROOT", lambda row: row.value("VE_ROOT")),
    "onboot": ("ONBOOT", lambda row: row.value("ONBOOT", "no") if row.conf else ""),
    "bootorder": ("BOOTORDER", lambda row: row.value("BOOTORDER")),
    "disk": ("DISK", lambda row: _whole(row.held.get("disk"))),
    "swap": ("SWAP", lambda row: _whole(row.held.get("swap"))),
    "cpu": ("CPU", lambda row: row.held.get("cpu")),
    "pid": ("PID", lambda row: row.info.pid or None if row.info else None),
    "net": ("NET", lambda row: row.info.net if row.info else None),
    "uptime": ("UPTIME", lambda row: _uptime(row)),
}
"""By the name that -o takes: the head and the value; numbers are bytes, seconds or counts."""

ALIASES = {
    "veid": "ctid",
    "numproc": "nproc",
    "physpages": "memory",
    "diskspace": "disk",
    "swappages": "swap",
}
USUAL = ("ctid", "nproc", "status", "ip", "hostname", "memory")


def column(word: str) -> str:
    """The column that a word of -o means. Raises UsageError."""
    from tmplbuild.tomlfile import did_you_mean

    name = ALIASES.get(word, word)
    if name not in COLUMNS:
        known = [*COLUMNS, *ALIASES]
        raise UsageError(f"there is no column {word!r}", hint=did_you_mean(word, known) or ", ".join(COLUMNS))
    return name


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _uptime(row: Row) -> int | None:
    return int(time.time() - row.info.started) if row.info and row.info.started else None
