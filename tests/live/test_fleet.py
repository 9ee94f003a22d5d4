"""Three machines build what one builds, to the byte, while each has trouble of its own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Places
from tests.fleet_yard import NET, Worker, Yard, go_on, until
from tests.live.conftest import SMALL
from tests.machine import PROGRAM, Machine
from tests.ports import free_port
from tests.sshd import Sshd
from tests.unit.test_fleet_docs import block
from tests.workshop import ROOT, Run, Workshop
from tmplbuild.archives import zstd
from tmplbuild.engine.store import Store

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]

TOKEN = "3qXv9-this-is-nobody-else-s"
NAMES = ("one", "two", "three")
QUICK = ("--offline", "--no-boot-test")


@pytest.fixture(scope="module")
def alone(places: Places, packages: Path) -> Workshop:
    """The single machine, which has built all of them."""
    shop = Workshop(places("alone"), packages)
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


def digests(done: Run | None) -> dict[str, str]:
    """What a night's templates came to."""
    assert done is not None
    return {name: row["sha256"] for name, row in report(done.events).items()}


@pytest.fixture
def yard(tmp_path: Path, alone: Workshop) -> Iterator[Yard]:
    made = Yard(tmp_path / "yard", Workshop(tmp_path / "shop", alone.packages), silent_s=15)
    yield made
    made.close()


@pytest.fixture(scope="module")
def serving(places: Places, alone: Workshop) -> Iterator[tuple[Yard, Sshd]]:
    """See `calm` and `sshd`."""
    place = places("calm")
    made = Yard(place / "yard", Workshop(place / "shop", alone.packages))
    (place / "secrets").mkdir()
    (place / "secrets" / "token").write_text(TOKEN)
    (place / "secrets" / "token").chmod(0o600)
    with ExitStack() as stack:
        stack.callback(made.close)
        server = Sshd(place / "ssh", host=f"{NET}.1", port=2222, wrap=made.inside("hub", []))
        stack.callback(server.stop)
        store = server.address(Path(made.store))
        made.worker({"TMPLBUILD_SECRETS": str(place / "secrets"), **server.env}, store)
        made.worker(server.env, store)
        made.ready()
        yield made, server
    left = {path.name for path in (place / "yard").glob("*/state/drafts/.*")}
    left |= {path.name for path in (alone.packages / "fleet").glob("*") if path.is_dir()}
    assert left == set(), "what is an order's alone goes with its part"


@pytest.fixture
def calm(serving: tuple[Yard, Sshd]) -> Yard:
    """Two workers, whom nothing happens to but what the tests say, in their order."""
    return serving[0]


@pytest.fixture
def sshd(serving: tuple[Yard, Sshd]) -> Sshd:
    """By which the calm yard's workers reach the store; who gives the orders has it in a directory."""
    return serving[1]


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
    yard.ready()
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
    go_on(late)
    until(lambda: not cut.busy, 300)
    cut.cut_off(off=False)
    assert entries(yard) == before
    again = yard.run("update", *words, "--offline")
    assert {row["outcome"] for row in report(again.events).values()} == {"unchanged"}


def entries(yard: Yard) -> dict[str, str]:
    """What the store tells of layers and packed templates."""
    return {str(path): path.read_text() for path in Path(yard.store).glob("*/*.json")}


def idle(yard: Yard) -> None:
    """Wait until no worker does anything; then nothing of a build is left, there or here."""
    until(lambda: not any(worker.busy for worker in yard.workers), 180)
    try:
        until(lambda: not left(yard), 60)  # what was killed dies
    except AssertionError:
        assert left(yard) == []


def left(yard: Yard) -> list[str]:
    """What of builds there is on all machines, but for the workers and what they start their parts from."""
    kept, rows = (" worker ", "--socket"), []
    for place in (yard.shop.place, *(worker.place for worker in yard.workers)):
        found = Workshop(place, yard.shop.packages).remains()
        processes = found.pop("processes", [])
        rows += [row for row in processes if not any(word in row for word in kept)]
        rows += [row for some in found.values() for row in some if not row.endswith("/run/dask")]
    return rows


