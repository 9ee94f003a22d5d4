"""Making a VE what its configuration says: files of a stopped tree, or of a running VE that takes them up."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from tmplbuild.config import Settings
from tmplbuild.core import VE, Core, Rootfs, Tree
from tmplbuild.errors import StageError
from tmplbuild.events import Emit, Note
from tmplbuild.vz.conf import Conf
from tmplbuild.vz.dists import Dist, Wish, accounts, as_script, choose, plan, write_into
from tmplbuild.vz.dists.choose import names
from tmplbuild.vz.dists.draft import Draft
from tmplbuild.vz.request import addresses_of

_TIMEOUT_S = 300
_RESOLV = Path("/etc/resolv.conf")


def dist_of(settings: Settings, conf: Conf) -> Dist:
    """The dist configuration of a VE: the one that its DISTRIBUTION names, else by its template's name."""
    named = conf.get("DISTRIBUTION")
    wanted = named if named in names(settings.dists) else ""  # OpenVZ 7 knows others than we do
    return choose(conf.get("OSTEMPLATE").lstrip("."), settings.dists, wanted)


def wish_of(conf: Conf, keys: Mapping[str, object] | None = None) -> Wish:
    """What a VE's files are to say.

    Parameters:
        keys: of VEID.conf; only what these are about is wished for. All that is set without it.
    """
    about = set(conf.own) | set(conf.common) if keys is None else set(keys)
    hostname = conf.get("HOSTNAME") if "HOSTNAME" in about else ""
    has_address = bool(addresses_of(conf))
    return Wish(
        addresses=addresses_of(conf) if "IP_ADDRESS" in about and (has_address or keys is not None) else None,
        hostname=hostname or None,
        nameservers=nameservers(conf) if "NAMESERVER" in about else None,
        searchdomains=conf.words("SEARCHDOMAIN") if "SEARCHDOMAIN" in about else None,
    )


def nameservers(conf: Conf) -> tuple[str, ...]:
    """The name servers of a VE; "inherit" stands for those of the host that others can reach."""
    found: list[str] = []
    for word in conf.words("NAMESERVER"):
        found += _host_servers() if word == "inherit" else [word]
    return tuple(dict.fromkeys(found))


def _host_servers() -> list[str]:
    # systemd-resolved and its kin listen on loopback: that is another one in the VE
    for path in (_RESOLV, Path("/run/systemd/resolve/resolv.conf")):
        try:
            rows = [line.split() for line in path.read_text(errors="replace").splitlines()]
        except OSError:
            continue
        found = [row[1] for row in rows if len(row) > 1 and row[0] == "nameserver"]
        reachable = [one for one in found if not one.startswith("127.") and one != "::1"]
        if reachable:
            return reachable
    return []


def to_tree(core: Core, veid: str, rootfs: Rootfs, dist: Dist, wish: Wish, emit: Emit) -> list[str]:
    """Write what is wished into a stopped VE's files. Returns the paths that changed.

    Raises StageError, and what `dists.plan` raises.
    """
    missing = _missing_users(core, rootfs, wish)
    if missing:
        with core.start(veid, rootfs, init=False) as ve:
            _add_users(ve, missing)
    with core.tree(rootfs) as tree:
        draft = plan(tree, dist, wish)
        changed = write_into(draft, tree)
    _tell(draft, emit)
    if _scripts(dist, wish):
        with core.start(veid, rootfs, init=False) as ve:
            _run_scripts(ve, dist, wish, "stopped")
    return changed


def to_running(ve: VE, dist: Dist, wish: Wish, emit: Emit) -> list[str]:
    """Write what is wished into a running VE's files, from within, and have it take them up.

    Its files are read through its root directory, and no mount that somebody made in the VE is
    followed: one of FUSE could keep us waiting for ever. Raises StageError.
    """
    with closing(Tree(Path(f"/proc/{ve.pid}/root"), one_mount=True)) as tree:
        missing = [user for user, _ in wish.passwords if not accounts.has_user(Draft(tree), user)]
        _add_users(ve, missing)
        draft = plan(tree, dist, wish)
    _tell(draft, emit)
    if draft.changes or draft.commands:
        _sh(ve, as_script(draft), "the VE could not be changed")
    _run_scripts(ve, dist, wish, "running")
    return list(draft.changes)


def _tell(draft: Draft, emit: Emit) -> None:
    for text in draft.notes:
        emit(Note(text, "warning"))


def _missing_users(core: Core, rootfs: Rootfs, wish: Wish) -> list[str]:
    if not wish.passwords:
        return []
    with core.tree(rootfs, writable=False) as tree:
        return [user for user, _ in wish.passwords if not accounts.has_user(Draft(tree), user)]


def _add_users(ve: VE, users: list[str]) -> None:
    """Make users as vzctl does: with a home directory, by the VE's own program."""
    for user in users:
        command = f"useradd -m {user} || adduser -D {user}"  # the second is busybox's
        _sh(ve, command.encode(), f"the user {user} could not be made")


def _scripts(dist: Dist, wish: Wish) -> list[tuple[Path, dict[str, str]]]:
    """The machine's own scripts that this wish is about, each with its environment (OpenVZ's names)."""
    addresses = " ".join(str(one) for one in wish.addresses or ())
    rows = [
        ("post_create", wish.created, {}),
        ("add_ip", bool(wish.addresses), {"IP_ADDR": addresses, "IPDELALL": "yes"}),
        ("del_ip", wish.addresses == (), {"IPDELALL": "yes"}),
        ("set_hostname", wish.hostname is not None, {"HOSTNM": wish.hostname or "", "IP_ADDR": addresses}),
        (
            "set_dns",
            wish.nameservers is not None or wish.searchdomains is not None,
            {
                "NAMESERVER": " ".join(wish.nameservers or ()),
                "SEARCHDOMAIN": " ".join(wish.searchdomains or ()),
            },
        ),
    ]
    rows += [("set_userpass", True, {"USERPW": f"{user}:{word}"}) for user, word in wish.passwords]
    return [(dist.scripts[action], env) for action, wanted, env in rows if wanted and action in dist.scripts]


def _run_scripts(ve: VE, dist: Dist, wish: Wish, state: str) -> None:
    for path, env in _scripts(dist, wish):
        _sh(ve, path.read_bytes(), f"the script {path} failed", {"VE_STATE": state, **env})


def _sh(ve: VE, script: bytes, what: str, env: Mapping[str, str] | None = None) -> None:
    result = ve.exec(["/bin/sh", "-s"], stdin=script, env=env, timeout_s=_TIMEOUT_S)
    if not result.ok:
        said = (result.stdout + result.stderr).decode("utf-8", "replace")
        why = f"it took longer than {_TIMEOUT_S} s" if result.timed_out else f"exit status {result.rc}"
        raise StageError(what, where=ve.veid, why=why, tail=tuple(said.splitlines()[-20:]))
