"""The packed tree that a template is made out of: in the template cache, or at an address; verified.

What vouches for a template of the cache is the manifest that lies beside it, or the digest that the
recipe names; for a tarball at an address see `tmplbuild.archives.packed`. A file for which nothing
speaks is not used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tmplbuild.recipes as recipes
from tmplbuild.archives import packed
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.model import Package
from tmplbuild.archives.openpgp import KeysDir
from tmplbuild.artifact.manifest import Manifest, read_manifest
from tmplbuild.config import Settings
from tmplbuild.engine.pins import Pinned
from tmplbuild.errors import StoreError, VerifyError

ROLE = "template"
"""Stands for the archive of a package that is a template."""

_SUFFIXES = (".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2", ".tar")


@dataclass(frozen=True, slots=True)
class Source:
    """A packed tree. `epoch` is that of its build, 0 where it is not known (seconds); `size` in bytes, 0
    as long as it is at an address only; `bring` gives its verified file."""

    name: str
    filename: str
    sha256: str
    size: int
    epoch: int
    bring: Callable[[], Path]
    signers: tuple[str, ...] = ()

    def pinned(self, arch: str) -> Pinned:
        """It stands in the pins as one package, which bootstrap and install are made of."""
        one = Package(
            name=self.name,
            version=self.sha256[:12],
            arch=arch,
            archive=ROLE,
            filename=self.filename,
            size=self.size,
            sha256=self.sha256,
        )
        return Pinned((one,), frozenset(), self.epoch)


def find(
    loaded: recipes.LoadedRecipe,
    settings: Settings,
    *,
    fetcher: Fetcher,
    cache: PackageCache,
    keys_dir: KeysDir,
    offline: bool = False,
) -> Source:
    """The packed tree that a recipe begins with, for the same architecture.

    Raises UsageError for a recipe that does not exist, StoreError when there is no such template,
    VerifyError when it is not what its manifest, the recipe or a signed list says, or nothing vouches
    for it; FetchError.
    """
    options = loaded.recipe.bootstrap
    if not options.urls:
        return _of_cache(loaded, settings)
    found = packed.ask(options, fetcher=fetcher, cache=cache, keys_dir=keys_dir, offline=offline)
    bring = partial(packed.bring, found, fetcher=fetcher, cache=cache)
    return Source(found.name, found.name, found.sha256, 0, 0, bring, found.signers)


def _of_cache(loaded: recipes.LoadedRecipe, settings: Settings) -> Source:
    """The template of the recipe that `upgrade.from` names."""
    roots = [*recipes.recipe_roots(settings.recipes), loaded.path.resolve().parent.parent]
    earlier = recipes.load(loaded.recipe.upgrade.from_, arch=loaded.arch, roots=roots)
    name = earlier.recipe.image.name
    file = _file(settings.template_cache, name, earlier.name)
    digest = _sha256(file)
    pinned = loaded.recipe.bootstrap.sha256
    if pinned:
        _expect(file, digest, pinned, f"bootstrap.sha256 of {loaded.name}")
    manifest = _manifest(file, name)
    if manifest is not None and not pinned:
        _expect(file, digest, manifest.artifact.sha256, f"{name}.manifest.json")
    if manifest is None and not pinned:
        raise VerifyError(
            "nothing vouches for the template that is to be upgraded",
            where=str(file),
            why="no manifest lies beside it, and the recipe names no digest",
            hint=f'if you trust it: bootstrap.sha256 = "{digest}" in the recipe',
        )
    known = manifest is not None and manifest.artifact.sha256 == digest
    epoch = manifest.epoch if manifest is not None and known else 0
    return Source(name, file.name, digest, file.stat().st_size, epoch, lambda: file)


def _file(directory: Path, name: str, recipe: str) -> Path:
    for suffix in _SUFFIXES:
        path = directory / f"{name}{suffix}"
        if path.is_file():
            return path
    raise StoreError(
        f"the template {name} is not in the template cache",
        where=str(directory),
        why="it is what the upgrade begins with",
        hint=f"make it first: tmplbuild build {recipe}",
    )


def _manifest(file: Path, name: str) -> Manifest | None:
    path = file.with_name(f"{name}.manifest.json")
    if not path.is_file():
        return None
    found = read_manifest(path)
    return found if found.artifact.file == file.name else None


def _expect(file: Path, digest: str, wanted: str, who: str) -> None:
    if digest != wanted:
        raise VerifyError(
            "the template that is to be upgraded is not the one that was built",
            where=str(file),
            why=f"its sha256 is {digest}; {who} says {wanted}",
            hint="build it again, or put the right file there",
        )


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise StoreError("the template cannot be read", where=str(file), why=str(error)) from error
