"""Three machines build what one builds, to the byte, while each has trouble of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet_yard import Yard, until
from tests.live.conftest import SMALL
from tests.workshop import Workshop
from tmplbuild.engine.store import Store

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]

NAMES = ("one", "two", "three")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> Workshop:
    """The single machine, which has built all of them."""
    shop = Workshop(tmp_path_factory.mktemp("alone"), packages)
    done = shop.run("update", *recipes(shop), "--json", "--jobs", "2")
    assert done.status == 0, done.err + str(done.events[-1:])
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
    killed, cut = yard.worker(), yard.worker({"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "600s"})
    yard.worker({"TMPLBUILD_STATE_DIR": str(little)})
    did: list[str] = []
    late: list[int] = []

    def heard(event: dict[str, Any]) -> None:
        inner = event.get("of", {})
        if inner.get("event") != "stage_started" or inner["stage"] not in ("strip", "upgrade"):
            return
        if "killed" not in did and killed.busy:
            killed.kill()
            did.append("killed")
        elif "cut" not in did and cut.busy:
            late.extend(cut.halt())  # what it does comes when others have done it
            cut.cut_off()
            did.append("cut")

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

    before = entries(yard)
    for pid in late:
        os.kill(pid, signal.SIGCONT)
    until(lambda: not cut.busy, 300)
    cut.cut_off(off=False)
    assert entries(yard) == before
    again = yard.run("update", *words, "--offline")
    assert {row["outcome"] for row in report(again.events).values()} == {"unchanged"}


def entries(yard: Yard) -> dict[str, str]:
    """What the store tells of layers and packed templates."""
    return {str(path): path.read_text() for path in Path(yard.store).glob("*/*.json")}


def test_what_a_killed_worker_had_not_uploaded_is_uploaded_by_its_next_run(
    tmp_path: Path, alone: Workshop
) -> None:
    shop = Workshop(tmp_path, alone.packages)
    words = ["update", recipes(shop)[0], "--offline", "--json", "--local-cluster", "1"]
    assert shop.run(*words).status == 0
    record = Store(tmp_path / "state").read_record("one-12-x86_64")
    assert record is not None
    place = tmp_path / "state" / "fleet" / "store"
    for path in [*place.glob("packed/*"), *place.glob("artifacts/*/*")]:
        path.unlink()
    keys = {step["name"]: step["key"] for step in record["steps"]}
    for name in list(keys)[2:]:  # it has the bootstrap and what was installed, and no more
        (place / "layers" / f"{keys[name]}.json").unlink()
    done = shop.run(*words)
    assert done.status == 0, done.err + str(done.events[-1:])
    assert {path.stem for path in (place / "layers").iterdir()} == set(keys.values())
    again = shop.run(*words)
    assert {row["outcome"] for row in report(again.events).values()} == {"unchanged"}
