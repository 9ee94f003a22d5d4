"""What a night has built is published at its end; what could not be is tried again the next night."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import pytest

from tests.publishing import NAME, Press, add_template, needs
from tmplbuild.config import Settings
from tmplbuild.engine.metrics import metrics
from tmplbuild.events import silent
from tmplbuild.publish import nightly
from tmplbuild.ui.night import is_quiet, night_lines, subject
from tmplbuild.ui.style import Ink

OTHER = "debian-13-x86_64"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    place = tmp_path / "tree"
    (place / "etc").mkdir(parents=True)
    (place / "etc/motd").write_text("one\n")
    return place


@pytest.fixture
def press(tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch) -> Press:
    made = Press(tmp_path / "press", formats=["lxc"])
    add_template(made.cache, tree)
    # small trees are no whole systems, and the check would refuse them
    monkeypatch.setattr(nightly, "publish", functools.partial(nightly.publish, force=True))
    return made


def settings(press: Press, *patterns: str) -> Settings:
    found = dataclasses.replace(press.settings, state_dir=press.place / "state")
    found.state_dir.mkdir(exist_ok=True)
    return dataclasses.replace(found, nightly=dataclasses.replace(found.nightly, publish=patterns or ("*",)))


def report(**outcomes: str) -> dict[str, Any]:
    rows = [
        {
            "template": name,
            "recipe": name.removesuffix("-x86_64"),
            "outcome": outcome,
            "stale": False,
            "why": "",
        }
        | {"file": f"/{name}.tar.gz", "seconds": 0}
        for name, outcome in outcomes.items()
    ]
    counts = {outcome: list(outcomes.values()).count(outcome) for outcome in outcomes.values()}
    return {"began": 0, "seconds": 1, "status": 0, "counts": counts, "stale": [], "templates": rows}


def states(found: dict[str, Any]) -> dict[str, str]:
    return {one["template"]: one["state"] for one in found["published"]["templates"]}


def test_only_what_was_built_and_is_asked_for(press: Press, tree: Path) -> None:
    add_template(press.cache, tree, OTHER, recipe="debian-13")
    night = report(**{NAME: "updated", OTHER: "built"})
    assert nightly.publish_night(night, settings(press, "ubuntu-*"), emit=silent) == night
    assert not press.mirror.exists()
    found = nightly.publish_night(night, settings(press, "debian-13"), emit=silent)
    assert (states(found), found["status"]) == ({OTHER: "published"}, 0)
    assert [one.template for one in press.state().builds] == [OTHER]
    assert "published" in "\n".join(night_lines(found, Ink()))
    quiet = report(**{NAME: "unchanged", OTHER: "unchanged"})
    assert nightly.publish_night(quiet, settings(press), emit=silent) == quiet
    assert is_quiet(quiet)


def test_what_cannot_be_published_spoils_no_other_and_is_tried_again(press: Press, tree: Path) -> None:
    add_template(press.cache, tree, OTHER, recipe="debian-13")
    damaged = press.cache / f"{OTHER}.tar.gz"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1] + b"x")
    found = nightly.publish_night(report(**{NAME: "built", OTHER: "built"}), settings(press), emit=silent)
    assert (states(found), found["status"]) == ({NAME: "published", OTHER: "failed"}, 1)
    assert subject(found) == "2 built, 1 not published"
    assert any(OTHER in line for line in night_lines(found, Ink()))
    assert "\ntmplbuild_nightly_unpublished 1\n" in metrics({**found, "templates": []})
    damaged.write_bytes(whole)
    found = nightly.publish_night(
        report(**{NAME: "unchanged", OTHER: "unchanged"}), settings(press), emit=silent
    )
    assert (states(found), found["status"]) == ({OTHER: "published"}, 0)
    assert not is_quiet(found)
    assert not (press.place / "state/unpublished.json").exists()


def test_a_target_that_is_out_of_order_is_reached_the_next_night(press: Press, tmp_path: Path) -> None:
    needs("rsync", "rsync")
    copies = [tmp_path / "copy", tmp_path / "locked" / "copy"]
    (tmp_path / "locked").write_text("no directory")
    press.configure(formats=["lxc"], targets={"good": str(copies[0]), "bad": str(copies[1])})
    found = nightly.publish_night(report(**{NAME: "built"}), settings(press), emit=silent)
    assert found["status"] == 1
    assert {one["name"]: one["state"] for one in found["published"]["targets"]} == {
        "good": "done",
        "bad": "failed",
    }
    assert (copies[0] / "index.json").exists()
    (tmp_path / "locked").unlink()
    copies[1].parent.mkdir()
    found = nightly.publish_night(report(**{NAME: "unchanged"}), settings(press), emit=silent)
    assert found["status"] == 0
    assert (copies[1] / "index.json").exists()
    quiet = report(**{NAME: "unchanged"})
    assert nightly.publish_night(quiet, settings(press), emit=silent) == quiet


def test_no_mirror_is_told_once_for_each(press: Press) -> None:
    press.configure(to=None)
    found = nightly.publish_night(report(**{NAME: "built"}), settings(press), emit=silent)
    assert (states(found), found["status"]) == ({NAME: "failed"}, 1)
    assert "no mirror is named" in found["published"]["templates"][0]["why"]
