"""A user that came by a union is given all that a user needs: a group, and a locked password.

Passwords lie in /etc/shadow or, with tcb (ALT), in /etc/tcb/USER/shadow, tcb(5).
"""

from __future__ import annotations

from tmplbuild.core.tree import Tree
from tmplbuild.errors import StageError

PASSWD, GROUP, SHADOW, GSHADOW = "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"
TCB = "/etc/tcb"


def complete(tree: Tree, users: tuple[str, ...], groups: tuple[str, ...]) -> list[str]:
    """Add the entries that the new users and groups lack.

    Returns what was added ("the group 90 of foo"). Raises StageError when a user's group has no
    entry and its name is another group's.
    """
    rows = {row.split(":")[0]: row.split(":") for row in _lines(tree, PASSWD)}
    done = []
    new_groups = list(groups)
    for user in users:
        if user not in rows or len(rows[user]) < 7:
            continue
        uid, gid = rows[user][2:4]
        if not any(row.split(":")[2:3] == [gid] for row in _lines(tree, GROUP)):
            _add(tree, GROUP, user, f"{user}:x:{gid}:", must=True)
            new_groups.append(user)
            done.append(f"group {user}")
        if tree.is_dir(TCB):
            if _tcb(tree, user, int(uid)):
                done.append(f"{TCB}/{user}")
        elif _add(tree, SHADOW, user, f"{user}:*:::::::"):
            done.append(f"shadow {user}")
    done += [f"gshadow {name}" for name in new_groups if _add(tree, GSHADOW, name, f"{name}:*::")]
    return done


def _add(tree: Tree, path: str, name: str, row: str, *, must: bool = False) -> bool:
    if not tree.is_file(path):
        return False
    if any(line.split(":")[0] == name for line in _lines(tree, path)):
        if must:
            raise StageError(
                f"the user {name}, whom an upgraded package brought, has no group",
                where=path,
                why=f"there is a group {name} with another number than {row.split(':')[2]}",
                hint="make the account in the recipe, before the package that brings it",
            )
        return False
    text = tree.read_text(path)
    tree.write(path, text + ("" if not text or text.endswith("\n") else "\n") + row + "\n")
    return True


def _tcb(tree: Tree, user: str, uid: int) -> bool:
    """As tcb_convert(8) makes it: a directory of the user's and the group auth's, set-gid."""
    place = f"{TCB}/{user}"
    if "/" in user or tree.exists(place):
        return False
    rows = [row.split(":") for row in _lines(tree, GROUP) if row.startswith("auth:")]
    auth = next((int(row[2]) for row in rows if len(row) == 4 and row[2].isdecimal()), 0)
    tree.mkdir(place, 0o700)
    tree.write(f"{place}/shadow", f"{user}:*:::::::\n", mode=0o640, uid=uid, gid=auth)
    tree.chown(place, uid, auth)
    tree.chmod(place, 0o2710)  # after chown(2), which takes the set-gid bit away
    return True


def _lines(tree: Tree, path: str) -> list[str]:
    return [line for line in tree.read_text(path).split("\n") if line] if tree.is_file(path) else []
