"""When a booted VE is ready: by its init's own word."""

from __future__ import annotations

import os
import socket
import struct

# utmp(5) on Linux: a record is 384 bytes on every architecture, the type and the pid come first.
_UTMP_SIZE = 384
_RUN_LEVEL = 1
_BOOT_SCRIPTS = ("rc", "rcS", "startpar", "openrc", "openrc-run", "sysinit", "rc.S", "rc.M")

TICK_S = 0.02
"""How often a system without notification is looked at."""


def notified(sock: socket.socket) -> bool:
    """Read what systemd sent to the notify socket; True when READY=1 was in it (sd_notify(3))."""
    ready = False
    while True:
        try:
            data = sock.recv(65536, socket.MSG_DONTWAIT)
        except (BlockingIOError, ConnectionError):
            return ready
        ready = ready or b"READY=1" in data.splitlines()


class Watch:
    """Looks at a VE whose init has no word for readiness: sysvinit, OpenRC, busybox.

    Ready means: a run level of users has been reached (sysvinit writes it to utmp), no boot script
    runs, and init was asleep all the while we looked, so that it is not just about to start one.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.seen_script = False

    def ready(self) -> bool:
        """True when the boot is over."""
        before = self._switches()
        level = _run_level(f"/proc/{self.pid}/root/run/utmp")
        if level is not None and level not in "2345":
            return False
        names = self._names()
        # A child that still has init's own name is about to become a script.
        running = any(name in _BOOT_SCRIPTS or name == names[0] for name in names[1:])
        self.seen_script = self.seen_script or running
        if running or (level is None and not self.seen_script):
            return False
        return before != "" and before == self._switches()

    def _switches(self) -> str:
        """How often init slept so far, or "" when it does not sleep now (proc_pid_status(5))."""
        try:
            with open(f"/proc/{self.pid}/status", encoding="utf-8", errors="replace") as file:
                rows = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        except OSError:
            return ""
        return rows.get("voluntary_ctxt_switches", "") if rows.get("State", "").startswith("S") else ""

    def _names(self) -> list[str]:
        """The name of init and those of all below it."""
        names = []
        todo = [self.pid]
        while todo:
            pid = todo.pop(0)
            try:
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                    names.append(file.read().strip())
                with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
                    todo += [int(word) for word in file.read().split()]
            except OSError:
                continue
        return names or [""]


def _run_level(path: str) -> str | None:
    """The run level that utmp names, None while it names none."""
    try:
        # The VE chose what lies there: neither a link nor a fifo may lead or stop us.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with open(fd, "rb") as file:
        data = file.read(_UTMP_SIZE * 1024)
    level = None
    for start in range(0, len(data) - _UTMP_SIZE + 1, _UTMP_SIZE):
        kind, pid = struct.unpack_from("h2xi", data, start)
        if kind == _RUN_LEVEL and pid & 0xFF:
            level = chr(pid & 0xFF)
    return level