def test_a_night_that_is_interrupted_again_and_again(calm: Yard, alone: Workshop) -> None:
    words = ["update", *recipes(calm.shop)[:2], *QUICK]
    for stage, number in (("bootstrap", signal.SIGTERM), ("upgrade", signal.SIGINT)):
        done, template = interrupted(calm, words, stage, number)
        assert done.status == 130, done.err
        assert done.events[-1]["class"] == "Interrupted"
        assert not list(calm.shop.templates.glob("*"))
        failed = Store(calm.shop.place / "state").read_record(template, "failed")
        assert failed is not None
        assert (failed["stage"], failed["error"]) == (stage, "interrupted")
    done, _ = interrupted(calm, words, "upgrade", signal.SIGKILL)
    assert done.status == -9

    stopped: list[Worker] = []
    starts = sum(worker.starts for worker in calm.workers)

    def stop(template: str, host: str) -> None:
        stopped.extend(worker for worker in calm.workers if worker.name == host)
        stopped[0].end()  # systemctl stop; it is started again

    done = calm.run(*words, heard=once("upgrade", stop))
    assert done.status == 0, done.err + str(done.events[-1:])
    assert f"{stopped[0].name} ends: given to another machine" in str(done.events)
    assert digests(done) == {name: digests(alone.first)[name] for name in digests(done)}
    idle(calm)
    until(lambda: sum(worker.starts for worker in calm.workers) == starts + 1, 180)


def once(stage: str, act: Callable[[str, str], None]) -> Callable[[dict[str, Any]], None]:
    """Hears events; when a stage begins for the first time it calls `act` with its template and machine."""
    did: list[str] = []

    def heard(event: dict[str, Any]) -> None:
        inner = event.get("of", event)
        if inner["event"] == "stage_started" and inner["stage"] == stage and not did:
            did.append(stage)
            act(event.get("template", ""), inner["host"])

    return heard


def interrupted(yard: Yard, words: list[str], stage: str, number: int) -> tuple[Run, str]:
    """Give orders and send who gave them a signal when a stage begins. Returns what came of it, and for
    which template the stage began."""
    sent: list[str] = []
    halted: list[int] = []

    def act(template: str, host: str) -> None:
        sent.append(template)
        halted.extend(pid for worker in yard.workers for pid in worker.halt())  # they would go on meanwhile
        if number == signal.SIGINT:
            status_tells(yard, f"{template}: {stage}", host)
        if number == signal.SIGKILL:
            yard.orders.kill()
        else:  # a terminal and systemd send it to all processes of a command
            os.killpg(yard.orders.pid, number)

    done = yard.run(*words, heard=once(stage, act))
    go_on(halted)
    idle(yard)
    return done, sent[0]


def status_tells(yard: Yard, what: str, host: str) -> None:
    """`status --fleet` tells, in JSON and as text, what a worker does."""
    words = ("status", "--fleet", "--config", str(yard.settings()))

    def workers() -> dict[str, dict[str, Any]]:
        return {one["name"]: one for one in json.loads(yard.ask(*words, "--json").out)["workers"]}

    until(lambda: workers()[host]["running"] == [what], 120)  # each tells of itself now and then
    plain, told = yard.ask(*words).out, json.loads(yard.ask(*words, "--json").out)
    assert told["dashboard"].endswith("/status")
    assert told["dashboard"] in plain
    assert [one["name"] for one in told["workers"]] == [worker.name for worker in yard.workers]
    assert told["workers"][0]["memory_mib"] > 0
    assert "x86_64" in told["workers"][0]["arches"]
    assert what in plain


def ran(done: Run) -> list[str]:
    """The stages that ran for any of a night's templates."""
    rows = report(done.events).values()
    return [stage["name"] for row in rows for stage in row["stages"] if not stage["cached"]]


def test_a_scheduler_that_is_restarted(calm: Yard, alone: Workshop) -> None:
    starts = sum(worker.starts for worker in calm.workers)
    words = ["build", recipes(calm.shop)[0], *QUICK, "--from", "upgrade"]
    done = calm.run(*words, heard=once("upgrade", lambda *_: calm.restart()))
    assert done.status == 0, done.err + str(done.events[-1])
    assert sum(worker.starts for worker in calm.workers) > starts
    assert "given out again" in str(done.events)
    assert done.summary["sha256"] == digests(alone.first)["one-12-x86_64"]
    idle(calm)


