"""Whole builds that are stopped, killed or fail: the old template stays, nothing is left on the machine,
and the next run goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive_factory import ArchiveFactory, Deb
from tests.live.conftest import SMALL
from tests.workshop import Run, Workshop
from tmplbuild.engine.steps import NAMES

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]

NAME = "small-12-x86_64"
OLD = b"the last good template"


@pytest.fixture
def shop(tmp_path: Path, packages: Path) -> Workshop:
    """A workshop with an old template, and the recipe of few packages."""
    made = Workshop(tmp_path / "shop", packages)
    (made.templates / f"{NAME}.tar.gz").write_bytes(OLD)
    made.recipe("small", SMALL)
    return made


@pytest.fixture(scope="session")
def digest(small: Workshop) -> str:
    """The sha256 of the small template when nothing disturbs its build."""
    found: str = small.build(small.recipe("small", SMALL)).summary["sha256"]
    return found


def old_is_there(shop: Workshop) -> None:
    assert (shop.templates / f"{NAME}.tar.gz").read_bytes() == OLD
    assert sorted(os.listdir(shop.templates)) == [f"{NAME}.tar.gz"]


def stops(shop: Workshop, number: int) -> Iterator[tuple[str, Run]]:
    yield from shop.kill_stages(str(shop.place / "recipes/test/small.toml"), NAMES, number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_in_every_stage(number: signal.Signals, shop: Workshop, digest: str) -> None:
    for stage, run in stops(shop, number):
        assert run.status == 130, f"{stage}: {run.status} {run.err}"
        assert "Traceback" not in run.err, stage
        assert shop.remains() == {}, stage
        old_is_there(shop)
    finished = shop.build(str(shop.place / "recipes/test/small.toml"))
    reasons = {e["stage"]: e.get("reason") for e in finished.events if e["event"] == "stage_started"}
    # All before was kept. A signal that came late found the boot test done, and pack as what failed last.
    assert set(finished.ran) <= {"pack", "boot"}, reasons
    assert finished.summary["sha256"] == digest


def test_killed_in_every_stage(shop: Workshop, digest: str) -> None:
    for stage, run in stops(shop, signal.SIGKILL):
        assert run.status == -signal.SIGKILL, stage
        old_is_there(shop)
    finished = shop.build(str(shop.place / "recipes/test/small.toml"))
    assert finished.summary["sha256"] == digest
    assert shop.remains() == {}


def test_a_second_build_of_the_same_template(shop: Workshop) -> None:
    recipe = str(shop.place / "recipes/test/small.toml")
    seen: list[Run] = []

    def bootstrapping(event: dict[str, object]) -> bool:
        if event["event"] != "stage_started":
            return False
        seen.append(shop.build(recipe, ok=False))
        return True

    first = shop.stopped(recipe, bootstrapping, signal.SIGINT)
    assert first.status == 130
    assert seen[0].status == 9
    assert "another run is building" in seen[0].out + seen[0].err
    old_is_there(shop)


# -- maintainer scripts -------------------------------------------------------------------------


def with_package(shop: Workshop, place: Path, postinst: str) -> str:
    """The small recipe with one package more, of an archive of its own."""
    archive = ArchiveFactory(place / "archive")
    archive.suite("stable", [Deb("faulty", scripts={"postinst": f"#!/bin/sh\n{postinst}\n"})])
    path = shop.recipe("faulty", "")
    archive.key.export(Path(path).parent / "keys")
    text = SMALL.replace('"procps"]', '"procps", "faulty"]\ntimeout_s = 120') + (
        f'[archives.local]\nmirrors = ["{archive.root.as_uri()}"]\npublic = "http://archive.invalid/local"\n'
        f'suites = ["stable"]\ncomponents = ["main"]\nkeys = ["{archive.key.fingerprint}"]\n'
    )
    return shop.recipe("faulty", text)


def test_a_maintainer_script_that_fails(shop: Workshop, tmp_path: Path) -> None:
    recipe = with_package(shop, tmp_path, "echo the disk is upside down >&2; exit 3")
    done = shop.run("build", recipe)
    assert done.status == 7
    for text in ("faulty", "the disk is upside down", "02-install.log", "--at install"):
        assert text in done.err
    assert "Traceback" not in done.err
    assert shop.remains() == {}
    old_is_there(shop)
    log = shop.place / "state/logs" / NAME / "02-install.log"
    assert "the disk is upside down" in log.read_text()
    # the corpse is kept, and can be looked at
    assert (shop.place / "state/failed" / NAME / "fs").is_dir()


def test_a_maintainer_script_that_hangs(shop: Workshop, tmp_path: Path) -> None:
    recipe = with_package(shop, tmp_path, "sleep 1000000 & wait")
    text = Path(recipe).read_text().replace("timeout_s = 120", "timeout_s = 20")
    done = shop.run("build", shop.recipe("faulty", text))
    assert done.status == 7
    assert "20 s" in done.err
    assert "timeout_s" in done.err
    assert shop.remains() == {}
    old_is_there(shop)


# -- disks --------------------------------------------------------------------------------------


def test_too_little_room_is_told_before_anything_is_begun(shop: Workshop) -> None:
    script = (
        'mount -t tmpfs -o size=150m none "$0" && "$@"; code=$?; ls "$0/layers" "$0/drafts" >&2; exit $code'
    )
    done = on_small_disk(shop, script)
    assert done.status == 8, done.err
    assert str(shop.place / "state") in done.err
    assert "nothing was begun" in done.err
    assert "stage_started" not in done.out
    assert done.err.rstrip().endswith(f"{shop.place}/state/layers:")  # both are empty
    assert shop.remains() == {}
    old_is_there(shop)


@pytest.mark.parametrize("megabytes", [60, 150])
def test_disk_full_during_unpack(megabytes: int, shop: Workshop) -> None:
    """Somebody else fills the disk when the build has begun."""
    script = (
        'mount -t tmpfs -o size=700m none "$0" || exit\n'
        f'(until ls -d "$0"/drafts/*/fs/usr; do sleep 0.02; done; fallocate -l {700 - megabytes}M "$0/all"'
        ') > /dev/null 2>&1 &\n"$@"; code=$?; wait; exit $code'
    )
    done = on_small_disk(shop, script)
    assert done.status in (7, 8), done.err  # 7 where a maintainer script met it first
    assert "space" in done.err
    assert "Traceback" not in done.err
    assert shop.remains() == {}
    old_is_there(shop)


def test_disk_full_during_pack(small: Workshop, digest: str, tmp_path: Path) -> None:
    """The layers are there; the packed file finds no room."""
    artifacts = small.place / "state/artifacts"
    for path in artifacts.iterdir():
        path.unlink()
    script = 'mount -t tmpfs -o size=8m none "$0" && exec "$@"'
    wrap = ("unshare", "--mount", "sh", "-c", script, str(artifacts))
    file = small.templates / f"{NAME}.tar.gz"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    recipe = str(small.place / "recipes/test/small.toml")
    done = small.run("build", recipe, "--from", "pack", wrap=wrap)
    assert done.status == 8, done.err
    assert "room" in done.err
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before == digest
    assert small.build(recipe, "--from", "pack").summary["sha256"] == digest


def on_small_disk(shop: Workshop, script: str) -> Run:
    """A build for which a shell script, whose $0 is the state directory, mounts a small one."""
    place = shop.place / "state"
    place.mkdir(parents=True, exist_ok=True)
    wrap = ("unshare", "--mount", "sh", "-c", script, str(place))
    return shop.run("build", str(shop.place / "recipes/test/small.toml"), wrap=wrap)


# -- other ways to the same bytes ---------------------------------------------------------------


def test_without_overlay_layers_are_copies(shop: Workshop, digest: str) -> None:
    """On a store that is itself an overlay, as in many containers, the result is the same."""
    places = [shop.place / name for name in ("lower", "upper", "work")]
    for path in places:
        path.mkdir()
    state = shop.place / "state"
    state.mkdir()
    options = f"lowerdir={places[0]},upperdir={places[1]},workdir={places[2]}"
    script = f'mount -t overlay -o {options} none "$0" && exec "$@"'
    wrap = ("unshare", "--mount", "sh", "-c", script, str(state))
    done = shop.build(str(shop.place / "recipes/test/small.toml"), "--no-boot-test", wrap=wrap)
    assert "whole copies" in done.err + json.dumps(done.events)
    assert done.summary["sha256"] == digest


def test_limits_that_cannot_be_held(shop: Workshop) -> None:
    """The tool sees cgroup2 alone. Where v1 has the controllers, doctor and a build say so alike."""
    script = 'umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'
    wrap = ("unshare", "--mount", "sh", "-c", script, "sh")
    rows = [line.split() for line in Path("/proc/cgroups").read_text().splitlines()]
    held = next(row[1] for row in rows if row[0] == "memory") == "0"
    told = shop.run("doctor", "--json", wrap=wrap)
    features = {row["name"]: row for row in json.loads(told.out)["features"]}
    assert features["cgroup2"]["works"]
    assert features["limit memory"]["works"] is held
    assert told.status == (0 if held else 4)
    if not held:
        assert "'memory' is mounted" in features["limit memory"]["why"]
        done = shop.run("build", str(shop.place / "recipes/test/small.toml"), wrap=wrap)
        assert done.status == 4
        assert "memory" in done.err
        assert "Traceback" not in done.err
        assert shop.remains() == {}
        old_is_there(shop)
