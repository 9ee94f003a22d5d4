"""From a name to a whole, typed recipe: found, read with its parents, filled, checked.

Every fault of all files together is reported at once (RecipeError.faults), each with file, line, key
path and, where something comes near, what was perhaps meant.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tmplbuild import secrets
from tmplbuild.errors import RecipeError, VerifyError
from tmplbuild.recipes.additions import Hook, User
from tmplbuild.recipes.catalogue import VE_ARCHES, Asked, choose_arch, declares, find, variants_of
from tmplbuild.recipes.certificate import key_hint, key_name
from tmplbuild.recipes.chain import Chain
from tmplbuild.recipes.kinds import NAME, Section
from tmplbuild.recipes.model import Archive, File, Recipe
from tmplbuild.recipes.overlay import with_overlays
from tmplbuild.recipes.placeholders import SOURCES, fill
from tmplbuild.recipes.validate import faults_of, free_text
from tmplbuild.tomlfile import Fault, Node, Place, did_you_mean, quote, spell

_DEFAULT = Place(Path("default"), 0)


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """A recipe for one architecture, and where it comes from.

    `name` is the catalogue's ("debian-12"), `arch` the distribution's word (amd64), `ve_arch`
    OpenVZ's (x86_64); the template's name is `recipe.image.name`. `chain` are the files read, the
    most distant parent first; `origin` gives for each key path ("install.packages[3]") the place
    that sets it (what is not there is a default). `variant` is the one that was asked for, `features` are
    all that were laid, in order. `packages` are those of `install.files` that are not taken from beside the
    recipe, by name.
    """

    name: str
    arch: str
    ve_arch: str
    recipe: Recipe
    path: Path
    chain: tuple[Path, ...]
    origin: Mapping[str, Place]
    variant: str = ""
    features: tuple[str, ...] = ()
    packages: Mapping[str, Path] = dataclasses.field(default_factory=dict)

    @property
    def dir(self) -> Path:
        """The directory of the recipe's file."""
        return self.path.parent

    def find(self, relative: str) -> Path | None:
        """The file of that name beside the recipe, or else beside its nearest parent that has one.

        None where none has it, or where the name would lead out of these directories.
        """
        for folder in nearest_first(self.chain):
            path = folder / relative
            if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
                return path
        return None

    def key_file(self, fingerprint: str) -> Path | None:
        """The file of a pinned key (`key_name`) beside the recipe or a parent; None: there is none."""
        return self.find(key_name(fingerprint))

    def key_files(self) -> tuple[Path, ...]:
        """The certificates of all pinned keys, of archives and of a tarball, in the recipe's order.

        Raises RecipeError when one of them is not there.
        """
        archives = self.recipe.archives.items()
        tables = {f"archives.{role}.keys": archive.keys for role, archive in archives if not archive.keyring}
        tables["bootstrap.keys"] = self.recipe.bootstrap.keys
        found = [self._keyring(role, archive) for role, archive in archives if archive.keyring]
        for table, keys in tables.items():
            for at, key in enumerate(keys):
                path = self.key_file(key)
                if path is None:
                    raise RecipeError(
                        "a pinned key has no certificate",
                        where=str(self.origin.get(f"{table}[{at}]", self.path)),
                        why=f"{key_name(key)} is not there",
                        hint=key_hint(key),
                    )
                found.append(path)
        return tuple(found)

    def _keyring(self, role: str, archive: Archive) -> Path:
        path = self.find(f"keys/{archive.keyring}")
        if path is None:
            raise RecipeError(
                "an archive's keyring is not there",
                where=str(self.origin.get(f"archives.{role}.keyring", self.path)),
                why=f"keys/{archive.keyring} is not there",
                hint="the distribution's package of keys has it: put it beside the recipe",
            )
        return path

    def digests(self, section: Section) -> dict[str, str]:
        """sha256 of each file beside the recipe that a section takes in, by name, and of each password
        hash, by its secret's name: what a layer's key takes in.

        Raises RecipeError when a file is not there, HostError for a secret.
        """
        files: Mapping[str, File] = getattr(section, "files", {})
        names = {file.source: f"the file {path}" for path, file in files.items() if file.source is not None}
        if isinstance(section, Hook):
            names[section.run] = "a hook"
        if isinstance(section, Archive) and section.own_keys:
            rings = [f"keys/{section.keyring}"] if section.keyring else map(key_name, section.keys)
            names |= dict.fromkeys(rings, "a key of an archive")
        result: dict[str, str] = {}
        for name, what in names.items():
            found = self.find(name)
            if found is None:
                raise RecipeError(
                    f"{name} is not there",
                    where=f"{self.path}: {what}",
                    hint="its path is relative to the recipe's directory",
                )
            result[name] = hashlib.sha256(found.read_bytes()).hexdigest()
        users: Mapping[str, User] = getattr(section, "users", {})
        for user in users.values():
            # a hash of a salted hash gives nothing away
            if name := secrets.name_of(user.password) or "":
                result[user.password] = hashlib.sha256(secrets.find(name).data).hexdigest()
        return result

    def local_package(self, name: str) -> Path | None:
        """Where one of `install.files` lies; None where it is not there."""
        return self.packages.get(name) or self.find(name)

    def local_packages(self) -> dict[Path, str]:
        """The packages beside the recipe, with their digests. See `with_local_digests`."""
        install = self.recipe.install
        found = {name: self.local_package(name) for name in install.files}
        return {path: install.digests[name] for name, path in found.items() if path is not None}