def test_a_store_that_does_not_answer(calm: Yard, sshd: Sshd, alone: Workshop) -> None:
    words = ["update", *recipes(calm.shop)[1:], *QUICK]
    for worker in calm.workers:
        worker.again(TMPLBUILD_STORE_PATIENCE_S="1")
    calm.ready()
    sshd.stop()
    done = calm.run(*words)
    assert done.status == 1
    rows = report(done.events)
    assert {name: row["outcome"] for name, row in rows.items()} == {
        "two-12-x86_64": "unchanged",
        "three-12-x86_64": "failed",
    }
    error = rows["three-12-x86_64"]["error"]
    assert (error["class"], error["what"]) == ("StoreError", "could not reach the fleet's store")
    assert error["where"].startswith(sshd.address(Path(calm.store)))
    assert "given to another machine" in str(done.events)

    sshd.start()
    for worker in calm.workers:
        worker.again(TMPLBUILD_STORE_PATIENCE_S="120")
    calm.ready()
    away = once("upgrade", lambda *_: sshd.stop())

    def heard(event: dict[str, Any]) -> None:
        away(event)
        if "does not answer" in event.get("of", {}).get("text", ""):
            sshd.start()

    done = calm.run(*words, heard=heard)
    assert done.status == 0, done.err + str(done.events[-1:])
    assert "answers again" in str(done.events)
    assert "given to another machine" not in str(done.events)
    assert digests(done)["three-12-x86_64"] == digests(alone.first)["three-12-x86_64"]
    idle(calm)


def test_what_a_killed_worker_had_not_uploaded_is_uploaded_by_its_next_run(calm: Yard) -> None:
    record = Store(calm.shop.place / "state").read_record("one-12-x86_64")
    assert record is not None
    keys = {step["name"]: step["key"] for step in record["steps"]}
    place = Path(calm.store)
    for path in [place / f"packed/{keys['pack']}.json", *place.glob(f"artifacts/{keys['pack']}/*")]:
        path.unlink()
    for name in list(keys)[2:]:  # it has the bootstrap and what was installed, and no more
        (place / "layers" / f"{keys[name]}.json").unlink()
    words = ["update", recipes(calm.shop)[0], *QUICK]
    done = calm.run(*words)
    assert done.status == 0, done.err + str(done.events[-1:])
    assert ran(done) == [], "it was given to the machine that has the layers"
    assert {path.stem for path in (place / "layers").iterdir()} >= set(keys.values())
    again = calm.run(*words)
    assert {row["outcome"] for row in report(again.events).values()} == {"unchanged"}


def test_workers_on_this_machine(calm: Yard, alone: Workshop, tmp_path: Path) -> None:
    shop = Workshop(tmp_path / "shop", alone.packages)
    (tmp_path / "tmp").mkdir()
    words = ["--offline", "--local-cluster", "1", "--store", calm.store, "--from", "pack"]
    done = shop.build(recipes(shop)[0], *words, env={"TMPDIR": str(tmp_path / "tmp")})
    assert done.ran == ["pack", "boot"]
    assert {row.get("host", "local-1") for row in done.summary["stages"]} == {"local-1"}
    assert done.summary["sha256"] == digests(alone.first)["one-12-x86_64"]
    assert not list((tmp_path / "tmp").iterdir())


