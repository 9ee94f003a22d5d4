"""The stages of a build in their order, and what each of them is handed.

bootstrap → install → configure → strip → clean → upgrade → leftovers → clean → check → pack → boot

What is handed goes into the step's key; so this is also the list of what each result depends on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tmplbuild.engine import keys
from tmplbuild.engine.pins import Pins
from tmplbuild.recipes.model import Archive, Recipe, Section, plain
from tmplbuild.stages import (
    boot,
    bootstrap,
    check,
    clean,
    configure,
    install,
    leftovers,
    pack,
    strip,
    upgrade,
)

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

_VERSIONS = {
    "bootstrap": bootstrap.VERSION,
    "install": install.VERSION,
    "configure": configure.VERSION,
    "strip": strip.VERSION,
    "clean": clean.VERSION,
    "upgrade": upgrade.VERSION,
    "leftovers": leftovers.VERSION,
    "clean-again": clean.VERSION,
    "check": check.VERSION,
    "pack": pack.VERSION,
    "boot": boot.VERSION,
}
LOOKS_ONLY = frozenset({"check", "pack", "boot"})


def steps(recipe: Recipe, digests: Digests, pins: Pins) -> tuple[Step, ...]:
    """All steps with their keys, each built on the one before.

    Parameters:
        digests: sha256 by name of the files beside the recipe that a section takes in.
    """
    handed = _handed(recipe, digests, pins)
    result: list[Step] = []
    tree: str | None = None  # the layer below; steps that only look hang below the last tree
    last: str | None = None
    for name in NAMES:
        if name == "boot" and not recipe.check.boot:
            continue
        parent = last if name == "boot" else tree  # boot tries what pack made
        plain_handed = json.loads(keys.canonical(handed[name]))  # as a record will give it back
        key = keys.layer_key(name, _VERSIONS[name], plain_handed, parent)
        layer = name not in LOOKS_ONLY
        result.append(Step(name, key, parent, plain_handed, layer))
        last = key
        if layer:
            tree = key
    return tuple(result)


def _handed(recipe: Recipe, digests: Digests, pins: Pins) -> dict[str, dict[str, Any]]:
    # timeouts change no byte of a result; the boot test's options change none of the tree
    strip_, clean_ = keys.without_timeouts(plain(recipe.strip)), plain(recipe.clean)
    clean_["beside"] = digests(recipe.clean)
    check_ = plain(recipe.check)
    waive = {"waive": check_.pop("waive")}
    return {
        "bootstrap": {
            "arch": pins.arch,
            "merged_usr": recipe.bootstrap.merged_usr,
            "packages": pins.base.digest,
            "epoch": pins.base.epoch,
        },
        "install": {"packages": pins.full.digest, "epoch": pins.full.epoch},
        "configure": {
            **keys.without_timeouts(plain(recipe.configure)),
            "sources_list": {
                role: [archive.public, list(archive.suites), list(archive.components), _own_keys(archive)]
                for role, archive in recipe.archives.items()
            },
            "beside": digests(recipe.configure),
        },
        "strip": strip_,
        "clean": clean_,
        "upgrade": {
            **keys.without_timeouts(plain(recipe.upgrade)),
            "packages": pins.target.digest,
            "epoch": pins.target.epoch,
        },
        "leftovers": {**plain(recipe.leftovers), "work": _work(recipe, digests)},
        "clean-again": clean_,
        "check": waive,
        "pack": {**plain(recipe.pack), "epoch": pins.target.epoch},
        "boot": keys.without_timeouts(check_),
    }


def _own_keys(archive: Archive) -> list[str]:
    # the fingerprint says which key it is; what subkeys its certificate has matters to the tool only
    return list(archive.keys) if archive.own_keys else []


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
        },
        "configure-again": handed["configure"],
        "strip-again": handed["strip"],
    }


def _work(recipe: Recipe, digests: Digests) -> dict[str, Any]:
    # the earlier trees that the stage looks at too lie below this one: their keys are in its parent's
    work = leftovers.work_of(recipe.configure, recipe.strip, recipe.clean)
    return {**plain(work), "beside": {**digests(recipe.configure), **digests(recipe.clean)}}
