"""Addresses of venet0 in the files of each network system: one function each, named in data/*.toml.

Every function is handed the draft and the wish; without addresses it takes away what it wrote. The
device is made, and its routes to the host are set, by the core: the files keep what it has set over
a restart of the network inside, so all of them may find an address there already.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

from tmplbuild.vz.dists.draft import BEGIN, Draft
from tmplbuild.vz.dists.wish import DEVICE, Wish

_ROUTE4 = f"ip route replace default dev {DEVICE}"
_ROUTE6 = f"ip -6 route replace default dev {DEVICE}"


def ifupdown(draft: Draft, wish: Wish) -> None:
    """interfaces(5) of Debian, of Alpine's ifupdown-ng and of busybox.

    The addresses are set by commands: `address` lines for several would need several stanzas, which
    busybox refuses, and would fail on an address that is there already.
    """
    path = "/etc/network/interfaces"
    text = _without_stanzas(draft.text(path) or "")
    if not re.search(r"(?m)^\s*iface\s+lo\b", text) and not draft.is_dir("/etc/network/interfaces.d"):
        text = "auto lo\niface lo inet loopback\n\n" + text
    draft.write(path, text)
    rows = [f"auto {DEVICE}\n", f"iface {DEVICE} inet manual\n", f"\tup ip link set {DEVICE} up\n"]
    rows += [f"\tup ip addr replace {one}/32 dev {DEVICE}\n" for one in wish.v4]
    rows += [f"\tup ip -6 addr replace {one}/128 dev {DEVICE}\n" for one in wish.v6]
    rows += [f"\tup {_ROUTE4}\n"] if wish.v4 else []
    rows += [f"\tup {_ROUTE6}\n"] if wish.v6 else []
    rows += [f"\tdown ip addr flush dev {DEVICE}\n", f"\tdown ip link set {DEVICE} down\n"]
    draft.block(path, "".join(rows) if wish.addresses else "")
    draft.run(f"ifdown --force {DEVICE} >/dev/null 2>&1 || ip addr flush dev {DEVICE}")
    if wish.addresses:
        draft.run(f"ifup --force {DEVICE}")


def _without_stanzas(text: str) -> str:
    """interfaces(5) without stanzas of venet0 that somebody else wrote, vzctl for one."""
    kept: list[str] = []
    skipping = ours = False
    for line in text.splitlines(keepends=True):
        words = line.split()
        if line.startswith(BEGIN):
            ours = True
        if not ours and words and words[0] in ("auto", "iface", "mapping", "source", "source-directory") + (
            "allow-hotplug", "no-auto-down", "no-scripts", "rename", "template",
        ):  # fmt: skip
            skipping = len(words) > 1 and words[1].partition(":")[0] == DEVICE
        if not skipping:
            kept.append(line)
        if line.startswith("# end of"):
            ours = False
    return "".join(kept)


def netplan(draft: Draft, wish: Wish) -> None:
    """netplan(5): YAML, its owner's alone, or netplan complains."""
    path = f"/etc/netplan/60-{DEVICE}.yaml"
    if wish.addresses:
        rows = ["network:", "  version: 2", "  ethernets:", f"    {DEVICE}:", "      dhcp4: false"]
        rows += ["      dhcp6: false", "      accept-ra: false", "      optional: true", "      addresses:"]
        rows += [f"      - {one}/32" for one in wish.v4] + [f'      - "{one}/128"' for one in wish.v6]
        rows += ["      routes:"]
        rows += ["      - to: 0.0.0.0/0", "        scope: link"] if wish.v4 else []
        rows += ['      - to: "::/0"', "        scope: link"] if wish.v6 else []
        draft.write(path, "\n".join(rows) + "\n", 0o600)
    else:
        draft.remove(path)
    draft.run("netplan apply")


