"""Three machines build what one builds, to the byte, while each has trouble of its own."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet_yard import SILENT_S, Yard
from tests.live.conftest import SMALL
from tests.workshop import Workshop

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]

NAMES = ("one", "two", "three")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> Workshop:
    """The single machine, which has built all of them."""
    shop = Workshop(tmp_path_factory.mktemp("alone"), packages)
    done = shop.run("update", *recipes(shop), "--json", "--jobs", "2")
    assert done.status == 0, done.err
    shop.first = done
    return shop


def recipes(shop: Workshop) -> list[str]:
    texts = {
        name: SMALL.replace("small-12", f"{name}-12") + f'[configure.files."/etc/motd"]\ntext = "{name}\\n"\n'
        for name in NAMES
    }
    return [shop.recipe(name, text) for name, text in texts.items()]


def report(events: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    done = next(event for event in events if event["event"] == "night_done")
    return {row["template"]: row for row in done["report"]["templates"]}


@pytest.fixture
def yard(tmp_path: Path, alone: Workshop) -> Iterator[Yard]:
    made = Yard(tmp_path / "yard", Workshop(tmp_path / "shop", alone.packages))
    yield made
    made.close()


@pytest.fixture
def little(tmp_path: Path) -> Iterator[Path]:
    """A disk that is soon full."""
    place = tmp_path / "little"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "little", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_killed_cut_off_and_full(yard: Yard, alone: Workshop, little: Path) -> None:
    killed, cut = yard.worker(), yard.worker()
    yard.worker({"TMPLBUILD_STATE_DIR": str(little)})
    did: list[str] = []

    def heard(event: dict[str, Any]) -> None:
        inner = event.get("of", {})
        if inner.get("event") != "stage_started" or inner["stage"] not in ("strip", "upgrade"):
            return
        if "killed" not in did and killed.busy:
            killed.kill()
            did.append("killed")
        elif "cut" not in did and cut.busy:
            cut.cut_off()
            did.append("cut")
            threading.Timer(3 * SILENT_S, cut.cut_off, kwargs={"off": False}).start()

    words = recipes(yard.shop)
    done = yard.run("update", *words, "--offline", heard=heard)
    assert done.status == 0, done.err + str(done.events[-3:])
    assert did[:2] == ["killed", "cut"] or did[:2] == ["cut", "killed"], did
    assert alone.first is not None
    one, fleet = report(alone.first.events), report(done.events)
    assert {name: row["sha256"] for name, row in fleet.items()} == {
        name: row["sha256"] for name, row in one.items()
    }
    hosts = {stage["host"] for row in fleet.values() for stage in row["stages"] if not stage["cached"]}
    assert hosts <= {"w1", "w2"}
    notes = str([event for event in done.events if event["event"] == "template_event"])
    assert "given to another machine" in notes
    again = yard.run("update", *words, "--offline")
    assert {row["outcome"] for row in report(again.events).values()} == {"unchanged"}
