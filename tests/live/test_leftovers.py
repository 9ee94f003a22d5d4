"""What real dpkg and ucf leave when a changed package is upgraded in the booted template."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.archive_factory import ArchiveFactory, Deb
from tests.conftest import Places
from tests.live.conftest import SMALL
from tests.workshop import Run, Workshop

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]

NAME = "small-12-x86_64"

OLD = "level = 1\n\n# names\nuser = app\n\n# the end\ncolour = red\n"
NEW = OLD.replace("level = 1", "level = 2")

POSTINST = """\
#!/bin/sh
set -e
ucf /usr/share/app/ucf.conf /etc/app/ucf.conf
ucfr app /etc/app/ucf.conf
{helper}
"""
HELPER = 'dpkg-maintscript-helper rm_conffile /etc/app/gone.conf 1.5~ app -- "$@"'


def app(version: str, text: str, *names: str, helper: str = "") -> Deb:
    """A package whose configuration files all have this text."""
    conffiles = {f"/etc/app/{name}.conf": text.encode() for name in names}
    scripts = {"conffiles": "".join(f"{path}\n" for path in conffiles)}
    scripts["postinst"] = POSTINST.format(helper=helper)
    if helper:
        scripts |= dict.fromkeys(("preinst", "postrm"), f"#!/bin/sh\nset -e\n{helper}\n")
    files = {**conffiles, "/usr/share/app/ucf.conf": text.encode()}
    return Deb("app", version=version, depends="ucf", files=files, scripts=scripts)


RECIPE = (
    SMALL.replace('"procps"]', '"procps", "app"]')
    + """
boot = false
[configure]
commands = [
  ["sed", "-i", "s/red/blue/", "/etc/app/script.conf", "/etc/app/obsolete.conf", "/etc/app/gone.conf"],
  ["sed", "-i", "s/level = 1/level = 9/", "/etc/app/clash.conf"],
]
add.edits = [
  { path = "/etc/app/edited.conf", match = "^user = .*", replace = "user = recipe" },
  { path = "/etc/app/ucf.conf", match = "^user = .*", replace = "user = recipe" },
]
files."/etc/app/whole.conf".text = "the recipe's\\n"
[archives.local]
public = "http://archive.invalid/local"
suites = ["stable"]
components = ["main"]
own_keys = true
"""
)


@pytest.fixture(scope="module")
def shop(places: Places, packages: Path) -> Workshop:
    """The template of last night, upgraded tonight."""
    place = places("leftovers")
    archive = ArchiveFactory(place / "archive")
    names = ("edited", "script", "clash", "whole", "obsolete", "gone")
    archive.suite("stable", [app("1", OLD, *names)], date=time.time() - 3600)
    made = Workshop(place / "shop", packages)
    mirror = f'mirrors = ["{archive.root.as_uri()}"]\nkeys = ["{archive.key.fingerprint}"]\n'
    recipe = made.recipe("small", RECIPE + mirror)
    archive.key.export(Path(recipe).parent / "keys")
    assert made.build(recipe).summary["leftovers"] == []
    archive.suite("stable", [app("2", NEW, *names[:4], helper=HELPER)], date=time.time() - 3000)
    made.first = made.build(recipe)
    return made


def summary(shop: Workshop) -> dict[str, Any]:
    assert isinstance(shop.first, Run)
    return shop.first.summary


def test_nothing_of_value_is_lost(shop: Workshop) -> None:
    both = NEW.replace("user = app", "user = recipe")
    with shop.tree(NAME, "leftovers") as tree:
        found = {path.rpartition("/")[2]: tree.read_text(path) for path in tree.glob("/etc/app/*")}
    assert found == {
        "edited.conf": both,
        "ucf.conf": both,
        "script.conf": NEW.replace("red", "blue"),
        "clash.conf": OLD.replace("level = 1", "level = 9"),
        "whole.conf": "the recipe's\n",
        "obsolete.conf": OLD.replace("red", "blue"),
    }


def test_each_decision_is_told(shop: Workshop) -> None:
    assert sorted(summary(shop)["leftovers"]) == [
        "/etc/app/clash.conf.dpkg-dist (dropped, by on_conflict)",
        "/etc/app/edited.conf.dpkg-dist (taken, the recipe's edits were made again on it)",
        "/etc/app/gone.conf.dpkg-bak (dropped, no package has the file any more)",
        "/etc/app/obsolete.conf (stays, its package has it no more)",
        "/etc/app/script.conf.dpkg-dist (merged into the file in use)",
        "/etc/app/ucf.conf.ucf-dist (taken, the recipe's edits were made again on it)",
        "/etc/app/whole.conf.dpkg-dist (dropped, the recipe writes the file)",
    ]
    warnings = [text.partition(":")[0] for text in summary(shop)["warnings"] if text.startswith("/etc/app")]
    assert warnings == ["/etc/app/clash.conf", "/etc/app/whole.conf"]


def test_the_manifest_has_hashes_and_versions(shop: Workshop) -> None:
    manifest = json.loads((shop.templates / f"{NAME}.manifest.json").read_text())
    rows = {row["path"]: row for row in manifest["leftovers"]}
    row = rows["/etc/app/edited.conf.dpkg-dist"]
    both = NEW.replace("user = app", "user = recipe")
    edited = OLD.replace("user = app", "user = recipe")
    assert {name: row[f"{name}_sha256"] for name in ("old", "disk", "new", "result")} == {
        name: hashlib.sha256(text.encode()).hexdigest()
        for name, text in (("old", OLD), ("disk", edited), ("new", NEW), ("result", both))
    }
    assert (row["package"], row["from_version"], row["to_version"]) == ("app", "1", "2")
    assert (row["kind"], row["cause"], row["diff"]) == ("new", "recipe", True)
    assert rows["/etc/app/script.conf.dpkg-dist"]["cause"] == "script"


def test_the_log_has_the_differences(shop: Workshop) -> None:
    (log,) = (shop.place / "state/logs" / NAME).glob("*-leftovers.log")
    assert "+++ package's: /etc/app/edited.conf\n" in log.read_text()
    assert shop.remains() == {}
