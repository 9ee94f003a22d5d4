"""What a new VE must not share with its siblings, nor leave open: done once, after the template is unpacked.

The same as OpenVZ's postcreate.sh does, but for file capabilities, which our unpacking keeps.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

from tmplbuild.vz.dists.draft import Draft

_SKIP = "VZCTL_POSTCREATE_SKIP"  # a file that says so keeps its times
_NIGHT = range(7)  # hours in which a job that runs at night may run


def spread_cron(draft: Draft) -> None:
    """Other minutes for the jobs of crontab(5): a hundred VEs must not all start them in the same second."""
    paths = ["/etc/crontab", *(f"/etc/cron.d/{name}" for name in draft.names("/etc/cron.d"))]
    for path in paths:
        text = draft.text(path)
        if text is None or _SKIP in text:
            continue
        draft.write(path, "".join(_other_time(line) for line in text.splitlines(keepends=True)))


def _other_time(line: str) -> str:
    found = re.match(r"(\s*)([0-9]+)(\s+)([0-9]+|\S+)(\s+\S+\s+\S+\s+\S+\s+\S)", line)
    if not found:
        return line
    hour = found[4]
    if hour.isdigit() and int(hour) in _NIGHT:
        hour = str(secrets.choice(_NIGHT))
    return f"{found[1]}{secrets.randbelow(60)}{found[3]}{hour}{line[found.end(4) :]}"


def lock_empty_root(draft: Draft) -> None:
    """An empty password of root is locked: the VE is about to get an address."""
    paths = ["/etc/passwd", "/etc/shadow", "/etc/tcb/root/shadow"]
    for path in paths:
        text = draft.text(path)
        if text is not None and re.search(r"(?m)^root::", text):
            draft.write(path, re.sub(r"(?m)^root::", "root:!!:", text))


def localhost(draft: Draft) -> None:
    """hosts(5) knows the loopback addresses."""
    text = draft.text("/etc/hosts") or ""
    known = {line.split()[0] for line in text.splitlines() if line.split()}
    rows = {"127.0.0.1": "localhost.localdomain localhost", "::1": "localhost.localdomain localhost"}
    new = "".join(f"{address} {names}\n" for address, names in rows.items() if address not in known)
    if new:
        draft.write("/etc/hosts", text + ("\n" if text and not text.endswith("\n") else "") + new)


def resolv_conf(draft: Draft) -> None:
    """resolv.conf(5) is there, if empty: programs of old wait for the one on localhost without it."""
    if draft.link("/etc/resolv.conf") is None and draft.text("/etc/resolv.conf") is None:
        draft.write("/etc/resolv.conf", "")


def machine_id(draft: Draft) -> None:
    """machine-id(5) is emptied: a template that was not cleaned would make all its VEs the same machine."""
    if draft.text("/etc/machine-id"):
        draft.write("/etc/machine-id", "")
    other = "/var/lib/dbus/machine-id"
    if draft.link(other) is None and draft.text(other):
        draft.remove(other)


STEPS: dict[str, Callable[[Draft], None]] = {
    "cron": spread_cron,
    "root": lock_empty_root,
    "hosts": localhost,
    "resolv.conf": resolv_conf,
    "machine-id": machine_id,
}
