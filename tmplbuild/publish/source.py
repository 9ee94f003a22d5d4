"""What is published: a template of the cache with its manifest, and what its recipe says of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tmplbuild.artifact.manifest import Manifest, manifest_of, manifest_text, read_manifest
from tmplbuild.changes.history import History
from tmplbuild.engine.locks import is_worked_on
from tmplbuild.errors import StoreError, UsageError
from tmplbuild.publish.deltas import Delta, deltas_of
from tmplbuild.publish.model import json_bytes
from tmplbuild.recipes import VE_ARCHES, LoadedRecipe, load
from tmplbuild.tomlfile import did_you_mean

_SUFFIX = ".manifest.json"
_WORD = re.compile(r"[a-z0-9][A-Za-z0-9.+~_-]*")


@dataclass(frozen=True, slots=True)
class Source:
    """A template at hand: `file` is its .tar.gz, `raw` the manifest's text, `arch` the distribution's word.

    `recipe` is None where it is not in the catalogue any more; the facts then come from the names.
    `records` are what this machine's own records have of this very build: "pins", "changes". `deltas` is
    what the recipe wants otherwise, by consumer.
    """

    file: Path
    manifest: Manifest
    raw: bytes
    recipe: LoadedRecipe | None
    distro: str
    release: str
    suite: str
    arch: str
    ve_arch: str
    variant: str
    title: str
    eol: str
    records: Mapping[str, bytes] = field(default_factory=dict)
    deltas: Mapping[str, Delta] = field(default_factory=dict)

    @property
    def template(self) -> str:
        """The template's name."""
        return self.manifest.template

    @property
    def family(self) -> str:
        """The form of its packages, in package URLs' word: "deb", "rpm", "apk", "alpm"."""
        if self.recipe is not None:
            return _FORMS.get(self.recipe.recipe.upgrade.manager, "generic")
        return "rpm" if self.distro == "altlinux" else "deb"

    @property
    def manifest_sha256(self) -> str:
        """The digest of the manifest's text."""
        return hashlib.sha256(self.raw).hexdigest()


_FORMS = {
    **dict.fromkeys(("apt-rpm", "dnf", "zypper"), "rpm"),
    "apt-deb": "deb",
    "apk": "apk",
    "pacman": "alpm",
}


def names_in(cache: Path) -> list[str]:
    """The templates in the cache that have a manifest."""
    try:
        files = sorted(path.name for path in cache.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise StoreError(
            "the template cache cannot be read", where=str(cache), why=error.strerror or ""
        ) from error
    found = [name.removesuffix(_SUFFIX) for name in files if name.endswith(_SUFFIX)]
    return [name for name in found if f"{name}.tar.gz" in files]


def find(cache: Path, wanted: Sequence[str], roots: Sequence[Path], state_dir: Path) -> list[Source]:
    """The templates that are asked for, by template or recipe name; all of the cache if none is named.

    Parameters:
        roots: the directories of recipes.
        state_dir: where builds keep their records.

    Raises UsageError for a name that nothing has, StoreError for a manifest that is damaged.
    """
    there = names_in(cache)
    if not wanted and not there:
        raise UsageError(
            "there is no template to publish", where=str(cache), hint="build one: tmplbuild build debian-12"
        )
    sources = []
    for name in wanted or there:
        word = name.removesuffix(".tar.gz")
        chosen = [word] if word in there else [one for one in there if recipe_of(cache, one) == word]
        if not chosen:
            near = did_you_mean(word, there)
            raise UsageError(
                f'the template cache has no template "{name}" with a manifest',
                where=str(cache),
                hint=near or (f"it has {', '.join(there)}" if there else "build one first"),
            )
        sources += [open_source(cache, one, roots, state_dir) for one in chosen]
    return list({source.template: source for source in sources}.values())


def recipe_of(cache: Path, name: str) -> str:
    """The name of the recipe that a template was built by."""
    return read_manifest(cache / f"{name}{_SUFFIX}").recipe.name


def open_source(cache: Path, name: str, roots: Sequence[Path], state_dir: Path) -> Source:
    """One template of the cache. Raises StoreError, UsageError, RecipeError."""
    path = cache / f"{name}{_SUFFIX}"
    raw = manifest_text(path)
    manifest = manifest_of(raw, path)
    if manifest.template != name or manifest.artifact.file != f"{name}.tar.gz":
        raise StoreError("a manifest is another template's", where=str(path), why=f"of {manifest.template}")
    try:
        loaded = load(manifest.recipe.name, arch=manifest.arch, roots=roots)
    except UsageError:  # it is not in the catalogue any more; a recipe that is there must be sound
        loaded = None
    ve_arch = VE_ARCHES.get(manifest.arch, manifest.arch)
    if loaded is not None:
        image = loaded.recipe.image
        distro, release, suite, title = image.distro, image.release, image.suite, image.title
        eol = image.eol.isoformat() if image.eol else ""
    else:
        distro, release, *_ = [*name.removesuffix(f"-{ve_arch}").split("-"), "0"]
        suite, title, eol = release, name, ""
    middle = name.removesuffix(f"-{ve_arch}").removeprefix(f"{distro}-{release}").strip("-")
    source = Source(
        file=cache / f"{name}.tar.gz",
        manifest=manifest,
        raw=raw,
        recipe=loaded,
        distro=distro,
        release=release,
        suite=suite,
        arch=manifest.arch,
        ve_arch=ve_arch,
        variant=middle or "default",
        title=title or f"{distro} {release}",
        eol=eol,
        records=_records(state_dir, manifest),
        deltas=deltas_of(loaded) if loaded else {},
    )
    for word in (source.template, source.distro, source.release, source.arch, source.variant):
        if not _WORD.fullmatch(word):
            raise UsageError(
                f'"{word}" cannot be part of an address',
                where=str(path),
                hint="letters, digits, dots and dashes can",
            )
    return source


def is_replaced(source: Source, state_dir: Path) -> bool:
    """Whether a build puts another file in the template's place, or has done so since it was read."""
    if is_worked_on(state_dir, source.template):
        return True
    try:
        return source.file.with_name(f"{source.template}{_SUFFIX}").read_bytes() != source.raw
    except OSError:
        return False


def _records(state_dir: Path, manifest: Manifest) -> dict[str, bytes]:
    """The pins of a build and what it changed, if the records here are of this very file."""
    found: dict[str, bytes] = {}
    try:
        record = json.loads((state_dir / "records" / f"{manifest.template}.json").read_bytes())
        if record["summary"]["sha256"] == manifest.artifact.sha256:
            found["pins"] = json_bytes({key: record[key] for key in ("request", "pins")})
    except (OSError, ValueError, KeyError, TypeError):
        pass  # a template from elsewhere, or one whose records are gone: the manifest is enough
    history = History(state_dir)
    build = history.last_good(manifest.template)
    if build is not None and build.sha256 == manifest.artifact.sha256:
        changes = history.path(manifest.template, build.id) / "changes.json"
        with contextlib.suppress(OSError):
            found["changes"] = changes.read_bytes()
    return found
