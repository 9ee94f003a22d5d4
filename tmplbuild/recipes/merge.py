"""Inheritance: a file's tables laid over those of its parent.

Tables merge, scalars and lists replace. Within any table `add.NAME = [...]` appends to the inherited
list NAME, and `drop.NAME = [...]` takes items from it, or keys from an inherited table. Both are
strict: adding what is there, dropping what is not, or editing what no parent sets is a fault, since
each means that the author's picture of the parent is wrong. A feature, which is laid on many recipes, is
merged `lax`: what it adds may be there, and what it drops may be absent.
"""

from __future__ import annotations

from tmplbuild.tomlfile import Fault, KeyPath, Node, did_you_mean, quote, spell


def merge(
    parent: Node | None, child: Node, faults: list[Fault], path: KeyPath = (), *, lax: bool = False
) -> Node:
    """The child's table laid over the parent's (None: there is no parent).

    Parameters:
        lax: adding what is there and dropping what is not are no faults.

    Order is stable: inherited items and keys stay where they are, new ones follow in the order given.
    Faults are appended to `faults`, and what is faulty is left out of the result.
    """
    assert isinstance(child.value, dict)
    inherited = parent.value if parent is not None and isinstance(parent.value, dict) else {}
    result = dict(inherited)
    for key, node in child.value.items():
        if _edits(key, node):
            continue
        old = inherited.get(key)
        if isinstance(node.value, dict):
            result[key] = merge(old, node, faults, (*path, key), lax=lax)
        else:
            result[key] = node
    for word, edit in (("drop", _drop), ("add", _add)):
        table = child.value.get(word)
        if table is None or not _edits(word, table) or not isinstance(table.value, dict):
            continue
        for key, wanted in table.value.items():
            where = (*path, word, key)
            if lax and key not in inherited and isinstance(wanted.value, list):
                if word == "add":
                    result[key] = wanted
            elif fault := _unfit(child.value, inherited, key, wanted, where):
                faults.append(fault)
            else:
                found: list[Fault] = []
                result[key] = edit(result[key], wanted, where, found)
                faults += [] if lax else found
    return Node(result, child.place)


def _edits(key: str, node: Node) -> bool:
    return key in ("add", "drop") and isinstance(node.value, dict)


def _unfit(
    given: dict[str, Node], inherited: dict[str, Node], key: str, wanted: Node, where: KeyPath
) -> Fault | None:
    word = str(where[-2])
    if key in given and not isinstance(given[key].value, dict):
        return Fault(
            wanted.place, spell(where), f"{key} is set in this file too", "set it or edit it, not both"
        )
    if key not in inherited:
        hint = did_you_mean(key, inherited) or f"write {key} = [...]"
        return Fault(wanted.place, spell(where), f"no parent sets {key}", hint)
    old = inherited[key].value
    if not isinstance(old, list) and not (word == "drop" and isinstance(old, dict)):
        hint = "write its keys directly" if isinstance(old, dict) else f"write {key} = ..."
        return Fault(wanted.place, spell(where), f"{key} is not a list", hint)
    if not isinstance(wanted.value, list):
        return Fault(wanted.place, spell(where), f"expected a list of what to {word}")
    return None


def _drop(old: Node, wanted: Node, where: KeyPath, faults: list[Fault]) -> Node:
    assert isinstance(wanted.value, list)
    if isinstance(old.value, dict):
        left = dict(old.value)
        for index, item in enumerate(wanted.value):
            if not isinstance(item.value, str) or left.pop(item.value, None) is None:
                faults.append(_absent(item, list(old.value), (*where, index)))
        return Node(left, old.place)
    assert isinstance(old.value, list)
    items = list(old.value)
    for index, item in enumerate(wanted.value):
        at = _position(item, items)
        if at is None:
            faults.append(_absent(item, [str(node.value) for node in old.value], (*where, index)))
        else:
            del items[at]
    return Node(items, old.place)


def _add(old: Node, wanted: Node, where: KeyPath, faults: list[Fault]) -> Node:
    assert isinstance(wanted.value, list)
    assert isinstance(old.value, list)
    items = list(old.value)
    for index, item in enumerate(wanted.value):
        at = _position(item, items)
        if at is None:
            items.append(item)
        else:
            text = f"{_show(item)} is in the list already, from {items[at].place}"
            faults.append(Fault(item.place, spell((*where, index)), text))
    return Node(items, old.place)


def _position(item: Node, items: list[Node]) -> int | None:
    plain = item.plain()
    for at, other in enumerate(items):
        if type(other.value) is type(item.value) and other.plain() == plain:
            return at
    return None


def _absent(item: Node, known: list[str], where: KeyPath) -> Fault:
    text = f"{_show(item)} is not in what is inherited"
    return Fault(item.place, spell(where), text, did_you_mean(str(item.value), known))


def _show(item: Node) -> str:
    return quote(item.value) if isinstance(item.value, str) else str(item.plain())
