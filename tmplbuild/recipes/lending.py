"""Archives that a template keeps, and those that only its build has."""

from __future__ import annotations

import msgspec

from tmplbuild.recipes.archive import Archive


def lasting(archives: dict[str, Archive]) -> dict[str, Archive]:
    """The archives that the template's own sources list has."""
    return {role: archive for role, archive in archives.items() if not archive.build_only}


def borrowed(archives: dict[str, Archive]) -> dict[str, Archive]:
    """The archives that only the build has."""
    return {role: archive for role, archive in archives.items() if archive.build_only}


def with_own_keys(archive: Archive) -> Archive:
    """The archive, but it brings the tree its keys."""
    return msgspec.structs.replace(archive, own_keys=True)
