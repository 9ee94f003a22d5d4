"""verify --rebuild: a template is built again from the pins that were published, and must be the same file.

The archives must be in the state that the pins name: today's, if nothing has moved since, or a mirror of that
day (for Debian: snapshot.debian.org, given with --mirror). Packages that lay beside the recipe are taken from
there, from the package cache or from a directory, by their digests.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from shutil import copyfile
from typing import Any

import tmplbuild.recipes as recipes
from tmplbuild.archives import local
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.model import Package
from tmplbuild.config import Settings
from tmplbuild.engine import keys
from tmplbuild.engine.build import build as build_template
from tmplbuild.engine.store import Store
from tmplbuild.engine.world import Wish, open_world, resolve
from tmplbuild.errors import UsageError, VerifyError
from tmplbuild.events import Emit
from tmplbuild.publish.remote import Remote
from tmplbuild.recipes.model import plain


def rebuild(
    remote: Remote,
    template: dict[str, Any],
    build: dict[str, Any],
    settings: Settings,
    emit: Emit,
    packages: Path | None = None,
) -> None:
    """Build the template of a published build again, in directories of its own, and compare.

    Parameters:
        packages: a directory with packages that lay beside the recipe.

    Raises VerifyError where the result differs, or where it cannot be made: other recipe, archives that have
    moved on, no pins; and what a build raises.
    """
    files = {row["kind"]: row for row in build["files"]}
    where = remote.where(build["path"])
    if "pins" not in files:
        raise VerifyError("the build was published without its pins", where=where)
    manifest, pinned = (
        json.loads(remote.file(row["path"], row["size"], row["sha256"]).read_bytes())
        for row in (files["manifest"], files["pins"])
    )
    with tempfile.TemporaryDirectory(prefix="tmplbuild-rebuild-", dir="/var/tmp") as folder:
        place = Path(folder)
        (place / "cache").mkdir()
        own = dataclasses.replace(settings, state_dir=place / "state", template_cache=place / "cache")
        # as if that build had been the last one here: its pins hold while the archives are as they were
        Store(own.state_dir).write_record(template["name"], {**pinned, "steps": [], "notes": {}})
        wish = Wish(arch=manifest["arch"])
        name = manifest["recipe"]["name"]
        try:
            loaded = recipes.load(name, arch=wish.arch, roots=recipes.recipe_roots(settings.recipes))
        except UsageError as error:
            raise VerifyError("the recipe of the build is not here", where=where, why=error.what) from error
        kept: list[PackageCache | Path] = [PackageCache(settings.cache_dir)]
        kept += [packages] if packages else []
        loaded = with_its_packages(loaded, pinned["pins"], kept, place / "packages", where)
        world = open_world(name, wish, own, emit, loaded=loaded)
        if keys.digest(plain(world.loaded.recipe)) != manifest["recipe"]["digest"]:
            raise VerifyError(
                f"the recipe {name} here is not the one of the build",
                where=str(world.loaded.path),
                hint="check out the version of the recipes that was used",
            )
        if resolve(world, wish).pins.to_json() != pinned["pins"]:
            raise VerifyError(
                "the archives have moved since the build",
                where=where,
                why=", ".join(f"{pin['role']} {pin['suite']}" for pin in manifest["pins"]["archives"]),
                hint="name a mirror of that day's state with --mirror (snapshot.debian.org)",
            )
        made = build_template(name, settings=own, emit=emit, loaded=loaded, arch=manifest["arch"])
        if made.summary["sha256"] != build["sha256"]:
            raise VerifyError(
                "the template is not reproducible here",
                where=where,
                why=f"published {build['sha256']}, built {made.summary['sha256']}",
                hint="was it built by another version of tmplbuild or of a compression library?",
            )


def with_its_packages(
    loaded: recipes.LoadedRecipe,
    pins: Mapping[str, Any],
    kept: Sequence[PackageCache | Path],
    place: Path,
    where: str,
) -> recipes.LoadedRecipe:
    """The recipe with the very packages beside it that a build had.

    Parameters:
        pins: the build's.
        kept: where such packages are looked for that do not lie beside the recipe (any more): caches, and
            directories, where they may be called anything.
        place: they are laid there.
        where: the build, for messages.

    Raises VerifyError where one is nowhere.
    """
    rows = [Package(*row) for row in pins["target"]["packages"]]
    had = {os.path.basename(one.filename): one for one in rows if one.archive == local.ROLE}
    digests, packages = {}, {}
    for name in loaded.recipe.install.files:
        one = had.get(os.path.basename(name))
        if one is None:
            continue  # another recipe: its digest will tell
        digests[name] = one.sha256
        near = loaded.find(name)
        if near is not None and _sha256(near) == one.sha256:
            continue
        found = next((path for path in map(partial(_look, one), kept) if path is not None), None)
        if found is None:
            raise VerifyError(
                "a package that lay beside the recipe is not here",
                where=where,
                why=f"{name}, sha256 {one.sha256}",
                hint="--packages DIR names a directory that has it, under whatever name",
            )
        place.mkdir(exist_ok=True)
        packages[name] = place / os.path.basename(name)
        copyfile(found, packages[name])
    return recipes.with_packages(loaded, digests, packages)


def _look(package: Package, kept: PackageCache | Path) -> Path | None:
    if isinstance(kept, PackageCache):
        return kept.path(package.sha256) if kept.has(package.sha256) else None
    files = (path for path in sorted(kept.iterdir()) if path.is_file())
    fitting = (path for path in files if path.stat().st_size == package.size)
    return next((path for path in fitting if _sha256(path) == package.sha256), None)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
