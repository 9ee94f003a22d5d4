"""What is told of a decision: a row of JSON values for the record, the manifest and the log."""

from __future__ import annotations

import difflib
from typing import Any

from tmplbuild.leftovers.cause import File, Versions
from tmplbuild.leftovers.decide import Decision
from tmplbuild.leftovers.facts import Config
from tmplbuild.leftovers.intent import matches

DIFF_LINES = 200
"""Longer diffs are cut."""


def row(
    path: str,
    kind: str,
    decision: Decision,
    versions: Versions,
    *,
    result: File | None = None,
    now: Config | None = None,
    secrets: tuple[str, ...] = (),
    base: str = "",
) -> dict[str, Any]:
    """One decision as JSON values; what is not known is left out.

    Parameters:
        path: the file that was found.
        kind: new (side), old (side), waste, stray, replaced, obsolete.
        result: the configuration file after the decision.
        now: what the package database says of the configuration file after the upgrade.
        secrets: patterns of files whose content is not shown; nor is that of files that not all may read.
        base: the configuration file, if that is another path.

    Keys: path, decision, kind, cause, package, from_version, to_version, sha256 (of old: as its
    package delivered it, disk: as it was in use, new: the package's new version, result), diff (from
    disk to new, unified; "" for a secret).
    """
    config = base or path
    hashes = {
        "old": versions.pristine.sha256 if versions.base is not None and versions.pristine else "",
        "disk": versions.mine.sha256 if versions.mine else "",
        "new": versions.new.sha256 if versions.new else "",
        "result": result.sha256 if result else "",
    }
    secret = matches(config, secrets) or _is_private(versions)
    found: dict[str, Any] = {
        "path": path,
        "decision": decision.text,
        "kind": kind,
        "cause": decision.cause,
        "package": (now or versions.config or Config("")).package,
        "from_version": versions.config.version if versions.config else "",
        "to_version": now.version if now else "",
        "sha256": {name: value for name, value in hashes.items() if value},
        "diff": "" if secret else diff(config, versions),
        "secret": secret,
    }
    return {key: value for key, value in found.items() if value}


def _is_private(versions: Versions) -> bool:
    return any(file is not None and not file.mode & 0o004 for file in (versions.mine, versions.new))


def diff(path: str, versions: Versions) -> str:
    """The unified diff from the file in use to the package's new version; "" where one is no text."""
    mine, new = versions.mine, versions.new
    if mine is None or new is None or mine.data is None or new.data is None:
        return ""
    if b"\0" in mine.data or b"\0" in new.data:
        return ""
    rows = difflib.unified_diff(_lines(mine.data), _lines(new.data), f"in use: {path}", f"package's: {path}")
    lines = [line.rstrip("\n") for line in rows]
    more = len(lines) - DIFF_LINES
    cut = [*lines[:DIFF_LINES], f"... and {more} lines more"] if more > 0 else lines
    return "".join(f"{line}\n" for line in cut)


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "backslashreplace").split("\n")
