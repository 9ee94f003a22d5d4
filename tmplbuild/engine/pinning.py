"""resolve: the one place that asks the world what is new, and decides which pins a build uses.

- Nothing that the closure is made of moved: the pins of the last good build are used again, epoch
  and all, so that the build is unchanged to the byte.
- Packages moved: the base and the installed set of the last build stay, the live upgrade goes to
  the new closure; but when that base is older than `rebuild_after_days`, or the recipe asks for
  other packages, all starts from today's closure.
- A bootstrap that another recipe made of the very same packages is shared: its epoch is taken.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tmplbuild.archives.model import ArchiveState, Closure
from tmplbuild.engine import keys
from tmplbuild.engine.pins import Pinned, Pins, describe_archives, newest_date
from tmplbuild.recipes.model import Recipe, plain

DAY_S = 86400


def request(recipe: Recipe, arch: str) -> str:
    """A hash of all in a recipe that decides which packages are asked for. Mirrors do not."""
    return keys.digest(asked(recipe, arch))


def asked(recipe: Recipe, arch: str) -> dict[str, Any]:
    """All in a recipe that decides which packages are asked for, as plain values for a record."""
    archives = {
        role: [
            list(archive.suites),
            list(archive.components),
            *([list(archive.modules)] * bool(archive.modules)),
        ]
        for role, archive in recipe.archives.items()
    }
    values: dict[str, Any] = {
        "arch": arch,
        "archives": archives,
        "bootstrap": keys.without_timeouts(plain(recipe.bootstrap)),
        "install": keys.without_timeouts(plain(recipe.install)),
    }
    plain_values: dict[str, Any] = json.loads(keys.canonical(values))  # as a record will give it back
    return plain_values


def more_asked(recipe: Recipe, arch: str, last: Mapping[str, Any]) -> tuple[str, ...]:
    """The packages that a recipe asks for beside those that the last good build's did; nothing where it
    differs in anything else: then the tree is made anew."""
    old = last.get("asked")
    if not isinstance(old, Mapping):
        return ()  # a record of an earlier version of this program
    new = asked(recipe, arch)
    before, after = old.get("install", {}).get("packages", []), new["install"]["packages"]
    more = tuple(name for name in after if name not in before)
    rest = {**new, "install": {**new["install"], "packages": before}}
    return more if set(before) <= set(after) and rest == old else ()


def unmoved(
    recipe: Recipe, arch: str, states: tuple[ArchiveState, ...], last: Mapping[str, Any] | None
) -> Pins | None:
    """The pins of the last good build, if the very same signed indexes are there and the recipe asks
    for the same packages: then no closure needs to be worked out."""
    old = _last_pins(last)
    if old is None or last is None or last.get("request") != request(recipe, arch):
        return None
    return old if old.archives == describe_archives(states) else None


def choose(
    recipe: Recipe,
    arch: str,
    states: tuple[ArchiveState, ...],
    base: Closure,
    full: Closure,
    *,
    last: Mapping[str, Any] | None,
    now: int,
    base_epoch: Callable[[str], int | None],
    install_epochs: Callable[[str, str], tuple[int, int] | None] = lambda full, base: None,
    fresh: bool = False,
) -> tuple[Pins, str]:
    """The pins of this build and, in words, why these.

    Parameters:
        base, full: today's closures.
        last: the record of the last good build.
        now: seconds since the epoch.
        base_epoch: the epoch of a bootstrap in the store that is made of the packages with this
            digest, if there is one.
        install_epochs: likewise those of an install and its base, by the digests of both's packages.
        fresh: start from today's closure whatever the last build was.
    """
    epoch = newest_date(states)
    target = Pinned.of(full, epoch)
    today = _today(arch, states, base, target, now, base_epoch)
    # what another recipe has installed of the very same packages is shared, as a bootstrap is
    if (there := install_epochs(target.digest, today.base.digest)) is not None and not fresh:
        bottom = replace(today.base, epoch=there[1])
        today = replace(today, base=bottom, full=replace(target, epoch=there[0]))
    old = _last_pins(last)
    if fresh:
        return today, "a rebuild was asked for"
    if old is None or last is None:
        return today, "first build"
    more: tuple[str, ...] = ()
    if last.get("request") != request(recipe, arch):
        more = more_asked(recipe, arch, last)
        if not more or not target.versions().keys() >= set(more):
            if {one.digest for one in (old.full, old.target)} == {target.digest} and old.base.digest == (
                today.base.digest
            ):
                return old, "no package moved in the archives"  # the recipe asks for them in other words
            return today, "the recipe asks for other packages or archives"
    if old.target.digest == target.digest and not more:
        return old, "no package moved in the archives"
    what = f"the recipe asks for more packages ({', '.join(more)})" if more else "packages moved"
    if too_old := _too_old(old, now, recipe.rebuild_after_days):
        return today, f"{what} and {too_old}"
    return replace(old, target=target, archives=describe_archives(states)), (
        what if more else f"{what} in the archives"
    )


def _too_old(old: Pins, now: int, days: int) -> str:
    """Why the base must be made anew, or ""."""
    age_days = (now - old.resolved_at) / DAY_S
    if age_days > days:
        return f"the base is {age_days:.0f} days old (rebuild_after_days = {days})"
    if age_days < -1:
        return "the base was made at a time that is still to come: this machine's clock went back"
    return ""


def choose_upgrade(
    recipe: Recipe,
    arch: str,
    states: tuple[ArchiveState, ...],
    source: Pinned,
    full: Closure,
    *,
    last: Mapping[str, Any] | None,
    now: int,
    fresh: bool = False,
) -> tuple[Pins, str]:
    """The pins of a template that is made out of an earlier release's, and why these.

    Parameters:
        source: the earlier template, as `base` and `full`: see `tmplbuild.engine.source`.
        full: today's closure of the recipe; the others as in `choose`.
    """
    target = Pinned.of(full, newest_date(states))
    today = Pins(arch, describe_archives(states), source, source, target, now)
    old = _last_pins(last)
    if fresh:
        return today, "a rebuild was asked for"
    if old is None or last is None:
        return today, "first build"
    if last.get("request") != request(recipe, arch):
        return today, "the recipe asks for other packages or archives"
    if old.base.digest != source.digest:
        return today, "the template that it is made of is another one"
    if old.target.digest == target.digest:
        return old, "no package moved in the archives"
    return today, "packages moved in the archives"


def _today(
    arch: str,
    states: tuple[ArchiveState, ...],
    base: Closure,
    target: Pinned,
    now: int,
    base_epoch: Callable[[str], int | None],
) -> Pins:
    bottom = Pinned.of(base, target.epoch)
    shared = base_epoch(bottom.digest)
    if shared is not None:
        bottom = replace(bottom, epoch=shared)
    return Pins(arch, describe_archives(states), bottom, target, target, now)


def _last_pins(last: Mapping[str, Any] | None) -> Pins | None:
    try:
        return None if last is None else Pins.from_json(last["pins"])
    except (KeyError, TypeError, ValueError):
        return None  # a record of another version of this program: as if there were none
