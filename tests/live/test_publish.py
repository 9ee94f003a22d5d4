"""A template that was really built: published as it is, verified, built again from its pins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.archive_factory import Deb
from tests.live.conftest import SMALL
from tests.workshop import Workshop

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]


def test_a_built_template_is_published_verified_and_built_again(
    small: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = tmp_path / "recipes"
    (recipes / "debian").mkdir(parents=True)
    # a recipe with a name, as who rebuilds it knows it; and a template of its own, since other tests
    # build SMALL in the same workshop by its path, which is what an unchanged template's manifest keeps
    text = SMALL.replace('"small-12-', '"published-12-').replace(
        '"procps"]', '"procps"]\nfiles = ["mine.deb"]'
    )
    (recipes / "debian/12-published.toml").write_text(text)
    mine = recipes / "debian/mine.deb"
    mine.write_bytes(Deb("mine", files={"/usr/bin/mine": b"#!/bin/sh\n"}).build())
    monkeypatch.setitem(small.env, "TMPLBUILD_RECIPES", str(recipes))
    small.build("debian-12-published")
    mirror = tmp_path / "mirror"
    config = small.place / "publish.toml"
    config.write_text('[publish]\nformats = ["tar.zst", "lxc", "incus", "oci"]\n')
    done = small.run("--config", str(config), "publish", "debian-12-published", "--to", str(mirror), "--json")
    assert done.status == 0, done.err
    (template,) = json.loads((mirror / "index.json").read_bytes())["templates"]
    (build,) = template["builds"]
    assert build["forced"] == ""
    kinds = {row["kind"] for row in build["files"]}
    assert {"tar.gz", "tar.zst", "oci", "pins", "manifest", "spdx", "provenance"} <= kinds
    spdx = json.loads((mirror / build["path"] / "sbom.spdx.json").read_bytes())
    assert "pkg:deb/debian/bash@" in json.dumps(spdx)
    # since then the package beside the recipe has become another; the one that was used is in the cache
    mine.write_bytes(Deb("mine", "2.0", files={"/usr/bin/mine": b"#!/bin/sh\ntrue\n"}).build())
    done = small.run("verify", str(mirror), "--rebuild", "--json")
    assert done.status == 0, done.out[-2000:] + done.err
    report = json.loads(done.out.splitlines()[-1])
    assert (report["rebuilt"], report["faults"]) == (1, [])
