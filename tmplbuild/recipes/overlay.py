"""Overlays: directories of files beside a recipe, as entries of `configure.files`.

Done while a recipe is loaded, so that all that knows files (keys, leftovers, `show`) knows these.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from tmplbuild.tomlfile import Fault, Node, Place, Scalar, quote, spell


def with_overlays(tree: Node, folders: Sequence[Path], faults: list[Fault]) -> Node:
    """The recipe's tree with the overlays' files in `configure.files`; what stands there already stays.

    Parameters:
        folders: the directories of the recipe's files, the nearest first. An overlay may be in several:
            of files that have one name the nearest counts.
    """
    configure = _table(tree, "configure")
    overlays = _table(Node(configure, tree.place), "overlays")
    if not overlays:
        return tree
    found: dict[str, Node] = {}
    for name, node in overlays.items():
        kept = _scalar(node, "kept") is True
        to = str(_scalar(node, "to") or "/").rstrip("/")
        places = [folder / name for folder in folders if _is_beside(folder, name)]
        if not places:
            hint = f"it is looked for beside {folders[0]} and its parents"
            key = spell(("configure", "overlays", name))
            faults.append(Fault(node.place, key, f"the directory {quote(name)} is not there", hint))
        for place in reversed(places):
            for path, file in _files(place, name, kept, faults):
                found[f"{to}/{path}"] = file
    own = _table(Node(configure, tree.place), "files")
    files = {**{path: file for path, file in found.items() if path not in own}, **own}
    assert isinstance(tree.value, dict)
    at = tree.value["configure"].place
    changed = Node({**configure, "files": Node(files, at)}, at)
    return Node({**tree.value, "configure": changed}, tree.place)


def _files(top: Path, name: str, kept: bool, faults: list[Fault]) -> Iterator[tuple[str, Node]]:
    """The entries of one directory, by their paths below it."""
    for folder, folders, names in os.walk(top):
        folders.sort()
        for entry in sorted([*names, *folders]):
            path = Path(folder) / entry
            about = path.lstat()
            place, below = Place(path, 0), str(path.relative_to(top))
            fields: dict[str, Scalar] = {}
            if stat.S_ISLNK(about.st_mode):
                fields["link"] = os.readlink(path)
            elif stat.S_ISREG(about.st_mode):
                fields["source"] = f"{name}/{below}"
                fields["mode"] = _mode(about, kept)
            elif stat.S_ISDIR(about.st_mode):
                if any(path.iterdir()):
                    continue
                fields["directory"] = True
                if kept:
                    fields["mode"] = _mode(about, kept)
            else:
                faults.append(Fault(place, "", "is neither a file nor a directory nor a link"))
                continue
            if kept:
                fields |= {"uid": about.st_uid, "gid": about.st_gid}
            yield below, Node({key: Node(value, place) for key, value in fields.items()}, place)


def _mode(about: os.stat_result, kept: bool) -> str:
    if kept:
        return f"{stat.S_IMODE(about.st_mode):04o}"
    return "0755" if about.st_mode & 0o100 else "0644"


def _is_beside(folder: Path, name: str) -> bool:
    """Whether there is a directory of that name in the folder, and not the folder or somewhere else."""
    path = folder / name
    return path.is_dir() and folder.resolve() in path.resolve().parents


def _table(node: Node, key: str) -> dict[str, Node]:
    found = node.value.get(key) if isinstance(node.value, dict) else None
    return found.value if found is not None and isinstance(found.value, dict) else {}


def _scalar(node: Node, key: str) -> object:
    found = node.value.get(key) if isinstance(node.value, dict) else None
    return found.value if found is not None else None
