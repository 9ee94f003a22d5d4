"""Which recipes there are, and what architectures are called.

A recipe is `ROOT/DISTRO/RELEASE.toml` and named DISTRO-RELEASE: debian/12.toml is "debian-12". Files
whose name begins with "_" are only there to be extended. Of two recipes of one name the one in the
earlier root counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tmplbuild.errors import UsageError
from tmplbuild.tomlfile import did_you_mean

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
    """One recipe of the catalogue: its name, its file, and the root that it was found in."""

    name: str
    path: Path
    root: Path


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


def entries(roots: Sequence[Path]) -> list[Entry]:
    """All recipes by name, each once."""
    found: dict[str, Entry] = {}
    for root in roots:
        for path in _files(root):
            name = f"{path.parent.name}-{path.stem}"
            found.setdefault(name, Entry(name, path, root))
    return sorted(found.values(), key=lambda entry: _natural(entry.name))


def find(name: str, roots: Sequence[Path]) -> Path:
    """The file of a recipe, by name ("debian-12") or by path ("./mine.toml", "recipes/debian/12.toml").

    Raises UsageError, with what there is, for a name that nothing has.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if path.is_file():
            return path
        raise UsageError("there is no such recipe file", where=name)
    known = {entry.name: entry.path for entry in entries(roots)}
    if name in known:
        return known[name]
    near = did_you_mean(name, known)
    listing = "the recipes are: " + ", ".join(known) if known else "no root holds a recipe"
    raise UsageError(
        f'there is no recipe "{name}"',
        where=", ".join(map(str, roots)) or "no directory of recipes",
        hint=f"{near} {listing}".strip(),
    )


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
