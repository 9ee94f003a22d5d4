"""The boot test runs beside check and pack; what is told comes in the plan's order; what fails ends it."""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_engine_plan import RECIPE, choose, plan
from tmplbuild.engine.beside import Beside, Held
from tmplbuild.engine.execute import Done, Shop, execute
from tmplbuild.engine.store import Draft, Store
from tmplbuild.errors import StageError
from tmplbuild.events import Emit, Event, Note, Progress, StageFailed, StageStarted

Action = Callable[["Bench"], dict[str, Any]]


class Nothing(nullcontext[None]):
    def committed(self, *_: object) -> None:
        """Nothing is packed ahead."""


class Bench:
    """What an action of these tests is given."""

    def __init__(self, draft: Draft, emit: Emit) -> None:
        self.draft, self.emit = draft, emit
        self.abandoned = threading.Event()

    def abandon(self) -> None:
        self.abandoned.set()


class Build:
    """A build of small actions in a store of its own."""

    def __init__(self, place: Path) -> None:
        self.store = Store(place)
        self.events: list[Event] = []
        pins, _ = choose()
        self.plan = plan(RECIPE, pins, store=set())
        self.logs = place / "logs"

    def run(self, *, beside: str = "boot", **actions: Action) -> list[Done]:
        def quick(bench: Bench) -> dict[str, Any]:
            return {}

        everything: dict[str, Any] = {row.step.name: quick for row in self.plan.steps}
        everything |= {name.replace("_", "-"): action for name, action in actions.items()}
        shop = Shop(
            self.store,
            lambda name, draft, emit: Bench(draft, emit),  # type: ignore[arg-type,return-value]
            everything,
            self.logs,
            self.events.append,
            Nothing(),  # type: ignore[arg-type]
            beside=beside,
        )
        return execute(self.plan, shop)

    def has(self, name: str) -> bool:
        key = next(row.step.key for row in self.plan.steps if row.step.name == name)
        return self.store.get(key) is not None


@pytest.fixture
def build(tmp_path: Path) -> Build:
    return Build(tmp_path)


def test_both_are_at_work_at_once_and_told_of_in_order(build: Build) -> None:
    meeting = threading.Barrier(2)

    def boot(bench: Bench) -> dict[str, Any]:
        bench.emit(Note("booted", "info"))
        meeting.wait(30)  # check is at work now
        return {"init": "systemd"}

    def check(bench: Bench) -> dict[str, Any]:
        meeting.wait(30)
        return {}

    done = build.run(boot=boot, check=check)
    assert [row.name for row in done] == [row.step.name for row in build.plan.steps]
    assert done[-1].note == {"init": "systemd"}
    names = [event.stage for event in build.events if isinstance(event, StageStarted)]
    assert names[-3:] == ["check", "pack", "boot"]
    at = build.events.index(Note("booted", "info"))
    assert any(isinstance(event, StageStarted) and event.stage == "boot" for event in build.events[:at])
    assert "booted" in (build.logs / "11-boot.log").read_text()


def test_a_check_that_fails_ends_the_boot_test(build: Build) -> None:
    begun, ended = threading.Event(), threading.Event()

    def boot(bench: Bench) -> dict[str, Any]:
        begun.set()
        assert bench.abandoned.wait(30)
        ended.set()
        raise StageError("the VE ended")

    def check(bench: Bench) -> dict[str, Any]:
        assert begun.wait(30)
        raise StageError("a fault")

    with pytest.raises(StageError, match="stage check: a fault"):
        build.run(boot=boot, check=check)
    assert ended.is_set()
    assert [event.stage for event in build.events if isinstance(event, StageFailed)] == ["check"]
    failed = build.store.read_record(build.plan.template, "failed")
    assert failed is not None
    assert failed["stage"] == "check"
    assert not build.has("boot")


def test_a_boot_test_that_fails_leaves_what_was_packed(build: Build) -> None:
    def boot(bench: Bench) -> dict[str, Any]:
        raise StageError("no init")

    with pytest.raises(StageError, match="stage boot: no init"):
        build.run(boot=boot)
    assert build.has("pack")
    assert not build.has("boot")
    failed = build.store.read_record(build.plan.template, "failed")
    assert failed is not None
    assert failed["stage"] == "boot"


def test_an_interrupt_ends_both(build: Build) -> None:
    ended = threading.Event()

    def boot(bench: Bench) -> dict[str, Any]:
        assert bench.abandoned.wait(30)
        ended.set()
        return {}

    def pack(bench: Bench) -> dict[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build.run(boot=boot, pack=pack)
    assert ended.is_set()
    assert not build.has("boot")


def test_where_layers_are_copies_it_waits_for_its_turn(build: Build) -> None:
    order: list[str] = []

    def of(name: str) -> Action:
        def action(bench: Bench) -> dict[str, Any]:
            order.append(name)
            return {}

        return action

    build.run(beside="", check=of("check"), pack=of("pack"), boot=of("boot"))
    assert order == ["check", "pack", "boot"]


def test_what_is_held_comes_later_and_only_the_last_word_of_progress() -> None:
    heard: list[Event] = []
    held = Held(heard.append)
    told: list[Event] = [Note("a"), Progress("x"), Progress("y"), Note("b")]
    for event in told:
        held(event)
    assert heard == []
    held.release()
    held(Note("c"))
    assert heard == [Note("a"), Progress("y"), Note("b"), Note("c")]


def test_one_that_is_not_to_be_ended_yet_is_asked_again() -> None:
    asked: list[int] = []
    ending = threading.Event()

    def end() -> None:
        asked.append(1)
        if len(asked) == 3:
            ending.set()

    def work(ended_by: Callable[[Callable[[], None]], None]) -> dict[str, Any]:
        ended_by(end)
        assert ending.wait(30)
        raise StageError("ended")

    beside = Beside(work)
    beside.cancel()
    assert len(asked) >= 3
    with pytest.raises(StageError):
        beside.join()


def test_a_signal_while_it_is_waited_for_leaves_it_to_be_ended() -> None:
    waited_for, asked = threading.Event(), threading.Event()
    ended: list[str] = []

    def work(ended_by: Callable[[Callable[[], None]], None]) -> dict[str, Any]:
        ended_by(asked.set)
        waited_for.wait()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
        asked.wait()
        time.sleep(0.1)  # what ending takes
        ended.append("here")
        return {}

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def wait() -> None:
        waited_for.set()
        beside.join()

    beside = Beside(work)
    old = signal.signal(signal.SIGALRM, interrupt)
    gc.disable()  # hypothesis is called by it, and what is raised there is lost
    try:
        with pytest.raises(KeyboardInterrupt):
            wait()
    finally:
        gc.enable()
        signal.signal(signal.SIGALRM, old)
    beside.cancel()
    assert ended == ["here"]
