"""The stages of a build in their order, and what each of them is handed.

bootstrap → install → configure → strip → clean → upgrade → leftovers → clean → check → pack → boot

What is handed goes into the step's key; so this is also the list of what each result depends on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmplbuild.engine import keys
from tmplbuild.engine.pins import Pins
from tmplbuild.recipes.model import File, Recipe, plain
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


def steps(recipe: Recipe, recipe_dir: Path, pins: Pins) -> tuple[Step, ...]:
    """All steps with their keys, each built on the one before."""
    handed = _handed(recipe, recipe_dir, pins)
    result: list[Step] = []
    tree: str | None = None  # the layer below; steps that only look hang below the last tree
    last: str | None = None
    for name in NAMES:
        if name == "boot" and not recipe.check.boot:
            continue
        parent = last if name in ("pack", "boot") else tree
        key = keys.layer_key(name, _VERSIONS[name], handed[name], parent)
        layer = name not in LOOKS_ONLY
        result.append(Step(name, key, parent, handed[name], layer))
        last = key
        if layer:
            tree = key
    return tuple(result)


def _handed(recipe: Recipe, recipe_dir: Path, pins: Pins) -> dict[str, dict[str, Any]]:
    # timeouts change no byte of a result; the boot test's options change none of the tree
    strip_, clean_ = keys.without_timeouts(plain(recipe.strip)), plain(recipe.clean)
    clean_["sources"] = _digests(recipe.clean.files, recipe_dir)
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
                role: [archive.public, list(archive.suites), list(archive.components)]
                for role, archive in recipe.archives.items()
            },
            "sources": _digests(recipe.configure.files, recipe_dir),
            "form": recipe.configure.sources,
        },
        "strip": strip_,
        "clean": clean_,
        "upgrade": {
            **keys.without_timeouts(plain(recipe.upgrade)),
            "packages": pins.target.digest,
            "epoch": pins.target.epoch,
        },
        "leftovers": plain(recipe.leftovers),
        "clean-again": clean_,
        "check": waive,
        "pack": {**plain(recipe.pack), "epoch": pins.target.epoch},
        "boot": keys.without_timeouts(check_),
    }


def _digests(files: Mapping[str, File], recipe_dir: Path) -> dict[str, str]:
    """sha256 of the files that are taken from beside the recipe."""
    result = {}
    for path, file in sorted(files.items()):
        if file.source is not None:
            source = recipe_dir / file.source
            result[path] = hashlib.sha256(source.read_bytes()).hexdigest() if source.is_file() else ""
    return result
