"""Processes of the host and the VEs that they belong to, by their control groups."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Process:
    """A process. `cpu_s`: processor time so far, seconds; `memory`: resident bytes."""

    pid: int
    command: str
    cpu_s: float
    memory: int


def veid_of(owner: str, pid: int) -> str | None:
    """The VE of a process; "0" is the host, as in vzpid(8); None where there is no such process.

    Parameters:
        owner: the name above the VEs' groups (`Core.owner`).
    """
    try:
        groups = Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return None
    found = re.search(rf"(?m):/{re.escape(owner)}/([^/\n]+)", groups)
    return found[1] if found else "0"


def of_ve(owner: str, veid: str) -> list[Process]:
    """The processes of a VE."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [found for pid in pids if veid_of(owner, pid) == veid and (found := _process(pid))]


def _process(pid: int) -> Process | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        words = (
            Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").replace("\0", " ").strip()
        )
    except OSError:
        return None
    name, fields = stat[stat.index("(") + 1 : stat.rindex(")")], stat.rpartition(")")[2].split()
    return Process(
        pid, words or f"[{name}]", (int(fields[11]) + int(fields[12])) / _TICKS, int(fields[21]) * _PAGE
    )