def networkd(draft: Draft, wish: Wish) -> None:
    """systemd.network(5)."""
    path = f"/etc/systemd/network/10-{DEVICE}.network"
    if wish.addresses:
        rows = [
            "[Match]",
            f"Name={DEVICE}",
            "",
            "[Network]",
            "DHCP=no",
            "LinkLocalAddressing=no",
            "IPv6AcceptRA=no",
        ]
        rows += [f"Address={one}/32" for one in wish.v4] + [f"Address={one}/128" for one in wish.v6]
        for there, to in ((wish.v4, "0.0.0.0/0"), (wish.v6, "::/0")):
            rows += ["", "[Route]", f"Destination={to}", "Scope=link"] if there else []
        draft.write(path, "\n".join(rows) + "\n", 0o644)
    else:
        draft.remove(path)
    draft.run("networkctl reload 2>/dev/null || systemctl restart systemd-networkd")
    draft.run(f"networkctl reconfigure {DEVICE} 2>/dev/null || true")
    if wish.addresses:
        draft.run(f"/lib/systemd/systemd-networkd-wait-online --interface={DEVICE}:degraded --timeout=120")


def etcnet(draft: Draft, wish: Wish) -> None:
    """etcnet(8) of ALT."""
    folder = f"/etc/net/ifaces/{DEVICE}"
    files = {
        "options": "BOOTPROTO=static\nONBOOT=yes\nTYPE=lo\n" + ("CONFIG_IPV6=yes\n" if wish.v6 else ""),
        "ipv4address": "".join(f"{one}/32\n" for one in wish.v4),
        "ipv4route": f"default dev {DEVICE}\n" if wish.v4 else "",
        "ipv6address": "".join(f"{one}/128\n" for one in wish.v6),
        "ipv6route": f"default dev {DEVICE}\n" if wish.v6 else "",
    }
    draft.run(f"ifdown {DEVICE} >/dev/null 2>&1 || ip addr flush dev {DEVICE}")
    if wish.addresses:
        for name, text in files.items():
            draft.write(f"{folder}/{name}", text) if text else draft.remove(f"{folder}/{name}")
        draft.assign("/etc/sysconfig/network", {"NETWORKING": "yes"})
        draft.run(f"ifup {DEVICE}")
    else:
        draft.remove(folder)


def ifcfg(draft: Draft, wish: Wish) -> None:
    """sysconfig/network-scripts of Red Hat's kin: one file an address, as all their releases read them."""
    folder = "/etc/sysconfig/network-scripts"
    wanted: dict[str, str] = {}
    for number, one in enumerate(wish.v4):
        device = DEVICE if number == 0 else f"{DEVICE}:{number - 1}"
        rows = [
            f"DEVICE={device}",
            "BOOTPROTO=static",
            f"IPADDR={one}",
            "NETMASK=255.255.255.255",
            "PREFIX=32",
        ]
        rows += ["ONBOOT=yes", "ARPCHECK=no"] if number == 0 else ["ONPARENT=yes", "ARPCHECK=no"]
        wanted[f"ifcfg-{device}"] = "\n".join(rows) + "\n"
    if wish.v6:
        first = wanted.get(f"ifcfg-{DEVICE}", f"DEVICE={DEVICE}\nBOOTPROTO=static\nONBOOT=yes\nARPCHECK=no\n")
        first += f"IPV6INIT=yes\nIPV6_AUTOCONF=no\nIPV6ADDR={wish.v6[0]}/128\nIPV6_DEFAULTDEV={DEVICE}\n"
        if wish.v6[1:]:
            first += 'IPV6ADDR_SECONDARIES="' + " ".join(f"{one}/128" for one in wish.v6[1:]) + '"\n'
        wanted[f"ifcfg-{DEVICE}"] = first
    if wish.v4:
        wanted[f"route-{DEVICE}"] = f"default dev {DEVICE}\n"
    _only(draft, folder, (f"ifcfg-{DEVICE}", f"route-{DEVICE}"), wanted)
    if wish.addresses:
        draft.assign("/etc/sysconfig/network", {"NETWORKING": "yes", "GATEWAYDEV": DEVICE})
    elif re.search(rf'(?m)^GATEWAYDEV="?{DEVICE}', draft.text("/etc/sysconfig/network") or ""):
        draft.assign("/etc/sysconfig/network", {"GATEWAYDEV": None})
    draft.run(f"ifdown {DEVICE} >/dev/null 2>&1 || ip addr flush dev {DEVICE}")
    if wish.addresses:
        draft.run(f"ifup {DEVICE}")


