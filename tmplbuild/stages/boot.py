"""boot: try the packed template as its users will: create a VE from the file, boot, use, stop, boot."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from tmplbuild.core.tree import Tree
from tmplbuild.errors import StageError
from tmplbuild.events import Progress
from tmplbuild.managers import Manager
from tmplbuild.recipes.model import Check
from tmplbuild.stages.context import Ctx, Shell
from tmplbuild.vz import dists

_HOSTNAME = "boot-test"
_ADDRESS = "192.0.2.10"  # RFC 5737: for documentation, routed nowhere
_NAMESERVER = "192.0.2.53"

_PROCESSES = 'for p in /proc/[0-9]*/cmdline; do tr "\\0" " " < "$p" 2>/dev/null; echo; done'


@dataclass(frozen=True, slots=True)
class Scripts:
    """How a running VE is given an address, and how it is taken away: what `ve set --ipadd` would do."""

    up: bytes
    down: bytes


def run(ctx: Ctx, options: Check, manager: Manager, tarball: str, template: str) -> dict[str, Any]:
    """The boot test of the packed file.

    Parameters:
        template: its name, by which the dist configuration is chosen.

    Raises StageError that names what is wrong: not ready in time, failed units, an unwanted
    process, host name or address not as set, packages that cannot be installed, no clean stop.
    """
    done: dict[str, Any] = {}
    dist = dists.choose(template, dists.SHIPPED)  # the machine's own files have no say in a build
    with ctx.trial(Path(tarball)) as trial:
        with trial.tree() as tree:
            wish = dists.Wish(hostname=_HOSTNAME, nameservers=(_NAMESERVER,))
            dists.write_into(dists.plan(tree, dist, wish), tree)
            init = init_kind(tree)
            scripts = address_scripts(tree, dist, options.network)
        for boot in ("first", "second"):
            ctx.emit(Progress(f"{boot} boot"))
            with trial.live(boot_timeout_s=options.boot_timeout_s, stop_timeout_s=90) as ve:
                settled(ve, init, boot)
                unwanted(ve, options.unwanted_processes, boot)
                has_hostname(ve, boot)
                if scripts:
                    takes_address(ve, scripts, boot)
                if options.network == "ifupdown":
                    ve.run(["ifconfig", "lo"], what="ask ifconfig, which OpenVZ's own scripts call")
                if boot == "first" and options.install:
                    ctx.emit(Progress("install a package"))
                    done["installed"] = installs(ve, manager, options.install)
    return {"init": init, **done}


def address_scripts(tree: Tree, dist: dists.Dist, network: str) -> Scripts | None:
    """What gives a VE made of this tree an address; None where the template has no network of its own.

    Raises StageError when the tree has another network system than the recipe says.
    """
    if network == "none":
        return None
    found = dists.network_of(tree, dist)
    if found != network:
        raise StageError(
            f"an address would not be written for {network}",
            where=f"dist configuration {dist.name}",
            why=f"the tree looks as if its network system were {found or 'none'}",
            hint="check.network and the packages of the recipe must agree",
        )
    up = dists.plan(tree, dist, dists.Wish(addresses=(ip_address(_ADDRESS),)))
    down = dists.plan(tree, dist, dists.Wish(addresses=()), after=up)
    return Scripts(dists.as_script(up), dists.as_script(down))


def init_kind(tree: Tree) -> str:
    """ "systemd" or "sysvinit", by what /sbin/init is."""
    is_systemd = tree.is_link("/sbin/init") and "systemd" in tree.readlink("/sbin/init")
    return "systemd" if is_systemd else "sysvinit"


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


def takes_address(ve: Shell, scripts: Scripts, boot: str) -> None:
    """An address set as `ve set --ipadd` does on a running VE comes up on venet0, and goes again."""
    device, other = dists.DEVICE, f"{dists.DEVICE}-host"
    ve.run(["ip", "link", "add", device, "type", "veth", "peer", "name", other], what=f"make {device}")
    ve.run(["ip", "link", "set", other, "up"], what="bring its other end up")
    ve.run(["sh", "-s"], what="set an address", stdin=scripts.up)
    argv = ["ip", "-4", "-oneline", "address", "show", "dev", device]
    shown = ve.run(argv, what="show the address").decode("utf-8", "replace")
    if _ADDRESS not in shown:
        raise StageError(
            f"an address that was set did not come up in the {boot} boot", where=device, why=shown.strip()
        )
    ve.run(["sh", "-s"], what="unset it", stdin=scripts.down)
    ve.run(["ip", "link", "del", device], what=f"remove {device}")


def installs(ve: Shell, manager: Manager, names: tuple[str, ...]) -> list[str]:
    """The package manager can read its lists, install and remove."""
    if manager.prepare:
        ve.run(manager.prepare, what="prepare for the package manager", env=manager.env, timeout_s=600)
    ve.run(manager.update, what="read the package lists", env=manager.env, timeout_s=600)
    ve.run([*manager.install, *names], what="install a package", env=manager.env, timeout_s=600)
    ve.run([*manager.purge, *names], what="remove the package", env=manager.env, timeout_s=600)
    for argv in manager.audits:
        ve.run(argv, what="check the package database", env=manager.env, timeout_s=600)
    return list(names)
