"""The closed set of placeholders: {distro} {release} {suite} {arch} {ve_arch}, and no others.

They are filled in every string of a recipe, keys included, but for the image's own `distro`,
`release`, `suite` and `arches`. In free text (marked `braces` in the model: contents of files,
regular expressions, commands) any other word in braces is text and stays; elsewhere it is a fault.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tmplbuild.tomlfile import Fault, KeyPath, Node, did_you_mean, quote, spell

WORDS = ("distro", "release", "suite", "arch", "ve_arch")
SOURCES = ("distro", "release", "suite", "arches")
_BRACES = re.compile(r"\{([A-Za-z_]+)\}")


def fill(tree: Node, values: Mapping[str, str], free: frozenset[int], faults: list[Fault]) -> Node:
    """The recipe with its placeholders filled.

    Parameters:
        values: one text for each of WORDS.
        free: `id()` of the nodes that are free text, where an unknown word in braces stays.
    """

    def text(raw: str, node: Node, path: KeyPath) -> str:
        def word(found: re.Match[str]) -> str:
            if found[1] in values:
                return values[found[1]]
            if id(node) not in free:
                hint = did_you_mean(found[1], WORDS) or "there are " + ", ".join(
                    f"{{{word}}}" for word in WORDS
                )
                faults.append(Fault(node.place, spell(path), f"unknown placeholder {found[0]}", hint))
            return found[0]

        return _BRACES.sub(word, raw)

    def visit(node: Node, path: KeyPath) -> Node:
        if isinstance(node.value, dict):
            return table(node, path)
        if isinstance(node.value, list):
            return Node([visit(item, (*path, at)) for at, item in enumerate(node.value)], node.place)
        if isinstance(node.value, str):
            return Node(text(node.value, node, path), node.place)
        return node

    def table(node: Node, path: KeyPath) -> Node:
        assert isinstance(node.value, dict)
        result: dict[str, Node] = {}
        for key, item in node.value.items():
            here = (*path, key)
            name = text(key, item, here)
            if name in result:
                faults.append(Fault(item.place, spell(here), f"{quote(name)} is given twice"))
            result[name] = item if path == ("image",) and key in SOURCES else visit(item, here)
        return Node(result, node.place)

    return visit(tree, ())
