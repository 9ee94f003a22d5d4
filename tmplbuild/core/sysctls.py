"""The kernel's settings that a host of many VEs should have, as OpenVZ's documents recommend for theirs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sysctl:
    """One setting: what it is, what it should be, and why.

    `at_least`: more is well, too. `found` is None where the kernel has none.
    """

    name: str
    wanted: str
    why: str
    found: str | None = None
    at_least: bool = False

    @property
    def is_set(self) -> bool:
        """Whether nothing is to be done about it."""
        if self.at_least and self.found is not None:
            return int(self.found) >= int(self.wanted)
        return self.found in (None, self.wanted)

    @property
    def line(self) -> str:
        """The line for sysctl.conf(5)."""
        return f"{self.name} = {self.wanted}"


INOTIFY = "fs.inotify.max_user_instances"
"""All VEs' inits share this allowance: with the usual 128, some 18 systemds run at once."""

RECOMMENDED = (
    Sysctl("net.ipv4.ip_forward", "1", "VEs reach beyond this host, and are reached from there"),
    Sysctl("net.ipv6.conf.all.forwarding", "1", "the same in IPv6"),
    Sysctl("net.ipv6.conf.default.forwarding", "1", "the same on devices to come"),
    Sysctl(
        "net.ipv6.conf.all.proxy_ndp", "1", "the host answers for VEs whose addresses are of its own networks"
    ),
    Sysctl("net.ipv4.conf.default.proxy_arp", "0", "it answers for VEs only, each by an entry of its own"),
    Sysctl("net.ipv4.conf.all.rp_filter", "1", "nobody can send with another's address"),
    Sysctl("net.ipv4.conf.all.send_redirects", "0", "others are not told ways around the host"),
    Sysctl(INOTIFY, "2048", "more than some 18 VEs with systemd can run at once", at_least=True),
)


def found(proc_sys: Path = Path("/proc/sys")) -> tuple[Sysctl, ...]:
    """The recommended settings as they are on this machine."""
    return tuple(replace(row, found=_read(proc_sys / row.name.replace(".", "/"))) for row in RECOMMENDED)


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
