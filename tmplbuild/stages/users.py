"""Accounts that a recipe asks for, made in the account files themselves: every distribution has these,
and not every one the same useradd."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tmplbuild.core.tree import Tree
from tmplbuild.errors import HostError, StageError
from tmplbuild.leftovers.accounts import GROUP, GSHADOW, PASSWD, SHADOW, TCB, complete
from tmplbuild.recipes.additions import User
from tmplbuild.stages import subordinate

_PEOPLE = range(1000, 60000)
_SYSTEM = range(999, 99, -1)
# crypt(5): prefixes of hashes that somebody should still make; a password itself never looks like one
_HASH = re.compile(r"\$(y|gy|7|6|5|2[abxy]|sm3y?)\$[^\s:]{8,}")


def make(tree: Tree, users: Mapping[str, User], secret: Callable[[str], str]) -> list[str]:
    """Make the accounts, or bring those that are there to what is asked for. Twice does no harm.

    Parameters:
        secret: gives the value of what `password` names.

    Returns their names with their numbers. Raises StageError where a number is taken, a group is
    missing, or the account is there with another number; HostError where a secret is no password hash.
    """
    return [_make(tree, name, user, secret) for name, user in users.items()]


def _make(tree: Tree, name: str, user: User, secret: Callable[[str], str]) -> str:
    known = _fields(tree, name)
    fields = known or _new(tree, name, user)
    uid, gid, home = int(fields[2]), int(fields[3]), fields[5]
    if user.uid is not None and user.uid != uid:
        raise _refused(name, PASSWD, f"it is there, and its uid is {uid}, not {user.uid}")
    if user.gid is not None and user.gid != gid:
        raise _refused(name, PASSWD, f"it is there, and its group is {gid}, not {user.gid}")
    if user.comment:
        fields[4] = user.comment
    if user.home is not None:
        fields[5] = home = user.home
    if user.shell is not None:
        fields[6] = user.shell
    _set(tree, PASSWD, name, ":".join(fields))
    complete(tree, (name,), ())
    if known is None and not user.system:
        subordinate.give(tree, name, uid)
    for group in user.groups:
        for path, at in ((GROUP, 3), (GSHADOW, 3)):
            _join(tree, path, at, group, name, must=path == GROUP)
    if user.password:
        _set_hash(tree, name, _hash(user.password, secret(user.password)))
    if not user.system or user.home is not None:
        _home(tree, home, uid, gid)
    if user.authorized_keys:
        _keys(tree, f"{home.rstrip('/')}/.ssh", user.authorized_keys, uid, gid)
    return f"{name} ({uid}:{gid})"


def _new(tree: Tree, name: str, user: User) -> list[str]:
    """The line of a new account; its own group is made by `complete`."""
    uids = {int(row[2]): row[0] for row in _rows(tree, PASSWD) if row[2:3] and row[2].isdecimal()}
    groups = {int(row[2]): row[0] for row in _rows(tree, GROUP) if row[2:3] and row[2].isdecimal()}
    own = next((gid for gid, group in groups.items() if group == name), None)
    if user.uid is not None and user.uid in uids:
        raise _refused(name, PASSWD, f"the uid {user.uid} is {uids[user.uid]}'s")
    free = _SYSTEM if user.system else _PEOPLE
    uid = user.uid
    if uid is None:
        uid = next(one for one in free if one not in uids and one not in groups)
    gid = own if user.gid is None and own is not None else user.gid
    if gid is None:
        gid = uid if uid not in groups else next(one for one in free if one not in groups and one not in uids)
    if gid in groups and groups[gid] != name:
        raise _refused(name, GROUP, f"the gid {gid} is the group {groups[gid]}'s")
    if own is not None and own != gid:
        raise _refused(name, GROUP, f"there is a group {name}, and its gid is {own}, not {gid}")
    home = user.home or ("/nonexistent" if user.system else f"/home/{name}")
    shell = user.shell or ("/usr/sbin/nologin" if user.system else "/bin/sh")
    return [name, "x", str(uid), str(gid), user.comment, home, shell]


def _refused(name: str, where: str, why: str) -> StageError:
    return StageError(f"the account {name} cannot be made", where=where, why=why, hint="see configure.users")


def _hash(reference: str, value: str) -> str:
    if not _HASH.fullmatch(value):
        raise HostError(
            f"{reference} is no password hash",
            why="it is not of the form $ID$SALT$HASH, crypt(5)",
            hint="mkpasswd makes one of a password; the password itself is kept nowhere",
        )
    return value


def _home(tree: Tree, home: str, uid: int, gid: int) -> None:
    if tree.exists(home):
        return
    tree.mkdir(home, 0o700)
    tree.chown(home, uid, gid)
    for path, about in list(tree.walk("/etc/skel")) if tree.is_dir("/etc/skel") else []:
        to = f"{home.rstrip('/')}/{path.removeprefix('/etc/skel/')}"
        if tree.is_link(path):
            tree.symlink(tree.readlink(path), to)
            tree.chown(to, uid, gid)
        elif tree.is_dir(path):
            tree.mkdir(to, about.st_mode & 0o777)
            tree.chown(to, uid, gid)
        elif tree.is_file(path):
            tree.write(to, tree.read_bytes(path), mode=about.st_mode & 0o777, uid=uid, gid=gid)


def _keys(tree: Tree, place: str, keys: tuple[str, ...], uid: int, gid: int) -> None:
    tree.mkdir(place, 0o700)
    tree.chown(place, uid, gid)
    text = "".join(f"{key.strip()}\n" for key in keys)
    tree.write(f"{place}/authorized_keys", text, mode=0o600, uid=uid, gid=gid)


def _set_hash(tree: Tree, name: str, value: str) -> None:
    path = next((path for path in (f"{TCB}/{name}/shadow", SHADOW) if tree.is_file(path)), None)
    if path is None:
        raise _refused(name, SHADOW, "there is no file for its password")
    fields = next((row for row in _rows(tree, path) if row[0] == name), [name, *[""] * 8])
    _set(tree, path, name, ":".join([name, value, *fields[2:]]))


def _join(tree: Tree, path: str, at: int, group: str, name: str, *, must: bool) -> None:
    row = next((row for row in _rows(tree, path) if row[0] == group), None)
    if row is None:
        if must:
            raise _refused(name, path, f"there is no group {group}")
        return
    members = [one for one in row[at].split(",") if one] if len(row) > at else []
    if name not in members:
        _set(tree, path, group, ":".join([*row[:at], ",".join([*members, name])]))


def _fields(tree: Tree, name: str) -> list[str] | None:
    return next((row for row in _rows(tree, PASSWD) if row[0] == name and len(row) == 7), None)


def _rows(tree: Tree, path: str) -> list[list[str]]:
    text = tree.read_text(path) if tree.is_file(path) else ""
    return [line.split(":") for line in text.split("\n") if line]


def _set(tree: Tree, path: str, name: str, line: str) -> None:
    """Put a line in the place of that name's, or at the end."""
    lines = [":".join(row) for row in _rows(tree, path)]
    at = next((at for at, one in enumerate(lines) if one.split(":")[0] == name), len(lines))
    lines[at : at + 1] = [line]
    tree.write(path, "".join(f"{one}\n" for one in lines))
