"""The facts of a build: what stage check kept of the tree, or the tree looked at once more."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from tmplbuild.changes.facts import Facts, Package, read_facts
from tmplbuild.changes.gather import gather
from tmplbuild.checks.subject import Subject
from tmplbuild.checks.view import View
from tmplbuild.core import Rootfs
from tmplbuild.engine.pins import Pins
from tmplbuild.engine.world import World
from tmplbuild.errors import StoreError


def facts_of(
    world: World, keys: Mapping[str, str], packages: Iterable[Mapping[str, Any]], pins: Pins
) -> Facts:
    """The facts of the tree that a plan or a record made.

    Parameters:
        keys: the key of each step by name.
        packages: what pack's note says is installed: for a package database that only its own program
            reads.

    Raises StoreError when neither the facts nor the layers are there any more.
    """
    try:
        found = read_facts(world.store.facts(keys["check"]))
    except (StoreError, KeyError):
        with world.core.tree(rootfs_of(world, packed_tree(keys)), writable=False) as tree:
            found = gather(Subject(View.of_tree(tree)))
    known = found.packages or tuple(Package(**_row(row)) for row in packages)
    origins = {(one.name, one.version): one.archive for one in pins.target.packages}
    return dataclasses.replace(
        found,
        packages=tuple(
            dataclasses.replace(one, origin=origins.get((one.name, one.version), "")) for one in known
        ),
    )


def packed_tree(keys: Mapping[str, str]) -> str:
    """The key of the tree that is packed: of the step before the check.

    Parameters:
        keys: the key of each step by name, in order.
    """
    names = list(keys)
    return keys[names[names.index("check") - 1]]


def keys_of(record: Mapping[str, Any]) -> dict[str, str]:
    """The key of each step that a record names."""
    return {row["name"]: row["key"] for row in record["steps"]}


def rootfs_of(world: World, key: str) -> Rootfs:
    """The tree of a layer. Raises StoreError when it is gone."""
    lower = tuple(layer.fs for layer in world.store.chain(key))
    return Rootfs.plain(lower[0]) if len(lower) == 1 else Rootfs.overlay(lower, None)


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] or "" for name in ("name", "version", "arch", "source")}
