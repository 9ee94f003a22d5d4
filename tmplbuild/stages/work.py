"""What a recipe does to files before the upgrade, as far as stage leftovers can do it again."""

from __future__ import annotations

from tmplbuild.recipes import model
from tmplbuild.recipes.kinds import Section
from tmplbuild.recipes.model import Clean, Configure, Edit, Strip

SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d/*")
"""What stage configure writes beside the recipe's own files."""


class Work(Section, frozen=True, kw_only=True):
    """What the earlier stages did to files by the recipe's word, as far as it can be done again.

    Keys:
        files: those of configure and clean.
        again: paths among them that no later stage writes.
        edits: those of configure and strip, in order.
        removed: patterns of what strip and clean take out.
        written: patterns of files that a stage writes whole by itself.
    """

    files: dict[str, model.File]
    again: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()
    removed: tuple[str, ...] = ()
    written: tuple[str, ...] = ()


def work_of(configure: Configure, strip: Strip, clean: Clean) -> Work:
    """The work of a recipe's sections. It is part of what the stage is handed, so of its key."""
    again = {path: file for path, file in configure.files.items() if not file.directory}
    return Work(
        files={**again, **{path: file for path, file in clean.files.items() if not file.directory}},
        again=tuple(path for path in again if path not in clean.files),
        edits=(*configure.edits, *strip.edits),
        removed=(*strip.remove, *clean.remove, *(f"{path}/**" for path in clean.empty)),
        written=SOURCES,
    )