def with_local_digests(loaded: LoadedRecipe) -> LoadedRecipe:
    """The recipe with the digests of its local packages, which are thereby part of what it asks for.

    Raises RecipeError where a package is not there, VerifyError where it is not the one that the recipe pins.
    """
    install = loaded.recipe.install
    digests = dict(install.digests)
    for name in install.files:
        path = loaded.local_package(name)
        if path is None:
            raise RecipeError(f"{name} is not there", where=f"{loaded.path}: install.files")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if digests.setdefault(name, found) != found:
            raise VerifyError(
                "a local package is not the one that was meant",
                where=str(path),
                why=f"its sha256 is {found}, and install.digests says {digests[name]}",
            )
    return with_packages(loaded, digests, loaded.packages)


def with_packages(
    loaded: LoadedRecipe, digests: Mapping[str, str], packages: Mapping[str, Path]
) -> LoadedRecipe:
    """The recipe with these digests of its local packages, some of which lie elsewhere than beside it."""
    install = msgspec.structs.replace(loaded.recipe.install, digests=dict(digests))
    recipe = msgspec.structs.replace(loaded.recipe, install=install)
    return dataclasses.replace(loaded, recipe=recipe, packages=packages)


def nearest_first(chain: Sequence[Path]) -> list[Path]:
    """The directories of a chain's files, the recipe's own first."""
    return list(dict.fromkeys(path.parent for path in reversed(chain)))


def without_boot_test(loaded: LoadedRecipe) -> LoadedRecipe:
    """The same recipe, but the packed template is not booted."""
    recipe = loaded.recipe
    check = msgspec.structs.replace(recipe.check, boot=False)
    return dataclasses.replace(loaded, recipe=msgspec.structs.replace(recipe, check=check))


def load(name: str, *, arch: str | None = None, roots: Sequence[Path]) -> LoadedRecipe:
    """The recipe `name` for one architecture.

    Parameters:
        name: as the catalogue has it ("debian-12"), or the path of a .toml file.
        arch: the distribution's word or OpenVZ's (amd64, x86_64); None for the recipe's first.
        roots: the directories of recipes, in order (see `catalogue.recipe_roots`).

    Raises UsageError for an unknown name or architecture, RecipeError for what the files hold.
    """
    asked = find(name, roots)
    if asked.is_file:
        roots = [*roots, asked.path.resolve().parent.parent]
    chain = Chain(asked.path, roots)
    faults = chain.faults
    chain.lay_recipe()
    if chain.whole is not None and asked.variant:
        chain.lay_features(_variant(chain.whole, asked, faults))
    chain.lay_features([Node(feature, Place(asked.path, 0)) for feature in asked.features])
    tree = chain.whole
    if tree is None:
        raise _error(asked.name, asked.path, faults)
    if asked.variant or asked.features:
        tree = _renamed(tree, asked, chain.titles)
    if asked.variant:
        tree = _from_its_like(tree, asked, roots)
    chosen = _arch(tree, arch, faults)
    filled = _filled(tree, chosen, faults)
    filled = with_overlays(filled, nearest_first(chain.files), faults)
    faults += faults_of(filled, Recipe)
    if faults:
        raise _error(asked.name, asked.path, faults)
    recipe = msgspec.convert(filled.plain(), Recipe)
    recipe = msgspec.structs.replace(recipe, archives=_archives(recipe, chosen, filled, faults))
    if faults:
        raise _error(asked.name, asked.path, faults)
    return LoadedRecipe(
        name=asked.name,
        arch=chosen,
        ve_arch=VE_ARCHES[chosen],
        recipe=recipe,
        path=asked.path,
        chain=tuple(chain.files),
        origin={spell(key): node.place for key, node in filled.walk() if key and node.place != _DEFAULT},
        variant=asked.variant,
        features=tuple(chain.features),
    )


def _variant(tree: Node, asked: Asked, faults: list[Fault]) -> list[Node]:
    """The features of the variant that is asked for."""
    node = variants_of(tree).get(asked.variant)
    features = node.value.get("features") if node is not None and isinstance(node.value, dict) else None
    if features is None or not isinstance(features.value, list):
        return []  # what is wrong with it the types tell
    wrong = [item for item in features.value if not isinstance(item.value, str)]
    return [] if wrong else features.value


