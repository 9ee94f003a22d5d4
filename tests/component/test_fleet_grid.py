"""Where Dask places a part of a build: a real scheduler, real workers. What they are given to do is an order
that is not in the store, so that each says at once where it was tried."""

from __future__ import annotations

import itertools
import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import Places
from tests.fleet_yard import until
from tmplbuild.core.process import Sibling
from tmplbuild.errors import HostError
from tmplbuild.fleet import grid as module
from tmplbuild.fleet.graph import needs_of
from tmplbuild.fleet.grid import Grid, reach
from tmplbuild.fleet.parties import LostError

pytestmark = [pytest.mark.root, pytest.mark.live]

VALUE = "7Hq-nobody-else-s"
COUNT = itertools.count()
SCHEDULER = ("scheduler", "--listen", "tcp://127.0.0.1:0", "--dashboard", "127.0.0.1:0")


def started(stack: ExitStack, words: list[str], env: Mapping[str, str]) -> str:
    """Start the scheduler or a worker. Returns its address."""
    process = Sibling([*words, "--json"], env)
    stack.callback(process.wait)
    stack.callback(process.stop)
    address: str = json.loads(next(process.lines()))["address"]
    return address


@pytest.fixture(scope="module")
def grid(places: Places) -> Iterator[Grid]:
    """Two workers, of whom "a" has a secret."""
    place = places("grid")
    with ExitStack() as stack:
        own_places = {"SECRETS": "none", "CACHE_DIR": "cache", "RUN_DIR": "run"}
        env = {f"TMPLBUILD_{name}": str(place / folder) for name, folder in own_places.items()}
        scheduler = started(stack, list(SCHEDULER), env)
        for name in ("a", "b"):
            own = {"TMPLBUILD_STATE_DIR": str(place / name), "TMPLBUILD_RUN_DIR": str(place / f"{name}-run")}
            own |= {"TMPLBUILD_SECRET_DB_PASS": VALUE} if name == "a" else {}
            words = ["worker", scheduler, "--store", str(place / "store"), "--name", name, "--jobs", "1"]
            started(stack, words, env | own)
        found = reach(scheduler, None)
        stack.callback(found.close)
        until(lambda: len(found.members()) == 2, 60)
        yield found


def test_a_scheduler_that_is_gone_has_no_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_places = {"SECRETS": "none", "CACHE_DIR": "cache", "RUN_DIR": "run", "STATE_DIR": "state"}
    env = {f"TMPLBUILD_{name}": str(tmp_path / folder) for name, folder in own_places.items()}
    scheduler = Sibling([*SCHEDULER, "--json"], env)
    with ExitStack() as stack:
        stack.callback(scheduler.wait)
        stack.callback(scheduler.kill)
        address = json.loads(next(scheduler.lines()))["address"]
        started(stack, ["worker", address, "--store", str(tmp_path / "store"), "--jobs", "1"], env)
        monkeypatch.setattr(module, "_PATIENCE_S", 2)
        found = reach(address, None)
        stack.callback(found.close)
        assert found.is_back()
        scheduler.kill()
        assert not found.is_back(), "although it was seen with a worker"
        with pytest.raises(LostError):
            found.members()
        with pytest.raises(HostError):
            found.wait_for_workers(1)


def test_a_scheduler_without_workers(tmp_path: Path) -> None:
    with ExitStack() as stack:
        address = started(stack, list(SCHEDULER), {"TMPLBUILD_RUN_DIR": str(tmp_path / "run")})
        found = reach(address, None)
        stack.callback(found.close)
        with pytest.raises(HostError, match="the fleet has no worker") as caught:
            found.wait_for_workers(0.5)
        assert caught.value.why == "none came within 0.5 s"


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    with ExitStack() as stack:
        env = {f"TMPLBUILD_{name}_DIR": str(tmp_path / name) for name in ("RUN", "STATE", "CACHE")}
        scheduler = started(stack, list(SCHEDULER), env)
        words = ["worker", scheduler, "--store", str(tmp_path / "store"), "--name", "one"]
        started(stack, words, env)
        second = Sibling([*words, "--json"], env)
        (error,) = [json.loads(line) for line in second.lines()]
        assert error["what"] == "the scheduler has a worker of that name already"
        assert second.wait()[0] == HostError.exit_code


def needs(*secrets: str) -> dict[str, float]:
    return needs_of(platform.machine(), 64, secrets)


def done_by(grid: Grid, wanted: dict[str, float], prefer: str = "") -> str:
    """The name of the worker that a part was given to."""
    words = ["0" * 64, "base", *(grid.lure(prefer) if prefer else [])]
    future = grid.submit(f"test-{next(COUNT)}", words, needs=wanted, priority=0.0)
    found = grid.result(future, wanted)
    grid.forget(future)
    assert found["error"]["class"] == "StoreError"  # there is no such order
    return str(found["worker"])


def test_a_part_goes_where_its_secrets_are(grid: Grid) -> None:
    assert [member.secrets for member in grid.members()] == [("db_pass",), ()]
    assert {done_by(grid, needs("db-pass")) for _ in range(4)} == {"a"}


def test_a_secret_itself_is_not_known_to_the_scheduler(grid: Grid) -> None:
    told = str(grid._client.scheduler_info(n_workers=-1))
    assert "db_pass" in told
    assert VALUE not in told


def test_what_no_worker_has(grid: Grid) -> None:
    assert grid.lacking(needs("db-pass")) == []
    assert grid.lacking(needs("db-pass", "token")) == ["secret token"]
    assert grid.lacking(needs_of("s390x", 64, ())) == ["arch s390x"]


def test_a_part_goes_to_the_machine_that_it_prefers(grid: Grid) -> None:
    addresses = {member.name: member.address for member in grid.members()}
    for name in ("a", "b", "b", "a", "a"):
        assert done_by(grid, needs(), addresses[name]) == name
    assert done_by(grid, needs("db-pass"), addresses["b"]) == "a", "where it can be done comes first"
    assert done_by(grid, needs(), "tcp://127.0.0.1:9") in ("a", "b"), "and it may be gone"
