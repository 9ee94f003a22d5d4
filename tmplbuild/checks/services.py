"""Which services a tree starts at boot, under any of the inits that templates have."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tmplbuild.checks.view import Entry, View

UNIT_ROOTS = ("/etc/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system")
_STARTABLE = ("service", "socket", "timer", "path", "mount", "automount")
_NO_SCRIPTS = frozenset({"functions", "functions.sh", "rc", "rcS", "skeleton", "template", "outformat"})


def started(view: View) -> dict[str, str]:
    """Name of each service that a boot starts, and the path that makes it start.

    systemd units go by their full name (ssh.service), the scripts of sysvinit, OpenRC and upstart
    by theirs (ssh). The init is what /sbin/init leads to: a tree may hold the files of several.
    """
    if _is_systemd(view):
        return dict(_systemd(view))
    return dict(_scripts(view)) | dict(_upstart(view))


def _is_systemd(view: View) -> bool:
    init = view.stat("/sbin/init") or view.stat("/lib/systemd/systemd")
    return init is not None and init.name == "systemd"


def states(view: View) -> dict[str, str]:
    """Whether a boot starts each service that could be started: "enabled", "disabled" or "masked".

    systemd units that only others call upon (no [Install], not wanted by anything) are left out.
    """
    found = dict.fromkeys(started(view), "enabled")
    if _is_systemd(view):
        for entry in view.glob(*(f"{root}/*.{kind}" for root in UNIT_ROOTS for kind in _STARTABLE)):
            if entry.name in found:
                continue
            if masked(view, entry.name):
                found[entry.name] = "masked"
            elif any(line.strip() == "[Install]" for line in view.lines(entry.path)):
                found[entry.name] = "disabled"
    else:
        for entry in view.glob("/etc/init.d/*", "/etc/rc.d/init.d/*"):
            if entry.kind == "file" and entry.mode & 0o111 and entry.name not in _NO_SCRIPTS:
                found.setdefault(entry.name, "disabled")
    return dict(sorted(found.items()))


def masked(view: View, unit: str) -> bool:
    """True for a unit that is a link to /dev/null or an empty file in /etc (systemd.unit(5))."""
    entry = view.lstat(f"/etc/systemd/system/{unit}")
    if entry is None:
        return False
    return entry.target == "/dev/null" if entry.kind == "link" else entry.kind == "file" and not entry.size


def _systemd(view: View) -> Iterator[tuple[str, str]]:
    patterns = [f"{root}/*.{kind}/*" for root in UNIT_ROOTS for kind in ("wants", "requires", "upholds")]
    for entry in view.glob(*patterns):
        if not masked(view, entry.name) and not (entry.kind == "link" and entry.target == "/dev/null"):
            yield entry.name, entry.path


def _scripts(view: View) -> Iterator[tuple[str, str]]:
    for entry in view.glob("/etc/rc[S2345].d/S[0-9][0-9]*", "/etc/rc.d/rc[S2345].d/S[0-9][0-9]*"):
        yield entry.name[3:], entry.path
    for entry in view.glob("/etc/runlevels/*/*"):
        yield entry.name, entry.path


def _upstart(view: View) -> Iterator[tuple[str, str]]:
    for entry in view.glob("/etc/init/*.conf", "/etc/event.d/*"):
        name = entry.name.removesuffix(".conf")
        override = view.lines(f"/etc/init/{name}.override")
        starts = any(re.match(r"\s*start on\b", line) for line in view.lines(entry.path))
        if starts and not any(line.strip() == "manual" for line in override):
            yield name, entry.path


def inittab(view: View) -> Iterator[tuple[str, Entry]]:
    """The lines of /etc/inittab that are in force: inittab(5)."""
    entry = view.stat("/etc/inittab")
    if entry is not None:
        for line in view.lines(entry.path):
            if line.count(":") >= 3 and not line.lstrip().startswith("#"):
                yield line, entry
