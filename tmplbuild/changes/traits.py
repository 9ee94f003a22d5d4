"""What those who use a template count on: its init, its network's configuration, its way in by ssh...

All is told by the signs that a tree carries, whatever family it is of.
"""

from __future__ import annotations

import re
import shlex
import struct
from collections.abc import Iterator

from tmplbuild.changes.facts import Traits
from tmplbuild.checks.subject import Subject
from tmplbuild.checks.view import View

# e_machine of elf(5); what its word is in the names of OpenVZ's templates, or uname's
_MACHINES = {
    2: "sparc", 3: "x86", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 43: "sparc64",
    62: "x86_64", 183: "aarch64", 243: "riscv", 258: "loongarch", 0x9026: "alpha",
}  # fmt: skip

# Of several inits in a tree, /sbin/init leads to the one in use.
_INITS = {"systemd": "systemd", "openrc-init": "openrc", "runit-init": "runit", "s6-svscan": "s6"}

# (what it is called, services one of which starts, a path that must be there): the first that fits. Managers
# write the configuration of the first kinds even where a service of a later one runs as well.
_NETWORKS = (
    ("ifupdown", (), "/sbin/ifup"),
    ("etcnet", (), "/etc/net/ifaces"),
    ("netplan", (), "/usr/sbin/netplan"),
    ("wicked", ("wicked.service", "wickedd.service"), ""),
    ("ifcfg", ("network.service", "network"), "/etc/sysconfig/network-scripts"),
    ("NetworkManager", ("NetworkManager.service", "NetworkManager"), ""),
    ("networkd", ("systemd-networkd.service", "systemd-networkd.socket"), ""),
    ("netctl", (), "/usr/bin/netctl"),
    ("netifrc", (), "/etc/init.d/net.lo"),
    ("connman", ("connman.service", "connman"), ""),
    ("slackware", (), "/etc/rc.d/rc.inet1"),
)
_RESOLVERS = ("systemd-resolved.service", "resolvconf.service", "resolvconf", "dnsmasq.service", "dnsmasq")
_SSH_SERVERS = (("openssh", "/usr/sbin/sshd"), ("dropbear", "/usr/sbin/dropbear"))
_SSH_UNITS = frozenset({"ssh.service", "ssh.socket", "sshd.service", "sshd.socket", "ssh", "sshd",
                        "dropbear.service", "dropbear.socket", "dropbear"})  # fmt: skip
_SSH_CONFIGS = ("/etc/ssh/sshd_config", "/etc/openssh/sshd_config")
_SSH_KEYS = ("/etc/ssh/ssh_host_*_key", "/etc/openssh/ssh_host_*_key", "/etc/dropbear/dropbear_*_host_key")
_MOST_INCLUDES = 100


def traits(subject: Subject) -> Traits:
    """The traits of a tree."""
    view = subject.view
    release = os_release(view)
    server = next((name for name, path in _SSH_SERVERS if view.is_file(path)), "")
    said = _sshd(view) if server == "openssh" else {}
    return Traits(
        distribution=release.get("ID", ""),
        release=release.get("VERSION_ID", ""),
        arch=_arch(view),
        libc=_libc(view),
        usr="merged" if view.is_link("/bin") else "split",
        shell=_last_name(view, "/bin/sh"),
        init=_init(view),
        network=_network(subject),
        resolver=_resolver(subject),
        ssh=f"{server}, {'started' if _starts(subject, _SSH_UNITS) else 'not started'}" if server else "",
        ssh_root=said.get("permitrootlogin", "prohibit-password") if server == "openssh" else "",
        ssh_passwords=said.get("passwordauthentication", "yes") if server == "openssh" else "",
        ssh_keys=("in the template" if view.glob(*_SSH_KEYS) else "none") if server else "",
    )


def os_release(view: View) -> dict[str, str]:
    """os-release(5), as the assignments in it; empty where there is none."""
    path = "/etc/os-release" if view.is_file("/etc/os-release") else "/usr/lib/os-release"
    found = {}
    for line in view.lines(path):
        name, sign, value = line.strip().partition("=")
        if sign and not name.startswith("#"):
            try:
                found[name] = " ".join(shlex.split(value))
            except ValueError:  # a quote that does not end
                found[name] = value.strip("\"'")
    return found


def _arch(view: View) -> str:
    head = view.read("/bin/sh", 20)
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return ""
    (machine,) = struct.unpack_from("<H" if head[5] == 1 else ">H", head, 18)
    name = _MACHINES.get(machine, f"machine {machine}")
    return f"{name}{32 if head[4] == 1 else 64}" if name in ("riscv", "loongarch") else name


def _libc(view: View) -> str:
    folders = ("/lib", "/lib32", "/lib64", "/lib/*-linux-gnu*")
    if view.glob("/lib/ld-musl-*", "/usr/lib/ld-musl-*"):
        return "musl"
    return "glibc" if view.glob(*(f"{folder}/ld-linux*.so*" for folder in folders)) else ""


def _last_name(view: View, path: str) -> str:
    entry = view.stat(path)
    return entry.name if entry is not None else ""


def _init(view: View) -> str:
    name = _last_name(view, "/sbin/init")
    if name in _INITS:
        return _INITS[name]
    if not name:
        return ""
    if view.exists("/sbin/openrc") and view.is_dir("/etc/runlevels"):
        return "openrc"
    if view.exists("/etc/inittab"):
        return "busybox" if name == "busybox" else "sysvinit"
    return "upstart" if view.glob("/etc/init/*.conf") else name


def _network(subject: Subject) -> str:
    for name, units, path in _NETWORKS:
        if (not path or subject.view.exists(path)) and (not units or _starts(subject, frozenset(units))):
            return name
    return ""


def _resolver(subject: Subject) -> str:
    for unit in _RESOLVERS:
        if subject.services.get(unit) == "enabled":
            return unit.removesuffix(".service")
    return "resolv.conf"


def _starts(subject: Subject, units: frozenset[str]) -> bool:
    return any(subject.services.get(unit) == "enabled" for unit in units)


def _sshd(view: View) -> dict[str, str]:
    """What sshd_config(5) says outside of Match blocks: of several values the first one counts."""
    found: dict[str, str] = {}
    for name, value in _sshd_lines(
        view, _SSH_CONFIGS[0] if view.is_file(_SSH_CONFIGS[0]) else _SSH_CONFIGS[1]
    ):
        found.setdefault(name, value)
    return found


def _sshd_lines(view: View, path: str, left: int = _MOST_INCLUDES) -> Iterator[tuple[str, str]]:
    folder = path.rpartition("/")[0]
    for line in view.lines(path):
        match = re.match(r"\s*(\w+)(?:\s*=\s*|\s+)\"?([^\"#]+?)\"?\s*(?:#.*)?$", line)
        if match is None:
            continue
        name, value = match[1].lower(), match[2]
        if name == "match":
            return
        if name == "include" and left > 0:
            patterns = [one if one.startswith("/") else f"{folder}/{one}" for one in value.split()]
            for entry in view.glob(*patterns):
                yield from _sshd_lines(view, entry.path, left // 10)
        else:
            yield name, value
