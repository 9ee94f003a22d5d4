"""Which dist configuration a VE has: the file whose name the template's begins with, as vzctl chooses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tmplbuild.errors import UsageError
from tmplbuild.tomlfile import Fault, Node, Place, Unreadable, did_you_mean, read
from tmplbuild.vz.dists.created import STEPS
from tmplbuild.vz.dists.identity import NAMES, RESOLVERS
from tmplbuild.vz.dists.net_files import WRITERS

SHIPPED = Path(__file__).with_name("data")
SCRIPTS = ("add_ip", "del_ip", "set_hostname", "set_dns", "set_userpass", "post_create")
"""The actions that a script of the machine's own may take part in; OpenVZ's names, in lower case."""

_LISTS: dict[str, Iterable[str]] = {
    "network": WRITERS,
    "hostname": NAMES,
    "dns": RESOLVERS,
    "post_create": STEPS,
}


@dataclass(frozen=True, slots=True)
class Dist:
    """A dist configuration.

    Parameters:
        name: of its file.
        network, dns: of these, the first that the tree has.
        hostname, post_create: all of these.
        scripts: files by action, run in the VE after the rest.
    """

    name: str
    network: tuple[str, ...]
    hostname: tuple[str, ...]
    dns: tuple[str, ...]
    post_create: tuple[str, ...]
    scripts: dict[str, Path]


def choose(ostemplate: str, own: Path, wanted: str = "") -> Dist:
    """The dist configuration of a VE.

    Parameters:
        ostemplate: the template's name: cut at its last "-" until a file fits, else it is "default".
        own: the machine's directory of dist files, which come before those of the tool.
        wanted: a name that wins over all; it must be there.

    Raises UsageError with every fault of the file.
    """
    name = wanted or ostemplate
    while name:
        for folder in (own, SHIPPED):
            if "/" not in name and (folder / f"{name}.toml").is_file():
                return load(folder / f"{name}.toml", own)
        if wanted:
            known = names(own)
            raise UsageError(
                f"there is no dist configuration {wanted!r}",
                where=f"{own}, {SHIPPED}",
                hint=did_you_mean(wanted, known) or "one of " + ", ".join(known),
            )
        name = name.rpartition("-")[0]
    return load(_file_of("default", own), own)


def names(own: Path) -> list[str]:
    """All that there are."""
    return sorted({path.stem for folder in (own, SHIPPED) for path in folder.glob("*.toml")})


def load(path: Path, own: Path) -> Dist:
    """Read a dist file, with what it is like. Raises UsageError with every fault."""
    faults: list[str] = []
    values = _values(path, own, faults, set())
    missing = "missing; name a list, or another file with `like`"
    faults += [str(Fault(Place(path, 0), key, missing)) for key in _LISTS if key not in values]
    if faults:
        raise UsageError("a dist configuration has faults", why="\n".join(faults))
    return Dist(path.stem, **values)  # type: ignore[arg-type]


def _values(path: Path, own: Path, faults: list[str], seen: set[Path]) -> dict[str, object]:
    seen.add(path)
    try:
        tree = read(path)
    except Unreadable as error:
        faults.append(str(error.fault))
        return {}
    assert isinstance(tree.value, dict)
    values: dict[str, object] = {"scripts": {}}
    like = tree.value.get("like")
    if like is not None:
        other = _file_of(str(like.plain()), own) if isinstance(like.value, str) else path
        if other.is_file() and other not in seen:
            values = _values(other, own, faults, seen)
        else:
            faults.append(str(Fault(like.place, "like", f"there is no other dist file {like.plain()!r}")))
    for key, node in tree.value.items():
        if key in _LISTS:
            values[key] = _list(key, node, faults)
        elif key == "scripts":
            values["scripts"] = _scripts(node, path.parent, faults)
        elif key != "like":
            hint = did_you_mean(key, [*_LISTS, "scripts", "like"])
            faults.append(str(Fault(node.place, key, "unknown key", hint)))
    return values


def _file_of(name: str, own: Path) -> Path:
    mine = own / f"{name}.toml"
    return mine if "/" not in name and mine.is_file() else SHIPPED / f"{name}.toml"


def _list(key: str, node: Node, faults: list[str]) -> tuple[str, ...]:
    found = node.plain()
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        faults.append(str(Fault(node.place, key, "expected a list of names")))
        return ()
    for item in found:
        if item not in _LISTS[key]:
            hint = did_you_mean(item, _LISTS[key]) or "there are " + ", ".join(_LISTS[key])
            faults.append(str(Fault(node.place, key, f"{item!r} is not known", hint)))
    return tuple(found)


def _scripts(node: Node, folder: Path, faults: list[str]) -> dict[str, Path]:
    if not isinstance(node.value, dict):
        faults.append(str(Fault(node.place, "scripts", "expected a table of files by action")))
        return {}
    found: dict[str, Path] = {}
    for action, item in node.value.items():
        file = folder / str(item.plain())
        if action not in SCRIPTS:
            hint = did_you_mean(action, SCRIPTS) or "there are " + ", ".join(SCRIPTS)
            faults.append(str(Fault(item.place, f"scripts.{action}", "unknown action", hint)))
        elif not file.is_file():
            faults.append(str(Fault(item.place, f"scripts.{action}", f"there is no file {file}")))
        else:
            found[action] = file
    return found


def skeleton(name: str, path: Path) -> None:
    """Write a commented dist file to begin with. Raises UsageError for what is no name, or is there."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", name):
        raise UsageError(
            f"{name!r} is no name for a dist configuration", hint="as templates begin: debian-12"
        )
    if path.exists():
        raise UsageError("the dist configuration is there already", where=str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_SKELETON.format(name=name, **{key: ", ".join(known) for key, known in _LISTS.items()}))


_SKELETON = """\
# How VEs of {name} are told their address, name, name servers and passwords.
# Used for templates named {name} or {name}-ANYTHING, unless a longer name has a file of its own.
# `tmplbuild ve dist check {name}` reads it.

# Take everything from another dist file, and change only what is below.
like = "default"

# The network system: the first of these that the tree has.
# Known: {network}
#network = ["networkd", "ifupdown"]

# Where the host name is written: all of these.
# Known: {hostname}
#hostname = ["hostname", "hosts"]

# How names are resolved: the first of these that the tree has.
# Known: {dns}
#dns = ["resolv.conf"]

# Done once, when a VE is created: all of these.
# Known: {post_create}
#post_create = ["cron", "root", "hosts", "resolv.conf", "machine-id"]

# Shell scripts of your own beside this file, run in the VE by its /bin/sh after what is above, as OpenVZ's
# are: with VE_STATE (starting, running or stopped), IP_ADDR, IPDELALL, HOSTNM, NAMESERVER,
# SEARCHDOMAIN, USERPW in the environment. In a VE that does not run they run isolated, without init.
#[scripts]
#add_ip = "{name}-add_ip.sh"
#del_ip = "{name}-del_ip.sh"
#set_hostname = "{name}-set_hostname.sh"
#set_dns = "{name}-set_dns.sh"
#set_userpass = "{name}-set_userpass.sh"
#post_create = "{name}-post_create.sh"
"""
