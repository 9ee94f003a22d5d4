"""One leftover, one decision: what becomes of the file that it stands beside.

A new side (the package's version lies beside the file in use):
    the file is gone          it stays so, if that was so before the upgrade; else the new one is taken
    the same                  nothing to decide
    written by the recipe     the recipe's stays
    the machine's state       stays
    passwd and its kin        the union by key
    changed by the recipe     the new one is taken and the recipe's edits are made again
    changed by others         three-way merge; where it conflicts, the recipe's `on_conflict`
An old side (the package's version is in use, what was there lies beside it):
    the new version stays, and what the recipe had done is done again; machine state and accounts
    come back; what the package dropped goes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tmplbuild.leftovers import keyed
from tmplbuild.leftovers.cause import Cause, File, Versions, cause_of
from tmplbuild.leftovers.intent import Intent, matches
from tmplbuild.leftovers.merge import merge

Action = Literal["keep", "write", "move", "put"]
"""What is done to the file: nothing; `content` is written; the side file takes its name; the recipe
writes it again."""

ACCOUNTS = ("passwd", "group", "shadow", "gshadow")


@dataclass(frozen=True, slots=True)
class Policy:
    """The recipe's choices: see `tmplbuild.recipes.model.Leftovers`."""

    on_conflict: Literal["keep", "new", "fail"] = "keep"
    keyed: tuple[str, ...] = ()
    machine_state: tuple[str, ...] = ()

    def format(self, path: str) -> str:
        """The name of a keyed file's format, "" for another file."""
        name = path.rpartition("/")[2]
        return name if name in keyed.FORMATS and matches(path, self.keyed) else ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done, in words and in deed.

    `attributes` (permission bits, owner, group) go with `content`. `conflict`: nobody but the policy
    decided. `added`: the keys that a union added.
    """

    text: str
    cause: Cause
    action: Action = "keep"
    content: bytes | None = None
    attributes: tuple[int, int, int] | None = None
    warning: str = ""
    conflict: bool = False
    added: tuple[str, ...] = field(default=())


def new_side(path: str, versions: Versions, intent: Intent, policy: Policy) -> Decision:
    """Decide on a package's version that lies beside the file `path`.

    Raises StageError where accounts clash.
    """
    mine, new = versions.mine, versions.new
    cause = cause_of(path, versions, intent)
    assert new is not None
    if mine is None:
        if intent.removes(path):
            return Decision("dropped, the recipe takes the file out", "recipe")
        if versions.before is None:
            return Decision("dropped, the file had been taken out", cause)
        return Decision("taken, the file in use was gone", cause, "move")
    if mine.holds_the_same(new):
        return Decision("dropped, same as the file in use", cause)
    if intent.writes(path):
        return Decision("dropped, the recipe writes the file", cause, warning=_overlaid(path, versions))
    if matches(path, policy.machine_state):
        return Decision("dropped, the file is the machine's state", cause)
    if mine.data is None or new.data is None:
        return _conflict(path, versions, policy, cause, None, "one of the two is no regular file")
    name = policy.format(path)
    if name and (name in ACCOUNTS or cause != "nobody"):
        return _union(path, mine.data, new.data, versions, cause, mine)
    return _text(path, mine.data, new.data, versions, intent, policy, cause)


def old_side(path: str, versions: Versions, intent: Intent, policy: Policy) -> Decision:
    """Decide on what was in use before, now that the package's version is (or none).

    Raises StageError where accounts clash.
    """
    mine, new = versions.mine, versions.new
    cause = cause_of(path, versions, intent)
    assert mine is not None
    if mine.holds_the_same(new):
        return Decision("dropped, same as the file in use", cause)
    if intent.removes(path):
        return Decision("dropped, the recipe takes the file out", "recipe")
    if intent.writes(path):
        warning = _overlaid(path, versions)
        if path in intent.files:
            return Decision("dropped, the recipe's file is written again", cause, "put", warning=warning)
        return Decision("put back, the recipe writes the file", cause, "move", warning=warning)
    if matches(path, policy.machine_state):
        return Decision("put back, the file is the machine's state", cause, "move")
    if new is None:
        if policy.format(path):
            return Decision("put back, its lines are still needed", cause, "move")
        return Decision("dropped, no package has the file any more", cause)
    if mine.data is None or new.data is None:
        return Decision("dropped, the package's version is in use", cause, warning=_lost(path, cause))
    if policy.format(path):
        return _union(path, mine.data, new.data, versions, cause, new)
    again = intent.edit(path, new.data)
    if again != new.data:
        text = "dropped, the recipe's edits were made again on the new version"
        return Decision(text, cause, "write", again, new.attributes, _lost(path, cause))
    return Decision("dropped, the package's version is in use", cause, warning=_lost(path, cause))


def _text(
    path: str, mine: bytes, new: bytes, versions: Versions, intent: Intent, policy: Policy, cause: Cause
) -> Decision:
    base, again = versions.base, intent.edit(path, new)
    attributes = _attributes(versions)
    edits = path in intent.edits
    if base is None:
        if not edits:
            return _conflict(path, versions, policy, cause, again, "the package's old version is not known")
        warning = f"{path}: its package's old version is not known; only the recipe's edits were kept"
        text = "taken, the recipe's edits were made again on it"
        return Decision(text, cause, "write", again, attributes, warning)
    if cause == "nobody":
        text = "taken, nobody had changed the file" + (" but the recipe does" if again != new else "")
        return Decision(text, cause, "write", again, attributes)
    if cause == "recipe":
        return Decision("taken, the recipe's edits were made again on it", cause, "write", again, attributes)
    merged = merge(intent.edit(path, base), mine, again)
    if merged.text is None:
        count = len(merged.conflicts)
        where = f"both changed {count} place{'s' if count > 1 else ''}"
        return _conflict(path, versions, policy, cause, again, where)
    result = intent.edit(path, merged.text)
    if result == mine:
        return Decision("dropped, the file in use has all its changes", cause)
    return Decision("merged into the file in use", cause, "write", result, attributes)


def _conflict(
    path: str, versions: Versions, policy: Policy, cause: Cause, again: bytes | None, why: str
) -> Decision:
    if policy.on_conflict == "new":
        warning = f"{path}: the package's version was taken over the one in use: {why}"
        if again is None:
            return Decision("taken, by on_conflict", cause, "move", warning=warning, conflict=True)
        attributes = _attributes(versions)
        return Decision("taken, by on_conflict", cause, "write", again, attributes, warning, conflict=True)
    warning = f"{path}: the file in use stays, the package's new version is dropped: {why}"
    return Decision("dropped, by on_conflict", cause, warning=warning, conflict=True)


def _union(path: str, ours: bytes, theirs: bytes, versions: Versions, cause: Cause, owner: File) -> Decision:
    was = versions.pristine.data if versions.pristine is not None else None
    found = keyed.union(path, ours, theirs, was)
    if owner.data == found.text:
        return Decision("dropped, the file in use has all its lines", cause)
    added = f", added {', '.join(found.added)}" if found.added else ""
    return Decision(f"united by key{added}", cause, "write", found.text, owner.attributes, added=found.added)


def _attributes(versions: Versions) -> tuple[int, int, int] | None:
    """Each of mode, owner and group from the package, unless somebody had set it otherwise."""
    mine, new = versions.mine, versions.new
    if mine is None or new is None:
        return None
    if versions.pristine is None:
        return mine.attributes
    rows = zip(versions.pristine.attributes, mine.attributes, new.attributes, strict=True)
    mode, uid, gid = (theirs if ours == was else ours for was, ours, theirs in rows)
    return mode, uid, gid


def _overlaid(path: str, versions: Versions) -> str:
    if versions.mine is None or versions.new is None:
        return ""
    if versions.is_first:
        return f"{path}: the recipe wrote it before the package that brings it was installed"
    return f"{path}: the recipe writes it whole, and the package has a new version of it"


def _lost(path: str, cause: Cause) -> str:
    if cause in ("nobody", "recipe"):
        return ""
    return f"{path}: the package replaced it; what a script had changed in it is in the report only"