def test_the_units_on_a_machine_with_systemd(calm: Yard, alone: Workshop, tmp_path: Path) -> None:
    address = f"tcp://127.0.0.2:{free_port('127.0.0.2')}"  # nobody else is there
    shop = Workshop(tmp_path / "shop", alone.packages)
    (tmp_path / "state").mkdir()
    binds = {"/srv/fleet": Path(calm.store), "/var/cache/tmplbuild": alone.packages}
    machine = Machine(
        tmp_path / "m", "builder", units(address), {**binds, "/var/lib/tmplbuild": tmp_path / "state"}
    )
    try:
        fleet = ("--scheduler", address)
        until(lambda: '"builder"' in shop.run("status", "--fleet", "--json", *fleet).out, 180)
        told = json.loads(shop.run("status", "--fleet", "--json", *fleet).out)
        assert told["workers"][0]["secrets"] == ["token"], "a credential that systemd gives it"

        def stop(template: str, host: str) -> None:
            machine.systemctl("stop", "tmplbuild-worker")
            state = machine.state("tmplbuild-worker")
            assert state["ActiveState"] == "inactive"
            assert (state["Result"], state["ExecMainStatus"]) == ("success", "0")
            until(lambda: machine.state("tmplbuild-worker")["ControlGroup"] == "", 60)
            machine.systemctl("start", "tmplbuild-worker")

        words = ["build", recipes(shop)[0], "--offline", "--from", "upgrade", *fleet, "--store", calm.store]
        done = shop.heard(*words, heard=once("upgrade", stop))
        assert done.status == 0, done.err + str(done.events[-1:])
        assert {row["host"] for row in done.summary["stages"] if not row["cached"]} == {"builder"}
        assert done.summary["sha256"] == digests(alone.first)["one-12-x86_64"]
        assert machine.state("tmplbuild-worker")["NRestarts"] == "0"
        machine.systemctl("stop", "tmplbuild-scheduler")
        assert machine.state("tmplbuild-scheduler")["Result"] == "success"
    finally:
        machine.close()


def units(address: str) -> dict[str, str]:
    """The files of a machine that is scheduler and worker, as docs/fleet.md has them."""
    worker = block("[Unit]")
    scheduler = worker.replace("tmplbuild worker", f"tmplbuild scheduler --listen {address}")
    for line in ("KillMode=mixed", "TimeoutStopSec=120", "Delegate=yes"):
        assert f"{line}\n" in scheduler
        scheduler = scheduler.replace(f"{line}\n", "")
    place = "/etc/systemd/system"
    return {
        f"{place}/tmplbuild-worker.service": worker,
        f"{place}/tmplbuild-worker.service.d/token.conf": "[Service]\nLoadCredential=token:/etc/token\n",
        f"{place}/tmplbuild-scheduler.service": scheduler,
        f"{place}/test.target": "[Unit]\nWants=tmplbuild-scheduler.service tmplbuild-worker.service\n",
        "/etc/token": "not in any log",
        "/etc/tmplbuild/tmplbuild.toml": f'[fleet]\nscheduler = "{address}"\nstore = "/srv/fleet"\n',
        "/usr/local/bin/tmplbuild": PROGRAM,
    }


def test_a_release_upgrade(calm: Yard) -> None:
    shop = calm.shop
    shop.recipe("later", SMALL.replace("small-12", "later-12") + '[upgrade]\nfrom = "test-one"\n')
    words = ("--to", "test-later", "--recipes", str(shop.place / "recipes"))
    done = calm.run("upgrade", "test-one", *words, *QUICK)
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
    lost = SMALL.replace("small-12", "lost-12") + hook.replace("'token'", "'nobody-has-it'")
    done = calm.run("update", str(path), calm.shop.recipe("lost", lost), "--offline", "--no-boot-test")
    assert done.status == 1
    rows = report(done.events)
    error = rows["lost-12-x86_64"]["error"]
    assert error["what"] == "no worker of the fleet can do this part of a build"
    assert error["where"].startswith("lost-12-x86_64: ")
    assert error["why"] == "none has the secret nobody-has-it"
    assert "LoadCredential=nobody-has-it:FILE" in error["hint"]
    row = rows["keyed-12-x86_64"]
    assert row["outcome"] == "built", done.err + str(row)
    assert {stage["name"]: stage.get("host") for stage in row["stages"]}["hook-tell"] == "w1"
    log = next((calm.shop.place / "state/logs/keyed-12-x86_64").glob("*-hook-tell.log"))
    assert "told: ***" in log.read_text()
    assert TOKEN not in str(done.events) + done.err
    idle(calm)
    places = [Path(calm.store), calm.shop.place]
    for worker in calm.workers:
        places += [worker.place / "log", worker.place / "run", worker.place / "state" / "logs"]
    assert [path for place in places for path in holders(place)] == []

    folder = Path(calm.store) / "artifacts"
    good = next(found for found in folder.glob("*/*") if found.stem == rows["keyed-12-x86_64"]["sha256"])
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