def _renamed(tree: Node, asked: Asked, titles: Mapping[str, str]) -> Node:
    """The tree, but its template's name and title tell the variant and the features asked for."""
    image = _image(tree)
    place = image["name"].place if "name" in image else Place(asked.path, 0)
    name = image["name"].value if "name" in image else NAME
    title = image["title"].value if "title" in image else ""
    words = [asked.variant] if asked.variant else []
    texts = [_title(tree, asked.variant)] if asked.variant else []
    words += asked.features
    texts += [titles.get(feature) or feature for feature in asked.features]
    changed = dict(image)
    if isinstance(name, str):
        changed["name"] = Node(with_words(name, words), place)
    if isinstance(title, str):
        changed["title"] = Node(", ".join(filter(None, [title, *texts])), place)
    assert isinstance(tree.value, dict)
    return (
        Node({**tree.value, "image": Node(changed, tree.value["image"].place)}, tree.place) if image else tree
    )


def _from_its_like(tree: Node, asked: Asked, roots: Sequence[Path]) -> Node:
    """The tree, but the earlier release that it is made out of is the same variant, where there is one."""
    assert isinstance(tree.value, dict)
    upgrade = tree.value.get("upgrade")
    node = upgrade.value.get("from") if upgrade is not None and isinstance(upgrade.value, dict) else None
    if upgrade is None or node is None or not node.value or not isinstance(upgrade.value, dict):
        return tree
    if not declares(str(node.value), asked.variant, roots):
        return tree
    like = Node(f"{node.value}-{asked.variant}", node.place)
    return Node({**tree.value, "upgrade": Node({**upgrade.value, "from": like}, upgrade.place)}, tree.place)


def _title(tree: Node, variant: str) -> str:
    node = variants_of(tree).get(variant)
    title = node.value.get("title") if node is not None and isinstance(node.value, dict) else None
    return title.value if title is not None and isinstance(title.value, str) else variant


def with_words(name: str, words: Sequence[str], end: str = "-{ve_arch}") -> str:
    """A template's name with more words in it, before the architecture where that stands last: that is
    how OpenVZ names flavours (debian-12-minimal-x86_64)."""
    more = "".join(f"-{word}" for word in words)
    return f"{name.removesuffix(end)}{more}{end}" if name.endswith(end) else f"{name}{more}"


def _image(tree: Node) -> dict[str, Node]:
    assert isinstance(tree.value, dict)
    image = tree.value.get("image")
    return image.value if image is not None and isinstance(image.value, dict) else {}


def _arch(tree: Node, wanted: str | None, faults: list[Fault]) -> str:
    """The architecture to build for; an empty text where the recipe's list is itself at fault."""
    node = _image(tree).get("arches")
    if node is None or not isinstance(node.value, list):
        return ""
    arches = [item.value for item in node.value if isinstance(item.value, str)]
    for index, item in enumerate(node.value):
        if isinstance(item.value, str) and item.value not in VE_ARCHES:
            hint = did_you_mean(item.value, VE_ARCHES) or "there are " + ", ".join(VE_ARCHES)
            faults.append(Fault(item.place, f"image.arches[{index}]", "unknown architecture", hint))
    return choose_arch(wanted, arches) if arches else ""


def _archives(recipe: Recipe, arch: str, tree: Node, faults: list[Fault]) -> dict[str, Archive]:
    """The archives that serve one architecture."""
    known = recipe.image.arches
    places = dict(tree.walk())
    for role, archive in recipe.archives.items():
        for index, word in enumerate(archive.arches):
            if word not in known:
                key = ("archives", role, "arches", index)
                hint = did_you_mean(word, known) or "image.arches has " + ", ".join(known)
                faults.append(Fault(places[key].place, spell(key), f"the recipe has no {quote(word)}", hint))
    chosen = {
        role: archive
        for role, archive in recipe.archives.items()
        if not archive.arches or arch in archive.arches
    }
    if not chosen and not faults:
        faults.append(Fault(places[("archives",)].place, "archives", f"none is for {arch}"))
    return chosen


def _filled(tree: Node, arch: str, faults: list[Fault]) -> Node:
    image = _image(tree)
    if image and "name" not in image:
        # The one default that holds placeholders.
        image["name"] = Node(NAME, _DEFAULT)
    values = {"arch": arch, "ve_arch": VE_ARCHES.get(arch, "")}
    for word in ("distro", "release", "suite"):
        node = image.get(word)
        values[word] = node.value if node is not None and isinstance(node.value, str) else ""
    faults += [
        Fault(image[word].place, f"image.{word}", "may not hold a placeholder")
        for word in SOURCES
        if word in image and "{" in str(image[word].plain())
    ]
    return fill(tree, values, frozenset(free_text(tree, Recipe)), faults)


def _error(name: str, path: Path, faults: list[Fault]) -> RecipeError:
    lines = tuple(dict.fromkeys(str(fault) for fault in faults))
    count = "a fault" if len(lines) == 1 else f"{len(lines)} faults"
    return RecipeError(
        f"the recipe {name} has {count}",
        where=str(path),
        hint="docs/recipes.md lists every key; `tmplbuild recipe schema` gives a schema for editors",
        faults=lines,
    )
