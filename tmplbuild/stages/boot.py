"""boot: try the packed template as its users will: create a VE from the file, boot, use, stop, boot."""

from __future__ import annotations

import re
from typing import Any

from tmplbuild.core.tree import Tree
from tmplbuild.errors import StageError
from tmplbuild.events import Progress
from tmplbuild.managers import Manager
from tmplbuild.recipes.model import Check
from tmplbuild.stages.context import Ctx, Shell

_SYSCONFIG = "/etc/sysconfig/network"
_HOSTNAME = "boot-test"
_ADDRESS = "192.0.2.10"  # RFC 5737: for documentation, routed nowhere
_NAMESERVER = "192.0.2.53"

# What OpenVZ's debian-add_ip.sh leaves in the file for one address on venet0.
_INTERFACES = f"""\
auto lo
iface lo inet loopback

auto venet0
iface venet0 inet static
\taddress {_ADDRESS}
\tnetmask 255.255.255.255
"""

# What OpenVZ's etcnet-add_ip.sh leaves in /etc/net/ifaces/venet0 for one address (etcnet(8)).
_ETCNET = {
    "options": "TYPE=lo\nONBOOT=yes\nBOOTPROTO=static\n",
    "ipv4address": f"{_ADDRESS}/32\n",
}

_LOOPBACK = "auto lo\niface lo inet loopback\n"

_LINK = "boot0"
_NETWORK = f"/etc/systemd/network/{_LINK}.network"
_NETWORKD = f"""\
[Match]
Name = {_LINK}

[Network]
Address = {_ADDRESS}/24
DHCP = no
LinkLocalAddressing = no
"""

_PROCESSES = 'for p in /proc/[0-9]*/cmdline; do tr "\\0" " " < "$p" 2>/dev/null; echo; done'


def run(ctx: Ctx, options: Check, manager: Manager, tarball: str) -> dict[str, Any]:
    """The boot test of the packed file.

    Raises StageError that names what is wrong: not ready in time, failed units, an unwanted
    process, host name or address not as set, packages that cannot be installed, no clean stop.
    """
    from pathlib import Path

    done: dict[str, Any] = {}
    with ctx.trial(Path(tarball)) as trial:
        with trial.tree() as tree:
            set_identity(tree)
            init = init_kind(tree)
        for boot in ("first", "second"):
            ctx.emit(Progress(f"{boot} boot"))
            with trial.live(boot_timeout_s=options.boot_timeout_s, stop_timeout_s=90) as ve:
                settled(ve, init, boot)
                unwanted(ve, options.unwanted_processes, boot)
                has_hostname(ve, boot)
                if options.network == "ifupdown":
                    takes_address(ve, boot)
                elif options.network == "etcnet":
                    takes_address_of_etcnet(ve, boot)
                elif options.network == "networkd":
                    takes_networkd_address(ve, boot)
                if boot == "first" and options.install:
                    ctx.emit(Progress("install a package"))
                    done["installed"] = installs(ve, manager, options.install)
    return {"init": init, **done}


def init_kind(tree: Tree) -> str:
    """ "systemd" or "sysvinit", by what /sbin/init is."""
    is_systemd = tree.is_link("/sbin/init") and "systemd" in tree.readlink("/sbin/init")
    return "systemd" if is_systemd else "sysvinit"


def set_identity(tree: Tree) -> None:
    """Host name and name server as vzctl sets them in a stopped VE."""
    tree.write("/etc/hostname", f"{_HOSTNAME}\n")
    if tree.is_file(_SYSCONFIG):  # Red Hat's kin, ALT among them: vzctl's redhat-set_hostname.sh
        lines = [line for line in tree.read_text(_SYSCONFIG).splitlines() if not line.startswith("HOSTNAME=")]
        tree.write(_SYSCONFIG, "".join(f"{line}\n" for line in [*lines, f"HOSTNAME={_HOSTNAME}"]))
    tree.write("/etc/resolv.conf", f"nameserver {_NAMESERVER}\n")


def settled(ve: Shell, init: str, boot: str) -> None:
    """No unit failed."""
    if init != "systemd":
        return
    argv = ["systemctl", "--failed", "--no-legend", "--plain", "--no-pager"]
    failed = ve.run(argv, what="list failed units").decode("utf-8", "replace")
    units = [line.split()[0] for line in failed.splitlines() if line.split()]
    if units:
        status = ve.run(
            ["systemctl", "status", "--no-pager", "--lines=20", *units], what="ask why", ok=range(256)
        )
        raise StageError(
            f"units failed in the {boot} boot of the packed template: {', '.join(units)}",
            why=status.decode("utf-8", "replace").strip()[-2000:],
            hint="mask or fix them in the recipe's strip section",
        )


