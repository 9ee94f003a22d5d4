"""verify --rebuild: a template is built again from the pins that were published, and must be the same file.

The archives must be in the state that the pins name: today's, if nothing has moved since, or a mirror of that
day (for Debian: snapshot.debian.org, given with --mirror).
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

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
    remote: Remote, template: dict[str, Any], build: dict[str, Any], settings: Settings, emit: Emit
) -> None:
    """Build the template of a published build again, in directories of its own, and compare.

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
            world = open_world(name, wish, own, emit)
        except UsageError as error:
            raise VerifyError("the recipe of the build is not here", where=where, why=error.what) from error
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
        made = build_template(name, settings=own, emit=emit, arch=manifest["arch"])
        if made.summary["sha256"] != build["sha256"]:
            raise VerifyError(
                "the template is not reproducible here",
                where=where,
                why=f"published {build['sha256']}, built {made.summary['sha256']}",
                hint="was it built by another version of tmplbuild or of a compression library?",
            )
