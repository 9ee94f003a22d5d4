"""A VE's name and name servers in its files: one function each way, named in data/*.toml."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

from tmplbuild.vz.dists.draft import Draft
from tmplbuild.vz.dists.wish import Wish

_HOSTS = "/etc/hosts"
_MARK = "# Auto-generated hostname. Please do not remove this comment."  # vzctl's, so that either finds it
_RESOLV = "/etc/resolv.conf"


def etc_hostname(draft: Draft, wish: Wish) -> None:
    """hostname(5), without the domain, as Debian has it; the domain stands in hosts(5)."""
    draft.write("/etc/hostname", f"{wish.short}\n")


def etc_hostname_full(draft: Draft, wish: Wish) -> None:
    """hostname(5) with the domain, as Red Hat has it."""
    draft.write("/etc/hostname", f"{wish.hostname}\n")


def upper_hostname(draft: Draft, wish: Wish) -> None:
    """/etc/HOSTNAME of SUSE and Slackware, with the domain."""
    if not draft.link("/etc/HOSTNAME"):  # SUSE's leads to /etc/hostname
        draft.write("/etc/HOSTNAME", f"{wish.hostname}\n")


def sysconfig(draft: Draft, wish: Wish) -> None:
    """HOSTNAME of sysconfig/network, where that is a file: Red Hat's kin before systemd, and ALT."""
    if draft.text("/etc/sysconfig/network") is not None:
        draft.assign("/etc/sysconfig/network", {"HOSTNAME": wish.hostname})


def confd(draft: Draft, wish: Wish) -> None:
    """conf.d/hostname of OpenRC."""
    draft.assign("/etc/conf.d/hostname", {"hostname": wish.short})


def rcconf(draft: Draft, wish: Wish) -> None:
    """HOSTNAME of rc.conf, where it is still there: Arch before systemd."""
    if re.search(r"(?m)^HOSTNAME=", draft.text("/etc/rc.conf") or ""):
        draft.assign("/etc/rc.conf", {"HOSTNAME": wish.short})


def hosts(draft: Draft, wish: Wish) -> None:
    """hosts(5): a line under vzctl's mark, so that the name resolves without a server."""
    lines = (draft.text(_HOSTS) or "").splitlines()
    if _MARK in lines:
        at = lines.index(_MARK)
        del lines[at : at + 2]
    names = [name for name in (wish.hostname, wish.short) if name]
    # Debian's way for a machine without a fixed address: hostname --fqdn must not need a server
    address = (wish.v4 or wish.v6 or ["127.0.1.1"])[0]
    line = " ".join([address, *dict.fromkeys(names)])
    draft.write(_HOSTS, "\n".join([*lines, _MARK, line]) + "\n")


NAMES: dict[str, Callable[[Draft, Wish], None]] = {
    "hostname": etc_hostname,
    "hostname-full": etc_hostname_full,
    "HOSTNAME": upper_hostname,
    "sysconfig": sysconfig,
    "conf.d": confd,
    "rc.conf": rcconf,
    "hosts": hosts,
}


def name_now(draft: Draft, wish: Wish) -> None:
    """Give a running VE its name at once: by hostname(1), which is not everywhere, or systemd's own.

    /proc/sys cannot be written from a user namespace.
    """
    name = shlex.quote(wish.short)
    draft.run(f"hostname {name} 2>/dev/null || hostnamectl --transient set-hostname {name}")


def _entries(wish: Wish, before: str) -> str:
    """resolv.conf(5) with new servers or domains; what is not wished for is kept."""
    kept = []
    for line in before.splitlines():
        word = line.split()[0] if line.split() else ""
        replaced = (word == "nameserver" and wish.nameservers is not None) or (
            word in ("search", "domain") and wish.searchdomains is not None
        )
        if not replaced:
            kept.append(line)
    rows = [f"search {' '.join(wish.searchdomains)}"] if wish.searchdomains else []
    rows += [f"nameserver {one}" for one in wish.nameservers or ()]
    return "".join(f"{line}\n" for line in [*rows, *kept])


def resolv_conf(draft: Draft, wish: Wish) -> None:
    """A regular resolv.conf(5): a link to what systemd-resolved writes would lead nowhere before boot,
    and resolved itself honours a regular file."""
    before = "" if draft.link(_RESOLV) is not None else draft.text(_RESOLV) or ""
    draft.write(_RESOLV, _entries(wish, before))


def resolvconf(draft: Draft, wish: Wish) -> None:
    """Debian's resolvconf(8): its base file, out of which it makes resolv.conf."""
    path = "/etc/resolvconf/resolv.conf.d/base"
    draft.write(path, _entries(wish, draft.text(path) or ""))
    draft.run("resolvconf -u")


def netconfig(draft: Draft, wish: Wish) -> None:
    """netconfig(8) of SUSE, which rewrites resolv.conf from its own variables; that file as well."""
    values: dict[str, str | None] = {}
    if wish.nameservers is not None:
        values["NETCONFIG_DNS_STATIC_SERVERS"] = " ".join(wish.nameservers)
    if wish.searchdomains is not None:
        values["NETCONFIG_DNS_STATIC_SEARCHLIST"] = " ".join(wish.searchdomains)
    draft.assign("/etc/sysconfig/network/config", values)
    resolv_conf(draft, wish)
    draft.run("netconfig update -f >/dev/null 2>&1 || true")


def etcnet_dns(draft: Draft, wish: Wish) -> None:
    """etcnet(8): resolv.conf of the interface, which it hands to resolvconf; the file in use as well."""
    path = "/etc/net/ifaces/venet0/resolv.conf"
    if draft.is_dir("/etc/net/ifaces/venet0"):
        draft.write(path, _entries(wish, draft.text(path) or ""))
    resolv_conf(draft, wish)


RESOLVERS: dict[str, tuple[Callable[[Draft], bool], Callable[[Draft, Wish], None]]] = {
    "resolvconf": (
        lambda d: d.is_dir("/etc/resolvconf/resolv.conf.d") and "resolvconf" in (d.link(_RESOLV) or ""),
        resolvconf,
    ),
    "netconfig": (lambda d: d.text("/etc/sysconfig/network/config") is not None, netconfig),
    "etcnet": (lambda d: d.is_dir("/etc/net/ifaces"), etcnet_dns),
    "resolv.conf": (lambda d: True, resolv_conf),
}
"""By name: whether a tree resolves names in that way, and what writes its files."""
