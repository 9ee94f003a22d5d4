"""Look at several templates at once: which recipes are meant, and what a build of each would do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial

import tmplbuild.recipes as recipes
from tmplbuild.archives.parallel import run_all
from tmplbuild.config import Settings
from tmplbuild.engine.plan import Plan
from tmplbuild.engine.record import Record, delivered
from tmplbuild.engine.shared import Shared
from tmplbuild.engine.world import Resolved, Wish, World, open_world, plan_of, resolve
from tmplbuild.errors import RecipeError, StoreError, TmplbuildError, UsageError, bug
from tmplbuild.events import silent
from tmplbuild.tomlfile import did_you_mean

_AT_ONCE = 8  # most of the time goes into waiting for mirrors


@dataclass(slots=True)
class Seen:
    """One recipe and what is known of its template.

    `template` is the template's name (the recipe's where it cannot be loaded), `arch` the architecture that
    was asked for. What a build would do
    is in `plan`; `error` tells why that could not be found out; `skip` why the template is not to be
    built at all. `current`: the last good build is what a build would make today, and its file is in
    its place. `last` is the record of that build, `failed` of the last failure after it.
    """

    name: str
    template: str
    world: World | None = None
    resolved: Resolved | None = None
    plan: Plan | None = None
    error: TmplbuildError | None = None
    skip: str = ""
    current: bool = False
    last: Record | None = None
    failed: Record | None = None
    arch: str | None = None


def select(settings: Settings, patterns: Sequence[str], *, enabled_only: bool) -> list[str]:
    """The recipes that are meant, by name, in the catalogue's order; files (./x.toml) and recipes with
    features (debian-12+ssh) last.

    Parameters:
        patterns: names or patterns of names; all that are enabled, if empty.
        enabled_only: of those that the settings' [nightly] enables.

    Raises UsageError for a pattern that nothing matches.
    """
    # where nobody names variants none is meant, and nothing has to be read to know them
    named = bool(patterns or settings.nightly.recipes)
    entries = recipes.entries(recipes.recipe_roots(settings.recipes), variants=named)
    night = settings.nightly
    enabled = [
        entry
        for entry in entries
        if _means(night.recipes or ("*",), entry)
        and not any(fnmatchcase(entry.name, pattern) for pattern in night.skip)
    ]
    if not patterns:
        for pattern in night.recipes:
            _expect(pattern, entries, "the settings' nightly.recipes")
        return [entry.name for entry in enabled]
    pool = enabled if enabled_only else entries
    given = [pattern for pattern in patterns if recipes.is_path(pattern) or "+" in pattern]
    rest = [pattern for pattern in patterns if pattern not in given]
    for pattern in rest:
        _expect(pattern, pool, "the recipes that are enabled" if enabled_only else "the recipes")
    return [entry.name for entry in pool if _means(rest, entry)] + given


def _means(patterns: Sequence[str], entry: recipes.Entry) -> bool:
    """Whether one of the patterns means the recipe. A variant is meant by its whole name, or by a pattern
    with a part for it: debian-*-minimal, debian-12-*; not by debian-*, which means the releases."""
    if not entry.variant:
        return any(fnmatchcase(entry.name, pattern) for pattern in patterns)
    stem = entry.name.removesuffix(f"-{entry.variant}")
    return any(
        fnmatchcase(stem, pattern[:at]) and fnmatchcase(entry.variant, pattern[at + 1 :])
        for pattern in patterns
        for at, sign in enumerate(pattern)
        if sign == "-"
    )


def _expect(pattern: str, entries: Sequence[recipes.Entry], where: str) -> None:
    if not any(_means([pattern], entry) for entry in entries):
        names = [entry.name for entry in entries]
        near = did_you_mean(pattern, names) or f"there are {', '.join(names) or 'none'}"
        raise UsageError(f'no recipe matches "{pattern}"', where=where, hint=near)


def look(
    settings: Settings,
    names: Sequence[str],
    wish: Wish,
    arches: Sequence[str] = (),
    made_there: Callable[[str], bool] | None = None,
) -> list[Seen]:
    """What a build of each of these recipes would do now. Archives that several have in common are
    asked once. Nothing is built, and nothing raised for a single recipe.

    Parameters:
        arches: each recipe for each of them that it has, instead of the wish's.
        made_there: see `tmplbuild.engine.world.World`.
    """
    shared = Shared()
    pairs = [(name, arch) for name in names for arch in arches or (wish.arch,)]
    every = [
        _opened(settings, name, replace(wish, arch=arch), made_there, several=len(arches) > 1)
        for name, arch in pairs
    ]
    seen = list({(one.name, one.template): one for one in every}.values())  # amd64 and x86_64 are one
    taken: dict[str, str] = {}
    for one in seen:
        if one.world is not None and taken.setdefault(one.template, one.name) != one.name:
            one.error = RecipeError(
                f"two recipes make the template {one.template}",
                where=one.name,
                why=f"{taken[one.template]} makes it, too",
                hint="give one of them another image.name, or leave it out with nightly.skip",
            )
    tasks = [
        partial(_judged, one, wish, shared)
        for one in seen
        if one.world is not None and one.error is None and not one.skip
    ]
    if tasks:
        run_all(tasks, _AT_ONCE, threading.Event(), lambda: None)
    return seen


def _opened(
    settings: Settings,
    name: str,
    wish: Wish,
    made_there: Callable[[str], bool] | None,
    *,
    several: bool,
) -> Seen:
    seen = Seen(name, f"{name}-{wish.arch}" if several else name, arch=wish.arch)
    loaded = None
    try:
        loaded = recipes.load(name, arch=wish.arch, roots=recipes.recipe_roots(settings.recipes))
        seen.template = loaded.recipe.image.name
        seen.world = world = open_world(name, wish, settings, silent, loaded=loaded, made_there=made_there)
    except TmplbuildError as error:
        if loaded is None and several and isinstance(error, UsageError):
            seen.skip = f"{error.what}: {error.hint}"
        elif loaded is not None and (roles := _keyless(loaded)):
            seen.skip = f"no signing key of {roles} is pinned: tmplbuild recipe lint {name} tells what to do"
        else:
            seen.error = error
        return seen
    seen.last = world.record()
    seen.failed = world.store.read_record(seen.template, "failed")
    return seen


def _keyless(loaded: recipes.LoadedRecipe) -> str:
    archives = loaded.recipe.archives
    found = [
        role
        for role, archive in archives.items()
        if not archive.keys or any(loaded.key_file(key) is None for key in archive.keys)
    ]
    return ", ".join(found)


def _judged(seen: Seen, wish: Wish, shared: Shared) -> None:
    world = seen.world
    assert world is not None
    try:
        seen.resolved = resolve(world, wish, read=shared.states, close=shared.closures)
        seen.plan = plan_of(world, seen.resolved, wish)
    except StoreError as error:
        if recipes.begins_packed(world.loaded.recipe) and seen.last is None:
            seen.skip = f"{error.what}; {error.hint}" if error.hint else error.what
        else:
            seen.error = error
        return
    except TmplbuildError as error:
        seen.error = error
        return
    except Exception as error:  # noqa: BLE001  # what goes wrong with one template must not take the others
        seen.error = bug(error, seen.name)
        return
    seen.current = bool(seen.last and seen.plan.repeats(seen.last) and delivered(world, seen.last))
