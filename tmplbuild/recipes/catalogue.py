"""Which recipes there are, and what architectures are called.

A recipe is `ROOT/DISTRO/RELEASE.toml` and named DISTRO-RELEASE: debian/12.toml is "debian-12". Files
whose name begins with "_" are only there to be extended. Of two recipes of one name the one in the
earlier root counts. A variant that a recipe or its parent declares is a recipe as well,
DISTRO-RELEASE-VARIANT; and +FEATURE after any name lays a feature on it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tmplbuild.errors import UsageError
from tmplbuild.recipes.chain import parents
from tmplbuild.recipes.merge import merge
from tmplbuild.tomlfile import Fault, Node, did_you_mean, quote, read

SYSTEM_ROOT = Path("/etc/tmplbuild/recipes")

VE_ARCHES: Mapping[str, str] = {
    "amd64": "x86_64",
    "x86_64": "x86_64",
    "i386": "x86",
    "i486": "x86",
    "i586": "x86",
    "i686": "x86",
    "x86": "x86",
    "arm64": "aarch64",
    "aarch64": "aarch64",
    "armhf": "armhf",
    "armv7": "armhf",
    "armv7l": "armhf",
    "ppc64el": "ppc64le",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}
"""The distributions' words for an architecture, and OpenVZ's (the last part of a template's name)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One recipe of the catalogue: its name, its file, the root that it was found in, and the variant that
    it is, if it is one."""

    name: str
    path: Path
    root: Path
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a name means: the recipe's file, the variant and the further features that are wanted, and
    what that is called. `is_file`: it was named by its path."""

    name: str
    path: Path
    variant: str = ""
    features: tuple[str, ...] = ()
    is_file: bool = False


def recipe_roots(given: Sequence[Path] = ()) -> tuple[Path, ...]:
    """The directories that recipes are looked for in, in order; only those that are there.

    Parameters:
        given: the directories of `--recipes` and of the settings.

    Raises UsageError when one of `given` is no directory.
    """
    for root in given:
        if not root.is_dir():
            raise UsageError("there is no such directory of recipes", where=str(root))
    roots = [*given, SYSTEM_ROOT, shipped_root()]
    return tuple(dict.fromkeys(root for root in roots if root.is_dir()))


def shipped_root() -> Path:
    """The recipes that come with the tool: the checkout's, or those inside the installed package."""
    package = Path(__file__).resolve().parent.parent
    checkout = package.parent / "recipes"
    return checkout if (package.parent / "pyproject.toml").is_file() else package / "shipped" / "recipes"


def entries(roots: Sequence[Path], *, variants: bool = False) -> list[Entry]:
    """All recipes by name, each once.

    Parameters:
        variants: the variants that they declare, too; of a recipe that cannot be read there are none.
    """
    found: dict[str, Entry] = {}
    for root in roots:
        for path in _files(root):
            name = f"{path.parent.name}-{path.stem}"
            found.setdefault(name, Entry(name, path, root))
    if variants:
        reading = functools.cache(read)
        for entry in list(found.values()):
            for word in _declared(entry.path, roots, reading):
                name = f"{entry.name}-{word}"
                found.setdefault(name, Entry(name, entry.path, entry.root, word))
    return sorted(found.values(), key=lambda entry: _natural(entry.name))


def find(name: str, roots: Sequence[Path]) -> Asked:
    """What a name means: a recipe ("debian-12"), one of its variants ("debian-12-minimal"), or a path
    ("./mine.toml", "recipes/debian/12.toml"); each may be followed by features ("debian-12+docker").

    Raises UsageError, with what there is, for a name that nothing has.
    """
    base, features = split_name(name)
    more = "".join(f"+{feature}" for feature in features)
    if is_path(base):
        path = Path(base)
        if path.is_file():
            return Asked(f"{path.resolve().parent.name}-{path.stem}{more}", path, "", features, is_file=True)
        raise UsageError("there is no such recipe file", where=base)
    known = {entry.name: entry.path for entry in entries(roots)}
    for stem, variant in _cuts(base):
        if stem in known and (not variant or variant in _declared(known[stem], roots)):
            return Asked(name, known[stem], variant, features)
    names = [entry.name for entry in entries(roots, variants=True)]
    near = did_you_mean(base, names)
    listing = "the recipes are: " + ", ".join(names) if names else "no root holds a recipe"
    raise UsageError(
        f'there is no recipe "{base}"',
        where=", ".join(map(str, roots)) or "no directory of recipes",
        hint=f"{near} {listing}".strip(),
    )


def is_path(name: str) -> bool:
    """Whether a recipe is named by its file."""
    return split_name(name)[0].endswith(".toml")


def split_name(name: str) -> tuple[str, tuple[str, ...]]:
    """A recipe's name or path, and the features that follow it. Raises UsageError for an empty one."""
    base, end, rest = name.rpartition(".toml")
    if end and (not rest or rest.startswith("+")):
        base, words = f"{base}.toml", rest.split("+")[1:]
    else:
        base, *words = name.split("+")
    if not base or not all(words):
        raise UsageError(f"{quote(name)} is no name of a recipe", hint="such as debian-12+ssh")
    return base, tuple(dict.fromkeys(words))


def with_features(name: str, features: Sequence[str]) -> str:
    """The name of a recipe with more features."""
    base, have = split_name(name)
    return "+".join(dict.fromkeys([base, *have, *features]))


def declares(name: str, variant: str, roots: Sequence[Path]) -> bool:
    """Whether there is a recipe of that name with that variant."""
    path = next((entry.path for entry in entries(roots) if entry.name == name), None)
    return path is not None and variant in _declared(path, roots)


def variants_of(tree: Node) -> dict[str, Node]:
    """The variants that a recipe's tree declares."""
    node = tree.value.get("variants") if isinstance(tree.value, dict) else None
    return node.value if node is not None and isinstance(node.value, dict) else {}


def _declared(path: Path, roots: Sequence[Path], reading: Callable[[Path], Node] = read) -> dict[str, Node]:
    tree: Node | None = None
    faults: list[Fault] = []
    for file in parents(path, roots, faults, reading):
        assert isinstance(file.value, dict)
        words = {key: node for key, node in file.value.items() if key in ("variants", "add", "drop")}
        tree = merge(tree, Node(words, file.place), faults)
    return variants_of(tree) if tree is not None else {}


def _cuts(name: str) -> Iterator[tuple[str, str]]:
    """The name itself, then all ways to take it for a recipe's and a variant's, the longest first."""
    yield name, ""
    for at in range(len(name) - 1, 0, -1):
        if name[at] == "-":
            yield name[:at], name[at + 1 :]


def choose_arch(wanted: str | None, arches: Sequence[str]) -> str:
    """The distribution's own word for the architecture that the user asks for, in either's words.

    Parameters:
        wanted: "amd64" or "x86_64" alike; None for the recipe's first.
        arches: the recipe's own words, of which there is at least one.

    Raises UsageError when the recipe has no such architecture.
    """
    if wanted is None or wanted in arches:
        return wanted or arches[0]
    word = VE_ARCHES.get(wanted)
    for arch in arches:
        if word is not None and VE_ARCHES.get(arch) == word:
            return arch
    spoken = ", ".join(f"{arch} ({VE_ARCHES[arch]})" if arch in VE_ARCHES else arch for arch in arches)
    raise UsageError(f'the recipe knows no architecture "{wanted}"', hint=f"it has {spoken}")


def _files(root: Path) -> Iterator[Path]:
    for path in sorted(root.glob("*/*.toml")):
        if not path.name.startswith(("_", ".")) and path.is_file():
            yield path


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.replace(".", "-").split("-")]
