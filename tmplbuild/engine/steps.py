"""The stages of a build in their order, and what each of them is handed.

bootstrap → install → configure → strip → clean → upgrade → leftovers → clean → check → pack → boot

A template that is made out of an earlier release's, or of a tarball, begins with that instead of
packages, and after its upgrade the recipe's rules are applied once more: what came with the release has
not seen them.

What is handed goes into the step's key; so this is also the list of what each result depends on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tmplbuild.engine import keys
from tmplbuild.engine.pins import Pins
from tmplbuild.recipes.kinds import Section
from tmplbuild.recipes.lending import borrowed, lasting
from tmplbuild.recipes.model import Archive, Recipe, plain
from tmplbuild.recipes.release import begins_packed
from tmplbuild.stages import versions
from tmplbuild.stages.work import work_of

Digests = Callable[[Section], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a build: `name` on screens, the `key` of its result, and what it was made of.

    `makes_layer` is false for steps that look at the tree and change nothing in it.
    """

    name: str
    key: str
    parent: str | None
    handed: dict[str, Any]
    makes_layer: bool


NAMES = (
    "bootstrap",
    "install",
    "configure",
    "strip",
    "clean",
    "upgrade",
    "leftovers",
    "clean-again",
    "check",
    "pack",
    "boot",
)

RELEASE_NAMES = (
    "bootstrap",
    "configure",
    "strip",
    "clean",
    "upgrade",
    "leftovers",
    "configure-again",
    "strip-again",
    "clean-again",
    "check",
    "pack",
    "boot",
)
"""Where the tree begins with one that somebody has packed: an earlier release's template, a tarball."""

_VERSIONS = {
    "bootstrap": versions.BOOTSTRAP,
    "install": versions.INSTALL,
    "configure": versions.CONFIGURE,
    "strip": versions.STRIP,
    "clean": versions.CLEAN,
    "upgrade": versions.UPGRADE,
    "leftovers": versions.LEFTOVERS,
    "clean-again": versions.CLEAN,
    "check": versions.CHECK,
    "pack": versions.PACK,
    "boot": versions.BOOT,
}
_RELEASE_VERSIONS = {
    **_VERSIONS,
    "bootstrap": versions.UNPACK,
    "upgrade": versions.RELEASE,
    "configure-again": versions.CONFIGURE,
    "strip-again": versions.STRIP,
}
_WITH_KEYS = frozenset({"dnf", "zypper"})  # whose lists name the keys, and what is signed by them
_RELEASE_KEYS = ("from", "before", "first", "minimal", "after", "compare")
LOOKS_ONLY = frozenset({"check", "pack", "boot"})


HOOK = "hook-"
"""What the step of a hook is called, with the hook's name behind it."""


def names_of(recipe: Recipe) -> tuple[str, ...]:
    """The steps of a recipe's build, in order, with the hooks where they belong."""
    found: list[str] = []
    for name in RELEASE_NAMES if begins_packed(recipe) else NAMES:
        found += [HOOK + hook for hook, row in recipe.hooks.items() if row.before == name]
        found.append(name)
        found += [HOOK + hook for hook, row in recipe.hooks.items() if row.after == name]
    return tuple(found)


def steps(recipe: Recipe, digests: Digests, pins: Pins, *, emulated: bool = False) -> tuple[Step, ...]:
    """All steps with their keys, each built on the one before.

    Parameters:
        digests: sha256 by name of the files beside the recipe that a section takes in.
        emulated: the tree's programs are emulated: then it is upgraded without its init.
    """
    handed = {**_handed(recipe, digests, pins), **_hooks(recipe, digests, pins)}
    numbers = dict.fromkeys(handed, versions.HOOK) | _VERSIONS
    if begins_packed(recipe):
        handed |= _handed_upgrade(recipe, handed, pins)
        numbers |= _RELEASE_VERSIONS
    if emulated:
        handed["upgrade"]["emulated"] = True
    result: list[Step] = []
    tree: str | None = None  # the layer below; steps that only look hang below the last tree
    last: str | None = None
    for name in names_of(recipe):
        if name == "boot" and not recipe.check.boot:
            continue
        parent = last if name == "boot" else tree  # boot tries what pack made
        plain_handed = json.loads(keys.canonical(handed[name]))  # as a record will give it back
        key = keys.layer_key(name, numbers[name], plain_handed, parent)
        layer = name not in LOOKS_ONLY
        result.append(Step(name, key, parent, plain_handed, layer))
        last = key
        if layer:
            tree = key
    return tuple(result)


