"""Address translation for VEs: one table of nftables' a VE, or tagged rules where there is iptables only.

What a VE sends beyond this host then bears the host's address. Traffic from VE to VE keeps its own: all
host ends are in one link group. The table bears the name of the VE's device, so that it is found by it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from tmplbuild.core.process import run
from tmplbuild.errors import HostError

_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_NAMES = ("nft", "iptables-nft", "iptables")
_TIMEOUT_S = 120.0
_FORWARDING = {
    "net.ipv4.ip_forward": "/proc/sys/net/ipv4/ip_forward",
    "net.ipv6.conf.all.forwarding": "/proc/sys/net/ipv6/conf/all/forwarding",
}


def translate(tool: str, device: str, addresses: Sequence[str], group: int) -> None:
    """Have exactly these addresses of a VE translated, by `tool`. Raises HostError, StageError.

    Parameters:
        group: the link group of all VEs' devices (ip-link(8)): what goes to them is left as it is.
    """
    for address in addresses:
        _need_forwarding("net.ipv6.conf.all.forwarding" if ":" in address else "net.ipv4.ip_forward")
    if _is_nft(tool):
        rules = "".join(
            f"    {'ip6' if ':' in address else 'ip'} saddr {address} oifgroup != {group} masquerade\n"
            for address in addresses
        )
        text = (
            f"table inet {_table(device)}\ndelete table inet {_table(device)}\n"
            f"table inet {_table(device)} {{\n  chain postrouting {{\n"
            f"    type nat hook postrouting priority 100;\n{rules}  }}\n}}\n"
        )
        _run([tool, "-f", "-"], text)
        return
    forget(tool, device)
    for address in addresses:
        _run([_of_family(tool, address), "-w", "-t", "nat", "-A", *_rule(device, address, group)])


def forget(tool: str, device: str) -> None:
    """Remove all that translates for a VE. Idempotent. Raises HostError, StageError."""
    if _is_nft(tool):
        _run([tool, "-f", "-"], f"table inet {_table(device)}\ndelete table inet {_table(device)}\n")
        return
    for family in (tool, _of_family(tool, ":")):
        if shutil.which(family, path=_PATH) is None:
            continue
        listed = run([family, "-w", "-t", "nat", "-S", "POSTROUTING"], timeout_s=_TIMEOUT_S, ok=None)
        for row in listed.stdout.decode().splitlines():
            words = row.replace('"', "").split()
            if words[:1] == ["-A"] and _table(device) in words:
                _run([family, "-w", "-t", "nat", "-D", *words[1:]])


def program() -> str:
    """The program that sets rules: nft, else iptables. Raises HostError when there is neither."""
    for name in _NAMES:
        found = shutil.which(name, path=_PATH)
        if found:
            return found
    raise HostError(
        "This machine cannot translate addresses.",
        why="neither nft nor iptables is installed",
        hint="apt-get install nftables; or start the VE without NAT",
    )


def _need_forwarding(name: str) -> None:
    with open(_FORWARDING[name], encoding="ascii") as file:
        if file.read().strip() == "0":
            raise HostError(
                "This machine does not forward packets, so NAT would lead nowhere.",
                why=f"{name} is 0",
                hint=f"sysctl -w {name}=1 (and in /etc/sysctl.d, to keep it)",
            )


def _is_nft(tool: str) -> bool:
    return tool.rpartition("/")[2] == "nft"


def _table(device: str) -> str:
    return f"tmplbuild-{device.removesuffix('.0')}"


def _rule(device: str, address: str, group: int) -> list[str]:
    tag = ["-m", "comment", "--comment", _table(device)]
    beyond = ["-m", "devgroup", "!", "--dst-group", hex(group)]
    return ["POSTROUTING", "-s", address, *beyond, *tag, "-j", "MASQUERADE"]


def _of_family(tool: str, address: str) -> str:
    return tool.replace("iptables", "ip6tables") if ":" in address else tool


def _run(argv: list[str], text: str = "") -> None:
    run(argv, what="set up address translation", stdin=text.encode(), timeout_s=_TIMEOUT_S)
