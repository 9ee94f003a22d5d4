"""How two recipes differ, flattened: key by key, and of lists item by item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tmplbuild.recipes.load import LoadedRecipe
from tmplbuild.recipes.model import plain
from tmplbuild.tomlfile import KeyPath, spell


@dataclass(frozen=True, slots=True)
class Difference:
    """One key that two recipes do not agree on.

    `sign` is "+" where only the second has the value (or the list has the item), "-" where only the
    first has it, "~" where each has its own, and for a list whose items are the same in another order.
    """

    key: str
    sign: Literal["+", "-", "~"]
    old: object = None
    new: object = None


def difference(old: LoadedRecipe, new: LoadedRecipe) -> list[Difference]:
    """All differences, in the order of the model's keys; none when both make the same template."""
    return list(_tables(plain(old.recipe), plain(new.recipe), ()))


def _tables(old: Mapping[str, object], new: Mapping[str, object], path: KeyPath) -> Iterator[Difference]:
    for key in dict.fromkeys((*old, *new)):
        here = (*path, key)
        if key not in new:
            yield Difference(spell(here), "-", old=old[key])
        elif key not in old:
            yield Difference(spell(here), "+", new=new[key])
        else:
            yield from _values(old[key], new[key], here)


def _values(old: object, new: object, path: KeyPath) -> Iterator[Difference]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _tables(old, new, path)
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple):
        yield from _lists(old, new, spell(path))
    else:
        yield Difference(spell(path), "~", old, new)


def _lists(
    old: list[object] | tuple[object, ...], new: list[object] | tuple[object, ...], key: str
) -> Iterator[Difference]:
    gone, come = _beyond(old, new), _beyond(new, old)
    yield from (Difference(key, "-", old=item) for item in gone)
    yield from (Difference(key, "+", new=item) for item in come)
    if not gone and not come:
        yield Difference(key, "~", list(old), list(new))


def _beyond(one: list[object] | tuple[object, ...], other: list[object] | tuple[object, ...]) -> list[object]:
    """The items of one list that the other has not, or has fewer times."""
    left = Counter(map(repr, other))
    found = []
    for item in one:
        if left[repr(item)] > 0:
            left[repr(item)] -= 1
        else:
            found.append(item)
    return found
