"""Rules: the network is the manager's to write."""

from __future__ import annotations

import re

from tmplbuild.checks.rule import Faults, rule
from tmplbuild.checks.subject import Subject

CONFIGS = (
    "/etc/netplan/*.yaml", "/etc/systemd/network/*.network", "/etc/systemd/network/*.netdev",
    "/etc/NetworkManager/system-connections/*", "/etc/sysconfig/network-scripts/ifcfg-*",
    "/etc/sysconfig/network/ifcfg-*", "/etc/netctl/*", "/etc/wicked/ifconfig/*.xml", "/etc/conf.d/net",
)  # fmt: skip
NEUTRAL_CONFIGS = frozenset({"ifcfg-lo", "ifcfg-template", "examples", "hooks", "interfaces"})
ETCNET_NEUTRAL = frozenset({"lo", "default", "unknown"})  # altlinux-etcnet's own
PERSISTENT = (
    "/etc/udev/rules.d/*persistent-net*.rules", "/etc/udev/rules.d/*persistent-cd*.rules",
    "/etc/systemd/network/*.link", "/etc/iftab", "/etc/net/iftab",
)  # fmt: skip
LOCAL_ADDRESS = re.compile(r"(127\.|::1$|fe00::|ff0[0-9]::|0\.0\.0\.0$)")
LOCAL_NAME = re.compile(r"(localhost[\w.-]*|ip6-[a-z]+|loopback|broadcasthost|ipv6-[a-z]+)", re.IGNORECASE)


@rule(
    "resolv-conf-set",
    "/etc/resolv.conf names no server",
    why="The build machine's name servers do not answer elsewhere, and they tell where the template was "
    "made.",
    fix="Empty /etc/resolv.conf (a regular file, mode 0644); managers write it.",
)
def resolv_conf_set(subject: Subject) -> Faults:
    copies = [entry.path for entry in subject.view.glob("/var/**/etc/resolv.conf")]
    heads = ["/etc/resolvconf/resolv.conf.d/original", "/etc/resolvconf/resolv.conf.d/tail"]
    for path in ("/etc/resolv.conf", *heads, *copies):
        for line in subject.view.lines(path):
            if re.match(r"\s*(nameserver|search|domain)\s+\S", line):
                yield path, f"it says: {line.strip()[:80]}"


@rule(
    "resolv-conf-dangling",
    "/etc/resolv.conf is no link that leads nowhere",
    why="vzctl's set_dns.sh edits the file in place and fails on a link to what exists only after boot.",
    fix="Make it an empty regular file, unless the template is for managers that use systemd-resolved.",
    severity="warning",
)
def resolv_conf_dangling(subject: Subject) -> Faults:
    path = "/etc/resolv.conf"
    if subject.view.is_link(path) and not subject.view.exists(path):
        yield path, f"a link to {subject.view.readlink(path)}, which is not there"


@rule(
    "hosts-polluted",
    "/etc/hosts has only this machine's own names",
    why="An entry of the build machine gives a wrong name or address in every container.",
    fix="Leave 127.0.0.1, ::1 and the multicast names; managers add the container's own.",
)
def hosts_polluted(subject: Subject) -> Faults:
    for number, line in enumerate(subject.view.lines("/etc/hosts"), 1):
        address, *names = line.partition("#")[0].split() or [""]
        strange = [name for name in names if not LOCAL_NAME.fullmatch(name)]
        if address and (not LOCAL_ADDRESS.match(address) or strange):
            yield "/etc/hosts", f"line {number} names {' '.join(strange or [address])[:80]}"


@rule(
    "network-config-present",
    "No interface but lo is configured",
    why="Managers write the network's configuration; one that is there already fights with it.",
    fix="Leave lo only, and remove what netplan, networkd or NetworkManager have been told.",
    severity="warning",
)
def network_config_present(subject: Subject) -> Faults:
    for entry in subject.view.glob("/etc/network/interfaces", "/etc/network/interfaces.d/*"):
        for line in subject.view.lines(entry.path):
            match = re.match(r"\s*iface\s+(\S+)", line)
            if match and match[1] != "lo":
                yield entry.path, f"the interface {match[1]} is configured"
    for entry in subject.view.glob(*CONFIGS):
        if entry.kind == "file" and entry.size and entry.name not in NEUTRAL_CONFIGS:
            yield entry.path, "an interface is configured"
    for name in subject.view.listdir("/etc/net/ifaces"):
        if name not in ETCNET_NEUTRAL and subject.view.is_dir(f"/etc/net/ifaces/{name}"):
            yield f"/etc/net/ifaces/{name}", "an interface is configured"


@rule(
    "persistent-device-names",
    "No names are tied to hardware addresses",
    why="Another container has other addresses: its first interface would be called eth1.",
    fix="Remove the generated rules.",
    severity="warning",
)
def persistent_device_names(subject: Subject) -> Faults:
    for entry in subject.view.glob(*PERSISTENT):
        if entry.kind == "file" and entry.size:
            yield entry.path, "names of devices by hardware address"


@rule(
    "ifupdown-missing",
    "Debian's ifup and ifconfig are there",
    why="OpenVZ and Proxmox write /etc/network/interfaces on Debian, OpenVZ's lines call ifconfig and route: "
    "without ifupdown and net-tools the container has no network.",
    fix="Install ifupdown and net-tools.",
    severity="warning",
    families=("dpkg",),
)
def ifupdown_missing(subject: Subject) -> Faults:
    for names in (("/sbin/ifup", "/usr/sbin/ifup"), ("/sbin/ifconfig", "/usr/sbin/ifconfig")):
        if not any(map(subject.view.exists, names)):
            yield names[0], "the program is missing"