def unwanted(ve: Shell, patterns: tuple[str, ...], boot: str) -> None:
    """No process of a kind that a container must not have."""
    running = ve.run(["sh", "-c", _PROCESSES], what="list the processes").decode("utf-8", "replace")
    for pattern in patterns:
        for line in running.splitlines():
            if re.search(pattern, line):
                raise StageError(
                    f"a process that a container must not have runs after the {boot} boot",
                    where=line.strip(),
                    why=f"it matches check.unwanted_processes {pattern!r}",
                    hint="disable its unit in the recipe's strip section",
                )


def has_hostname(ve: Shell, boot: str) -> None:
    """The name that was set is the VE's name."""
    name = ve.run(["cat", "/proc/sys/kernel/hostname"], what="read the host name").decode().strip()
    if name != _HOSTNAME:
        raise StageError(
            f"the host name that was set is not the VE's after the {boot} boot",
            where="/etc/hostname",
            why=f"{_HOSTNAME!r} was written, {name!r} is what the VE says",
        )


def takes_address(ve: Shell, boot: str) -> None:
    """An address set in the way of `vzctl set --ipadd` on a running VE comes up on venet0."""
    ve.run(["ip", "link", "add", "venet0", "type", "veth", "peer", "name", "venet0-host"], what="make venet0")
    ve.run(["sh", "-c", "cat > /etc/network/interfaces"], what="set an address", stdin=_INTERFACES.encode())
    ve.run(["ifup", "-a", "--force"], what="bring the address up")
    shown = ve.run(["ifconfig", "venet0"], what="show the address").decode("utf-8", "replace")
    if _ADDRESS not in shown:
        raise StageError(
            f"an address set in /etc/network/interfaces did not come up in the {boot} boot",
            where="venet0",
            why=shown.strip(),
        )
    ve.run(["ifdown", "venet0"], what="take the address down")  # as `vzctl set --ipdel` does
    ve.run(["sh", "-c", "cat > /etc/network/interfaces"], what="unset it", stdin=_LOOPBACK.encode())
    ve.run(["ip", "link", "del", "venet0"], what="remove venet0")


def takes_networkd_address(ve: Shell, boot: str) -> None:
    """An address in a file of systemd.network(5), as Proxmox writes it, comes up."""
    ve.run(["ip", "link", "add", _LINK, "type", "veth", "peer", "name", f"{_LINK}-host"], what="make a link")
    ve.run(["ip", "link", "set", f"{_LINK}-host", "up"], what="bring its other end up")
    ve.run(["sh", "-c", f"cat > {_NETWORK}"], what="set an address", stdin=_NETWORKD.encode())
    ve.run(["networkctl", "reload"], what="tell networkd")
    argv = ["/lib/systemd/systemd-networkd-wait-online", f"--interface={_LINK}:degraded", "--timeout=60"]
    ve.run(argv, what="wait for the address")
    argv = ["ip", "-4", "-oneline", "address", "show", "dev", _LINK]
    shown = ve.run(argv, what="show the address").decode("utf-8", "replace")
    if _ADDRESS not in shown:
        raise StageError(
            f"an address set in {_NETWORK} did not come up in the {boot} boot",
            where=_LINK,
            why=shown.strip(),
        )
    ve.run(["rm", _NETWORK], what="unset it")
    ve.run(["ip", "link", "del", _LINK], what="remove the link")
    ve.run(["networkctl", "reload"], what="tell networkd")


def takes_address_of_etcnet(ve: Shell, boot: str) -> None:
    """An address in /etc/net/ifaces, where `vzctl set --ipadd` writes it, comes up on venet0."""
    ve.run(["ip", "link", "add", "venet0", "type", "veth", "peer", "name", "venet0-host"], what="make venet0")
    folder = "/etc/net/ifaces/venet0"
    ve.run(["mkdir", "-p", folder], what="set an address")
    for name, text in _ETCNET.items():
        ve.run(["sh", "-c", f"cat > {folder}/{name}"], what="set an address", stdin=text.encode())
    ve.run(["ifup", "venet0"], what="bring the address up")
    shown = ve.run(["ip", "address", "show", "dev", "venet0"], what="show the address").decode(
        "utf-8", "replace"
    )
    if _ADDRESS not in shown:
        raise StageError(
            f"an address set in {folder} did not come up in the {boot} boot",
            where="venet0",
            why=shown.strip(),
        )
    ve.run(["ifdown", "venet0"], what="take the address down")  # as `vzctl set --ipdel` does
    ve.run(["rm", "-r", folder], what="unset it")
    ve.run(["ip", "link", "del", "venet0"], what="remove venet0")


def installs(ve: Shell, manager: Manager, names: tuple[str, ...]) -> list[str]:
    """The package manager can read its lists, install and remove."""
    ve.run(manager.update, what="read the package lists", env=manager.env, timeout_s=600)
    ve.run([*manager.install, *names], what="install a package", env=manager.env, timeout_s=600)
    ve.run([*manager.purge, *names], what="remove the package", env=manager.env, timeout_s=600)
    for argv in manager.audits:
        ve.run(argv, what="check the package database", env=manager.env, timeout_s=600)
    return list(names)