def _only(draft: Draft, folder: str, kinds: tuple[str, ...], wanted: dict[str, str]) -> None:
    """Write these files, and remove others of our kinds (NAME and NAME:N)."""
    for name in draft.names(folder):
        if name.partition(":")[0] in kinds and name not in wanted:
            draft.remove(f"{folder}/{name}")
    for name, text in wanted.items():
        draft.write(f"{folder}/{name}", text)


def keyfile(draft: Draft, wish: Wish) -> None:
    """nm-settings-keyfile(5): NetworkManager reads only what is its owner's alone."""
    path = f"/etc/NetworkManager/system-connections/{DEVICE}.nmconnection"
    if wish.addresses:
        rows = [
            "[connection]",
            f"id={DEVICE}",
            f"uuid={uuid.uuid5(uuid.NAMESPACE_DNS, DEVICE)}",
            "type=ethernet",
        ]
        rows += [f"interface-name={DEVICE}", "autoconnect=true", "", "[ipv4]"]
        rows += ["method=manual" if wish.v4 else "method=disabled"]
        rows += [f"address{number}={one}/32" for number, one in enumerate(wish.v4, 1)]
        rows += ["route1=0.0.0.0/0"] if wish.v4 else []
        rows += ["", "[ipv6]", "method=manual" if wish.v6 else "method=disabled"]
        rows += [f"address{number}={one}/128" for number, one in enumerate(wish.v6, 1)]
        rows += ["route1=::/0"] if wish.v6 else []
        draft.write(path, "\n".join(rows) + "\n", 0o600)
        draft.run(f"nmcli connection reload && nmcli connection up {DEVICE}")
    else:
        draft.run(f"nmcli connection down {DEVICE} >/dev/null 2>&1 || true")
        draft.remove(path)
        draft.run("nmcli connection reload")


def suse(draft: Draft, wish: Wish) -> None:
    """ifcfg(5) and routes(5) of SUSE, for wicked and for what came before it."""
    folder = "/etc/sysconfig/network"
    wanted: dict[str, str] = {}
    if wish.addresses:
        rows = ["STARTMODE='auto'", "BOOTPROTO='static'"]
        for number, (one, length) in enumerate([(a, 32) for a in wish.v4] + [(a, 128) for a in wish.v6]):
            rows += [f"IPADDR_{number}='{one}'", f"PREFIXLEN_{number}='{length}'"]
        wanted[f"ifcfg-{DEVICE}"] = "\n".join(rows) + "\n"
        routes = [f"default - - {DEVICE}"] if wish.v4 else []
        routes += [f"::/0 - - {DEVICE}"] if wish.v6 else []
        wanted[f"ifroute-{DEVICE}"] = "\n".join(routes) + "\n"
    _only(draft, folder, (f"ifcfg-{DEVICE}", f"ifroute-{DEVICE}"), wanted)
    draft.run(f"ifdown {DEVICE} >/dev/null 2>&1 || ip addr flush dev {DEVICE}")
    if wish.addresses:
        draft.run(f"ifup {DEVICE}")


def netctl(draft: Draft, wish: Wish) -> None:
    """netctl.profile(5) of Arch, enabled as `netctl enable` does."""
    profile = f"/etc/netctl/{DEVICE}"
    wants = f"/etc/systemd/system/multi-user.target.wants/netctl@{DEVICE}.service"
    draft.run(f"netctl stop {DEVICE} >/dev/null 2>&1 || true")
    if wish.addresses:
        v4, v6 = ([f"'{one}/{length}'" for one in found] for found, length in ((wish.v4, 32), (wish.v6, 128)))
        rows = [f"Interface={DEVICE}", "Connection=ethernet", "SkipNoCarrier=yes", "SkipDAD=yes"]
        rows += ["IP=static", f"Address=({' '.join(v4)})", "Routes=('default')"] if v4 else ["IP=no"]
        rows += ["IP6=static", f"Address6=({' '.join(v6)})", "Routes6=('default')"] if v6 else []
        draft.write(profile, "\n".join(rows) + "\n")
        draft.symlink("/usr/lib/systemd/system/netctl@.service", wants)
        draft.run(f"systemctl daemon-reload; netctl start {DEVICE}")
    else:
        draft.remove(profile)
        draft.remove(wants)


