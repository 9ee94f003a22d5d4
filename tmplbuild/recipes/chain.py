"""The files that a recipe is made of: its parents, the features they name, and a variant's.

A feature is a delta with a name: `DISTRO/_features/NAME.toml`, where DISTRO is the recipe's own folder or
one of its parents', in any directory of recipes. Those that a file names lie between its parent and itself,
so that it has the last word; those of a variant, and those asked for by +NAME, lie on top. Each is laid
once. Unlike a file that knows its one parent, a feature is laid on many recipes: to add what is there, or
to drop what is not, is no mistake in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tmplbuild.recipes.merge import merge
from tmplbuild.tomlfile import Fault, Node, Place, Unreadable, did_you_mean, quote, read

FEATURES = "_features"
_ABOUT = ("extends", "features")  # what a file says of its chain, and not of the template
_WORDS = ("title", "needs", "conflicts")


@dataclass
class Chain:
    """Files in the order in which they are laid, and what they come to.

    `features` are all that were laid, in order; `whole` is the recipe's tree, None where a file cannot be
    read. Faults are collected in `faults`.
    """

    path: Path
    roots: Sequence[Path]
    faults: list[Fault] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    features: list[str] = field(default_factory=list)
    titles: dict[str, str] = field(default_factory=dict)
    whole: Node | None = None
    _folders: list[str] = field(default_factory=list)
    _laying: list[str] = field(default_factory=list)

    def lay_recipe(self) -> None:
        """The recipe's file on its parents, each on its features."""
        files = parents(self.path, self.roots, self.faults)
        self._folders = list(dict.fromkeys(file.place.file.parent.name for file in reversed(files)))
        for file in files:
            self.lay_features(_items(file, "features", self.faults))
            self.whole = merge(self.whole, _without(file, _ABOUT), self.faults)
            self.files.append(file.place.file)

    def lay_features(self, names: Sequence[Node]) -> None:
        """Features by name, each with those that it needs first."""
        for name in names:
            self._lay_feature(name)

    def _lay_feature(self, node: Node) -> None:
        name = str(node.value)
        if name in self.features:
            return
        path = next((path for path in feature_files(self._folders, self.roots, name)), None)
        if path is None:
            known = features_of(self._folders, self.roots)
            hint = did_you_mean(name, known) or "there are " + (", ".join(known) or "none")
            self.faults.append(Fault(node.place, "features", f"there is no feature {quote(name)}", hint))
            return
        if name in self._laying:
            way = " -> ".join([*self._laying, name])
            self.faults.append(Fault(node.place, "feature.needs", f"goes in a circle: {way}"))
            return
        try:
            file = read(path)
        except Unreadable as error:
            self.faults.append(error.fault)
            return
        self._laying.append(name)
        about = self._about(file)
        self.lay_features(_items(about, "needs", self.faults, "feature."))
        self._laying.pop()
        for other in _items(about, "conflicts", self.faults, "feature."):
            if other.value in self.features:
                text = f"{quote(name)} does not go with {quote(str(other.value))}"
                self.faults.append(Fault(node.place, "features", text, f"{other.place} says so"))
        self.features.append(name)
        self.titles[name] = _text(about, "title")
        self.whole = merge(self.whole, _without(file, ("feature",)), self.faults, lax=True)
        self.files.append(path)

    def _about(self, file: Node) -> Node:
        """The feature's own table; what it may not say is a fault."""
        assert isinstance(file.value, dict)
        for key in _ABOUT:
            if key in file.value:
                hint = "needs = [...] in [feature] names features that are laid before this one"
                self.faults.append(
                    Fault(file.value[key].place, key, "is for recipes; this is a feature", hint)
                )
        image = file.value.get("image")
        if image is not None and isinstance(image.value, dict) and "name" in image.value:
            place = image.value["name"].place
            hint = "the template is called by its recipe and its variant"
            self.faults.append(Fault(place, "image.name", "a feature names no template", hint))
        about = file.value.get("feature", Node({}, file.place))
        if not isinstance(about.value, dict):
            self.faults.append(Fault(about.place, "feature", "expected a table"))
            return Node({}, file.place)
        for key, node in about.value.items():
            if key not in _WORDS:
                hint = did_you_mean(key, _WORDS) or "there are " + ", ".join(_WORDS)
                self.faults.append(Fault(node.place, f"feature.{key}", "unknown key", hint))
        return about