def _handed(recipe: Recipe, digests: Digests, pins: Pins) -> dict[str, dict[str, Any]]:
    # timeouts change no byte of a result; the boot test's options change none of the tree
    upgrade_ = keys.without_timeouts(plain(recipe.upgrade))
    strip_, clean_ = keys.without_timeouts(plain(recipe.strip)), plain(recipe.clean)
    clean_["beside"] = digests(recipe.clean)
    check_ = plain(recipe.check)
    added = added_of(recipe, pins)
    waive = {"waive": check_.pop("waive"), **logins_of(recipe)}
    return {
        "bootstrap": {
            "arch": pins.arch,
            "merged_usr": recipe.bootstrap.merged_usr,
            "packages": pins.base.digest,
            "epoch": pins.base.epoch,
            **_method(recipe),
        },
        "install": {"packages": pins.full.digest, "epoch": pins.full.epoch},
        "configure": {
            **keys.without_timeouts(plain(recipe.configure)),
            "sources_list": {
                role: [
                    archive.public,
                    list(archive.suites),
                    list(archive.components),
                    *_own_keys(archive, digests),
                    *([archive.vendor, list(archive.keys)] if archive.vendor else []),
                    *([list(archive.modules)] if archive.modules else []),
                    *([archive.signed, list(archive.keys)] if recipe.configure.sources in _WITH_KEYS else []),
                ]
                for role, archive in lasting(recipe.archives).items()
            },
            "beside": digests(recipe.configure),
        },
        "strip": strip_,
        "clean": clean_,
        "upgrade": {
            **{key: value for key, value in upgrade_.items() if key not in _RELEASE_KEYS},
            "packages": pins.target.digest,
            "epoch": pins.target.epoch,
            **_borrowed(recipe),
            **({"added": list(added), "recommends": recipe.install.recommends} if added else {}),
        },
        "leftovers": {**plain(recipe.leftovers), "work": _work(recipe, digests)},
        "clean-again": clean_,
        "check": waive,
        "pack": {**plain(recipe.pack), "epoch": pins.target.epoch},
        "boot": keys.without_timeouts(check_),
    }


def logins_of(recipe: Recipe) -> dict[str, Any]:
    """What stage check must not take for a builder's remains: the accounts that the recipe asks for."""
    users = {name: plain(user) for name, user in recipe.configure.users.items()}
    return {"users": users} if users else {}


def _hooks(recipe: Recipe, digests: Digests, pins: Pins) -> dict[str, dict[str, Any]]:
    image = recipe.image
    return {
        HOOK + name: {
            **keys.without_timeouts(plain(hook)),
            "run": digests(hook)[hook.run],
            "release": [image.distro, image.release, image.suite],
            # a booted system reaches the archives as they are pinned
            **({"target": pins.target.digest, "mask": list(recipe.upgrade.mask)} if hook.booted else {}),
        }
        for name, hook in recipe.hooks.items()
    }


def added_of(recipe: Recipe, pins: Pins) -> tuple[str, ...]:
    """The packages that were asked for after the tree was made, which the upgrade installs."""
    if pins.target.auto:
        return pins.added
    # where the package manager does not tell apart what was asked for, the recipe does
    named = {*recipe.bootstrap.include, *recipe.install.packages}
    return tuple(name for name in pins.added if name in named)


def _method(recipe: Recipe) -> dict[str, str]:
    return {} if recipe.bootstrap.method == "deb" else {"method": recipe.bootstrap.method}


def _borrowed(recipe: Recipe) -> dict[str, Any]:
    """What the sources of the tree have while it is upgraded, and no longer."""
    rows = {
        role: [archive.public, list(archive.suites), list(archive.components), list(archive.keys)]
        for role, archive in borrowed(recipe.archives).items()
    }
    return {"borrowed": rows} if rows else {}


def _own_keys(archive: Archive, digests: Digests) -> list[Any]:
    """The keys that the tree is given: a certificate may be renewed, and a keyring have others in it."""
    return [list(archive.keys), digests(archive)] if archive.own_keys else [[]]


def _handed_upgrade(
    recipe: Recipe, handed: dict[str, dict[str, Any]], pins: Pins
) -> dict[str, dict[str, Any]]:
    """What differs where the tree begins with an earlier release's template."""
    release_ = keys.without_timeouts(plain(recipe.upgrade))
    for key in ("from", "compare"):  # the template itself is in the key; a comparison changes no byte
        del release_[key]
    return {
        "bootstrap": {"arch": pins.arch, "packages": pins.base.digest, "epoch": pins.base.epoch},
        "upgrade": {
            **release_,
            "install": list(recipe.install.packages),
            "recommends": recipe.install.recommends,
            "packages": pins.target.digest,
            "epoch": pins.target.epoch,
            **_borrowed(recipe),
        },
        "configure-again": handed["configure"],
        "strip-again": handed["strip"],
    }


def _work(recipe: Recipe, digests: Digests) -> dict[str, Any]:
    # the earlier trees that the stage looks at too lie below this one: their keys are in its parent's
    work = work_of(recipe.configure, recipe.strip, recipe.clean)
    return {**plain(work), "beside": {**digests(recipe.configure), **digests(recipe.clean)}}
