"""Which processes a run of the tool starts, and how they stand in line for processor and disk."""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

IDLE = 3
"""The class of those who get the disk when nobody else wants it (ioprio_set(2))."""

_IOPRIO_GET = {"x86_64": 252, "aarch64": 31}[platform.machine()]
_OF_A_PROCESS = 1
_LOOK_S = 0.05


class Standing(NamedTuple):
    """One process: its name, its niceness (proc(5), stat), and its class for the disk."""

    name: str
    nice: int
    disk: int


@contextmanager
def watched(word: str) -> Iterator[dict[int, Standing]]:
    """What the children of this process that have `word` in their command line have started meanwhile, by
    number: processes that lived for a moment only, or that only forked, may be missing."""
    found: dict[int, Standing] = {}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_S):
            for pid, parent in _below(word).items():
                one = _standing(pid)
                if one is not None and _words(pid) != _words(parent):  # else it is just becoming another one
                    found[pid] = one

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def _below(word: str) -> dict[int, int]:
    """Who descends from them, each with its parent."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        if (fields := _stat(int(entry.name))) is not None:
            parents[int(entry.name)] = int(fields[1][1])
    found = {pid for pid, parent in parents.items() if parent == os.getpid() and word in _words(pid)}
    result: dict[int, int] = {}
    while found:
        next_ones = {pid: parent for pid, parent in parents.items() if parent in found}
        result |= next_ones
        found = set(next_ones)
    return result


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return []


def _stat(pid: int) -> tuple[str, list[str]] | None:
    """The name, and all fields behind it."""
    try:
        head, _, rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")
    except OSError:
        return None
    return head.partition("(")[2], rest.split()


def _standing(pid: int) -> Standing | None:
    """A process that has ended, and waits to be reaped, has no class any more: what is seen before is
    believed only if it had not ended after that."""
    disk = ctypes.CDLL(None).syscall(_IOPRIO_GET, _OF_A_PROCESS, pid)
    fields = _stat(pid)
    if fields is None or fields[1][0] in "ZX" or disk < 0:
        return None
    return Standing(fields[0], int(fields[1][16]), disk >> 13)