def slackware(draft: Draft, wish: Wish) -> None:
    """rc.inet1.conf knows numbered interfaces with one address each; the rest is done by rc.local."""
    commands = [f"ip link set {DEVICE} up"]
    commands += [f"ip addr replace {one}/32 dev {DEVICE}" for one in wish.v4]
    commands += [f"ip -6 addr replace {one}/128 dev {DEVICE}" for one in wish.v6]
    commands += [_ROUTE4] if wish.v4 else []
    commands += [_ROUTE6] if wish.v6 else []
    inet1 = ""
    if wish.v4:
        inet1 = f'IFNAME[0]="{DEVICE}"\nIPADDR[0]="{wish.v4[0]}"\nNETMASK[0]="255.255.255.255"\n'
        inet1 += 'USE_DHCP[0]=""\nDHCP_HOSTNAME[0]=""\n'
    draft.block("/etc/rc.d/rc.inet1.conf", inet1)
    path = "/etc/rc.d/rc.local"
    if draft.text(path) is None and wish.addresses:
        draft.write(path, "#!/bin/sh\n", 0o755)
    draft.block(path, "".join(f"{line}\n" for line in commands) if wish.addresses else "", 0o755)
    draft.run(f"ip addr flush dev {DEVICE}")
    for line in commands if wish.addresses else []:
        draft.run(line)


def gentoo(draft: Draft, wish: Wish) -> None:
    """conf.d/net of netifrc, and the link that makes a service of the device."""
    service, level = f"/etc/init.d/net.{DEVICE}", f"/etc/runlevels/default/net.{DEVICE}"
    text = ""
    if wish.addresses:
        addresses = [f"{one}/32" for one in wish.v4] + [f"{one}/128" for one in wish.v6]
        routes = ["default scope link metric 0"] if wish.v4 else []
        routes += ["::/0 scope link metric 0"] if wish.v6 else []
        text = f'config_{DEVICE}="{_rows(addresses)}"\nroutes_{DEVICE}="{_rows(routes)}"\n'
    draft.block("/etc/conf.d/net", text)
    if wish.addresses:
        draft.symlink("net.lo", service)
        draft.symlink(service, level)
        draft.run(f"rc-service net.{DEVICE} restart")
    else:
        draft.run(f"rc-service net.{DEVICE} stop >/dev/null 2>&1 || true")
        draft.remove(level)
        draft.remove(service)


def _rows(items: list[str]) -> str:
    return "\n".join(items)


def _has_networkd(draft: Draft) -> bool:
    folder = "/etc/systemd/system"
    wants = (f"{folder}/multi-user.target.wants", f"{folder}/sysinit.target.wants")
    return any("systemd-networkd.service" in draft.names(place) for place in wants) or (
        draft.link(f"{folder}/dbus-org.freedesktop.network1.service") is not None
    )


WRITERS: dict[str, tuple[Callable[[Draft], bool], Callable[[Draft, Wish], None]]] = {
    "netplan": (lambda d: d.is_program("/usr/sbin/netplan", "/sbin/netplan"), netplan),
    "networkd": (_has_networkd, networkd),
    "ifupdown": (
        lambda d: d.is_program("/sbin/ifup", "/usr/sbin/ifup") and d.is_dir("/etc/network"),
        ifupdown,
    ),
    "etcnet": (lambda d: d.is_dir("/etc/net/ifaces"), etcnet),
    "ifcfg": (
        lambda d: (
            d.is_dir("/etc/sysconfig/network-scripts")
            and (d.is_program("/sbin/ifup", "/usr/sbin/ifup") or not d.is_program("/usr/sbin/NetworkManager"))
        ),
        ifcfg,
    ),
    "keyfile": (lambda d: d.is_program("/usr/sbin/NetworkManager", "/usr/bin/NetworkManager"), keyfile),
    "suse": (
        lambda d: d.is_dir("/etc/sysconfig/network") and not d.is_program("/usr/sbin/NetworkManager"),
        suse,
    ),
    "netctl": (lambda d: d.is_program("/usr/bin/netctl"), netctl),
    "slackware": (lambda d: d.exists("/etc/rc.d/rc.inet1.conf"), slackware),
    "gentoo": (lambda d: d.is_dir("/etc/conf.d") and d.exists("/etc/init.d/net.lo"), gentoo),
}
"""By name: whether a tree has that network system, and what writes its files."""
