"""Three machines build what one builds, to the byte, while each has trouble of its own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet_yard import Yard, until
from tests.live.conftest import SMALL
from tests.workshop import ROOT, Run, Workshop
from tmplbuild.archives import zstd
from tmplbuild.engine.store import Store

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]

TOKEN = "3qXv9-this-is-nobody-else-s"
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


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, alone: Workshop) -> Iterator[Yard]:
    """One worker, whom nothing happens to but what the tests say, in their order."""
    place = tmp_path_factory.mktemp("calm")
    made = Yard(place / "yard", Workshop(place / "shop", alone.packages))
    (place / "secrets").mkdir()
    (place / "secrets" / "token").write_text(TOKEN)
    (place / "secrets" / "token").chmod(0o600)
    made.worker({"TMPLBUILD_SECRETS": str(place / "secrets")})
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
    inner = [event["of"] for event in done.events if event["event"] == "template_event"]
    told = {one["host"] for one in inner if one["event"] == "stage_started"}
    assert told
    assert told <= {"w1", "w2", "w3"}  # the screen names them
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


def remains(yard: Yard) -> dict[str, list[str]]:
    """What is left of builds on the first worker's machine, while the worker itself runs."""
    found = Workshop(yard.workers[0].place, yard.shop.packages).remains()
    return {kind: rows for kind, rows in found.items() if rows and not rows[0].endswith("/run/dask")}


def test_who_is_interrupted_stops_the_workers(calm: Yard) -> None:
    worker = calm.workers[0]

    seen: list[Run] = []

    def heard(event: dict[str, Any]) -> None:
        if event["event"] == "stage_started" and event["stage"] == "upgrade":
            wrap = tuple(calm.inside("hub", []))
            words = ["status", "--fleet", "--config", str(calm.settings())]
            halted = worker.halt()  # it would go on while we look
            seen.extend(calm.shop.run(*words, *more, wrap=wrap) for more in (["--json"], []))
            assert calm.orders is not None
            calm.orders.send_signal(signal.SIGINT)
            for pid in halted:
                os.kill(pid, signal.SIGCONT)

    done = calm.run("build", recipes(calm.shop)[0], "--offline", heard=heard)
    assert done.status == 130, done.err
    told = json.loads(seen[0].out)
    assert told["dashboard"].endswith("/status")
    assert [one["name"] for one in told["workers"]] == ["w1"]
    assert told["workers"][0]["memory_mib"] > 0
    assert "x86_64" in told["workers"][0]["arches"]
    assert [text.partition(":")[0] for text in told["workers"][0]["running"]] == ["one-12-x86_64"]
    assert "one-12-x86_64: upgrade" in seen[1].out
    assert told["dashboard"] in seen[1].out
    until(lambda: not worker.busy, 120)
    assert remains(calm) == {}
    assert not list(calm.shop.templates.glob("*"))
    failed = Store(calm.shop.place / "state").read_record("one-12-x86_64", "failed")
    assert failed is not None
    assert (failed["stage"], failed["error"]) == ("upgrade", "interrupted")


def test_a_scheduler_that_is_restarted(calm: Yard, alone: Workshop) -> None:
    starts = calm.workers[0].starts
    did: list[str] = []

    def heard(event: dict[str, Any]) -> None:
        if event["event"] == "stage_started" and not did:
            did.append(event["stage"])
            calm.restart()

    done = calm.run("build", recipes(calm.shop)[0], "--offline", heard=heard)
    assert done.status == 0, done.err + str(done.events[-1])
    assert did == ["upgrade"], "it goes on where it was interrupted"
    assert calm.workers[0].starts > starts
    assert "given out again" in str(done.events)
    assert alone.first is not None
    assert done.summary["sha256"] == report(alone.first.events)["one-12-x86_64"]["sha256"]
    assert remains(calm) == {}


def test_a_release_upgrade(calm: Yard) -> None:
    shop = calm.shop
    shop.recipe("later", SMALL.replace("small-12", "later-12") + '[upgrade]\nfrom = "test-one"\n')
    words = ("--to", "test-later", "--recipes", str(shop.place / "recipes"))
    done = calm.run("upgrade", "test-one", *words, "--offline")
    assert done.status == 0, done.err + str(done.events[-1])
    assert "configure-again" in done.ran
    assert done.summary["template"] == "later-12-from-12-x86_64"


def test_another_version_is_refused(calm: Yard, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "tmplbuild", tmp_path / "tmplbuild", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "tmplbuild" / "__init__.py").open("a") as file:
        file.write("\n# another one\n")
    env = {"PYTHONPATH": str(tmp_path)}
    build = ["build", recipes(calm.shop)[0], "--offline", "--recipes", str(ROOT / "recipes")]
    for words in (["worker", calm.address], [*build, "--scheduler", calm.address]):
        done = calm.ask(*words, "--store", calm.store, env=env)
        assert done.status == 4
        assert "is of another version of tmplbuild" in done.err
        assert "install the same version" in done.err


def test_a_secret_goes_to_its_task_alone_and_two_files_of_one_key_are_an_error(calm: Yard) -> None:
    hook = "[hooks.tell]\nrun = 'tell'\nafter = 'configure'\nsecrets = ['token']\n"
    path = Path(calm.shop.recipe("keyed", SMALL.replace("small-12", "keyed-12") + hook))
    (path.parent / "tell").write_text('#!/bin/sh\necho "told: $(cat "$TMPLBUILD_SECRETS/token")"\n')
    (path.parent / "tell").chmod(0o755)
    without = calm.worker()
    log = without.place / "log"
    until(lambda: log.exists() and "is ready at" in log.read_text(), 120)
    done = calm.run("build", str(path), "--offline", "--no-boot-test")
    assert done.status == 0, done.err + str(done.events[-1])
    hosts = {row["name"]: row.get("host") for row in done.summary["stages"]}
    assert hosts["hook-tell"] == "w1"
    log = next((calm.shop.place / "state/logs/keyed-12-x86_64").glob("*-hook-tell.log"))
    assert "told: ***" in log.read_text()
    assert TOKEN not in str(done.events) + done.err
    places = [Path(calm.store), calm.shop.place]
    for worker in calm.workers:
        places += [worker.place / "log", worker.place / "run", worker.place / "state" / "logs"]
    assert [path for place in places for path in holders(place)] == []

    folder = Path(calm.store) / "artifacts"
    good = next(found for found in folder.glob("*/*") if found.stem == done.summary["sha256"])
    other = good.with_name(f"{'0' * 64}.json")
    shutil.copy(good, other)  # what another machine made of the very same
    done = calm.run("build", str(path), "--offline", "--no-boot-test", "--from", "pack")
    assert done.status == 6
    assert "was built twice of the same" in str(done.events[-1])
    assert good.exists()
    assert other.exists()
    assert sha256_of(calm.shop.templates / "keyed-12-x86_64.tar.gz") == good.stem
    other.unlink()


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def holders(place: Path) -> Iterator[Path]:
    """The files in which the secret is, in plain or packed."""
    for path in [place, *place.rglob("*")]:
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            if data.startswith(b"\x28\xb5\x2f\xfd"):  # a layer of the store
                with path.open("rb") as file:
                    data = zstd.open_reader(file).read()
            if TOKEN.encode() in data:
                yield path
