"""What people mean by a template: a file, a directory, a name, one of its builds.

./other.tar.zst, some/tree   a file (of any kind that `check` reads), or a directory
debian-12                    a recipe or a template: its file in the template cache
debian-12@-1                 the good build before the newest one; @0 is the newest
debian-12@20261125           a build by its id, or the beginning of one
20261125T143354Z-30db4f2a    the same, of any template
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import tmplbuild.recipes as recipes
from tmplbuild.changes.changelog import Entry
from tmplbuild.changes.compare import Changelogs, compare, order_of
from tmplbuild.changes.comparison import Comparison, Side
from tmplbuild.changes.facts import Facts, Package
from tmplbuild.changes.gather import gather
from tmplbuild.changes.history import Build, History
from tmplbuild.changes.sources import first_of, of_tree
from tmplbuild.checks.subject import Subject
from tmplbuild.checks.tarball import tarball_view
from tmplbuild.checks.view import View
from tmplbuild.config import Settings
from tmplbuild.core.tree import Tree
from tmplbuild.errors import StoreError, UsageError

_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
_BACK = re.compile(r"0|-\d{1,6}")


@dataclass(frozen=True, slots=True)
class Operand:
    """A template that was found. `file` is its tarball or directory, None for a build whose file is gone;
    `build` its build in the history, if it is one of ours."""

    side: Side
    made: float
    file: Path | None = None
    build: Build | None = None


def template_of(name: str, settings: Settings, arch: str | None = None) -> str:
    """The template that a recipe's name or a template's own name stands for. Raises UsageError for
    neither, RecipeError for a recipe with faults."""
    if (settings.template_cache / f"{name}.tar.gz").exists() or name in History(
        settings.state_dir
    ).templates():
        return name
    return recipes.load(name, arch=arch, roots=recipes.recipe_roots(settings.recipes)).recipe.image.name


def build_of(
    text: str, settings: Settings, arch: str | None = None, *, good: bool = True
) -> tuple[str, Build] | None:
    """The template and the build that "NAME@WHICH" or a build's id names; None for other texts.

    Parameters:
        good: count and find good builds only.

    Raises UsageError where there is no such build.
    """
    history = History(settings.state_dir)
    name, at, which = text.rpartition("@")
    if not at:
        if not _ID.fullmatch(text):
            return None
        found = [(one, build) for one in history.templates() if (build := history.build(one, text))]
        if not found:
            raise UsageError(f"there is no build {text}", where=str(history.dir))
        return found[0]
    template = template_of(name, settings, arch)
    builds = [build for build in history.builds(template) if build.good or not good]
    hint = f"tmplbuild history {name}"
    if _BACK.fullmatch(which):
        back = -int(which)
        if back >= len(builds):
            kind = "good builds" if good else "builds"
            raise UsageError(f"there is no build {text}", why=f"there are {len(builds)} {kind}", hint=hint)
        return template, builds[-1 - back]
    matching = [build for build in builds if which and build.id.startswith(which)]
    if len(matching) != 1:
        why = f"{len(matching)} builds begin so" if matching else ""
        raise UsageError(f"there is no build {text}", why=why, hint=hint)
    return template, matching[0]


def find(text: str, settings: Settings, arch: str | None = None) -> Operand:
    """The template that a word of the command line means. Raises UsageError, RecipeError, StoreError."""
    path = Path(text)
    if "/" in text or path.is_file():
        if not path.exists():
            raise UsageError(f"there is no file {text}")
        return _of_path(path, settings, text)
    named = build_of(text, settings, arch)
    if named is not None:
        return _of_build(named[1])
    template = template_of(text, settings, arch)
    file = settings.template_cache / f"{template}.tar.gz"
    if file.is_file():
        return _of_path(file, settings, template)
    last = History(settings.state_dir).last_good(template)
    if last is None:
        raise UsageError(
            f"there is no build of {template}",
            where=str(settings.template_cache),
            hint=f"tmplbuild build {text} makes one",
        )
    return _of_build(last)


def compare_operands(before: Operand, after: Operand, settings: Settings) -> Comparison:
    """How the second one differs from the first. Raises what reading their files does."""
    with ExitStack() as stack:
        old = _facts(before, settings, stack)
        new = _facts(after, settings, stack)
        changelogs = first_of(_of_history(before, after, settings, new.family), _of_file(after, stack))
        return compare(old, new, sides=(before.side, after.side), changelogs=changelogs)


def _of_build(build: Build) -> Operand:
    return Operand(Side(build.template, build.id, build.sha256, build.size), build.made, build=build)


def _of_path(path: Path, settings: Settings, name: str) -> Operand:
    made = path.stat().st_mtime
    if path.is_dir():
        return Operand(Side(name), made, path)
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError("the file cannot be read", where=str(path), why=str(error.strerror)) from error
    build = _known(sha256, settings)
    if build is not None:
        made = build.made
    size = path.stat().st_size
    return Operand(Side(name, build.id if build else "", sha256, size), made, path, build)


def _known(sha256: str, settings: Settings) -> Build | None:
    """The newest good build that made this very file."""
    history = History(settings.state_dir)
    for template in history.templates():
        for build in reversed(history.builds(template)):
            if build.good and build.sha256 == sha256:
                return build
    return None


def _facts(operand: Operand, settings: Settings, stack: ExitStack) -> Facts:
    if operand.build is not None:
        try:
            return History(settings.state_dir).facts(operand.build)
        except StoreError:
            if operand.file is None:
                raise
    assert operand.file is not None
    return gather(Subject(stack.enter_context(_view(operand.file))))


@contextmanager
def _view(path: Path) -> Iterator[View]:
    if path.is_dir():
        with Tree(path) as tree:
            yield View.of_tree(tree)
    else:
        with tarball_view(path) as view:
            yield view


# -- changelogs ---------------------------------------------------------------------------------------


def _of_history(before: Operand, after: Operand, settings: Settings, family: str) -> Changelogs:
    """What the builds between the two have told of their packages."""
    told: dict[str, list[Entry]] = {}
    one, two = before.build, after.build
    if one is not None and two is not None and one.template == two.template:
        history = History(settings.state_dir)
        for build in history.builds(one.template):
            changes = history.changes(build) if one.id < build.id <= two.id else None
            for package in changes.packages if changes is not None else ():
                if package.change == "upgraded":
                    suites = ("security",) if package.security else ()
                    text = " ".join(package.cves)
                    told.setdefault(package.name, []).append(
                        Entry(package.after, suites, package.urgency, text=text)
                    )
    order = order_of(family)

    def look(old: Package, new: Package) -> Iterable[Entry]:
        return tuple(
            entry
            for entry in told.get(new.name, ())
            if order(entry.version, old.version) > 0 and order(entry.version, new.version) <= 0
        )

    return look


def _of_file(operand: Operand, stack: ExitStack) -> Changelogs:
    """The changelogs in the template itself, which is opened when the first one is asked for."""
    opened: list[Changelogs] = []

    def look(old: Package, new: Package) -> Iterable[Entry]:
        if operand.file is None:
            return ()
        if not opened:
            opened.append(of_tree(stack.enter_context(_view(operand.file))))
        return opened[0](old, new)

    return look