def parents(
    path: Path, roots: Sequence[Path], faults: list[Fault], reading: Callable[[Path], Node] = read
) -> list[Node]:
    """The files from the most distant parent to the recipe itself; none where one cannot be read.

    Parameters:
        reading: reads a file; a caller that asks for many recipes remembers those that they share.
    """
    chain: list[Node] = []
    seen: list[Path] = []
    at: Path | None = path
    while at is not None:
        seen.append(at.resolve())
        try:
            tree = reading(at)
        except Unreadable as error:
            faults.append(error.fault)
            return []
        chain.insert(0, tree)
        at = _parent(tree, roots, seen, faults)
    return chain


def feature_files(folders: Sequence[str], roots: Sequence[Path], name: str) -> list[Path]:
    """The files of a feature, the one that counts first: of the nearest folder, in the earliest root."""
    places = [root / folder / FEATURES / f"{name}.toml" for folder in folders for root in roots]
    return [path for path in places if "/" not in name and path.is_file()]


def features_of(folders: Sequence[str], roots: Sequence[Path]) -> list[str]:
    """The names of all features that a recipe with these folders may have."""
    found = {
        path.stem
        for root in roots
        for folder in folders
        for path in (root / folder / FEATURES).glob("[!_.]*.toml")
    }
    return sorted(found)


@dataclass(frozen=True, slots=True)
class Offer:
    """A feature that a recipe may have: its name, what it brings, and its file."""

    name: str
    title: str
    path: Path


def offered(path: Path, roots: Sequence[Path]) -> list[Offer]:
    """The features that a recipe may have, by name. Raises nothing: one that cannot be read has no title."""
    faults: list[Fault] = []
    files = parents(path, roots, faults)
    folders = list(dict.fromkeys(file.place.file.parent.name for file in reversed(files)))
    found = []
    for name in features_of(folders, roots):
        place = feature_files(folders, roots, name)[0]
        try:
            tree = read(place)
        except Unreadable as error:
            found.append(Offer(name, error.fault.text, place))
            continue
        about = tree.value.get("feature") if isinstance(tree.value, dict) else None
        title = _text(about, "title") if about is not None and isinstance(about.value, dict) else ""
        found.append(Offer(name, title, place))
    return found


def _parent(tree: Node, roots: Sequence[Path], seen: list[Path], faults: list[Fault]) -> Path | None:
    assert isinstance(tree.value, dict)
    node = tree.value.get("extends")
    if node is None:
        return None
    name = node.value
    if (
        not isinstance(name, str)
        or name.endswith(".toml")
        or ".." in Path(name).parts
        or name.startswith("/")
    ):
        hint = 'a name below the directory of recipes without suffix, such as "debian/_base"'
        faults.append(Fault(node.place, "extends", "not the name of a parent", hint))
        return None
    found = [root / f"{name}.toml" for root in roots if (root / f"{name}.toml").is_file()]
    # A recipe of an earlier root may extend the shipped one of its own name: pass over what was read.
    for path in found:
        if path.resolve() not in seen:
            return path
    if found:
        way = " -> ".join(f"{path.parent.name}/{path.stem}" for path in [*seen, found[0].resolve()])
        faults.append(Fault(node.place, "extends", f"goes in a circle: {way}"))
    else:
        known = (f"{path.parent.name}/{path.stem}" for root in roots for path in root.glob("*/*.toml"))
        looked = ", ".join(map(str, roots)) or "no directory"
        hint = did_you_mean(name, known) or f"looked in {looked}"
        faults.append(Fault(node.place, "extends", f"there is no parent {quote(name)}", hint))
    return None


def _items(table: Node, key: str, faults: list[Fault], below: str = "") -> list[Node]:
    """The strings of a list, which may not be there."""
    assert isinstance(table.value, dict)
    node = table.value.get(key, Node([], table.place))
    if isinstance(node.value, list) and all(isinstance(item.value, str) for item in node.value):
        return node.value
    faults.append(Fault(node.place, f"{below}{key}", "expected a list of names of features"))
    return []


def _text(table: Node, key: str) -> str:
    assert isinstance(table.value, dict)
    node = table.value.get(key, Node("", Place(Path(), 0)))
    return node.value if isinstance(node.value, str) else ""


def _without(tree: Node, keys: Sequence[str]) -> Node:
    assert isinstance(tree.value, dict)
    return Node({name: node for name, node in tree.value.items() if name not in keys}, tree.place)
