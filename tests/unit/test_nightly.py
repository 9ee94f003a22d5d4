"""What a nightly run decides: pins of an update, states of templates, bounds, locks. Nothing is built."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.test_engine_plan import DAY, NOW, RECIPE, choose, closure, plan, record
from tmplbuild.config import Settings, as_environment, load_settings
from tmplbuild.engine import failure, pinning
from tmplbuild.engine.budget import Budget, Need
from tmplbuild.engine.execute import Shop, execute
from tmplbuild.engine.locks import layer_lock, nightly_lock, template_lock
from tmplbuild.engine.look import Seen, select
from tmplbuild.engine.plan import Plan
from tmplbuild.engine.status import exit_status, judge
from tmplbuild.engine.store import Draft, Store
from tmplbuild.engine.world import Resolved
from tmplbuild.errors import BusyError, FetchError, StageError, UsageError, VerifyError
from tmplbuild.events import Emit, Event, StageDone
from tmplbuild.nightlyconf import Nightly
from tmplbuild.recipes.model import Install

ROOT = Path(__file__).resolve().parents[2]
MORE = msgspec.structs.replace(RECIPE, install=Install(packages=("ssh", "nginx")))
LESS = msgspec.structs.replace(RECIPE, install=Install(packages=("nginx",)))
WITH_NGINX = closure("libc=1", "apt=1", "ssh=1", "nginx=1", "libz=1", auto=("libz",))


def recorded(pins: Any, recipe: Any = RECIPE) -> dict[str, Any]:
    """A record as builds write it."""
    made = record(pins, recipe) | {"asked": pinning.asked(recipe, "amd64")}
    return dict(json.loads(json.dumps(made)))


# -- which pins ---------------------------------------------------------------------------------


def test_an_added_package_is_installed_by_the_update() -> None:
    first, _ = choose()
    last = recorded(first)
    pins, why = choose(MORE, full=WITH_NGINX, last=last)
    assert why == "the recipe asks for more packages (nginx)"
    assert (pins.base, pins.full) == (first.base, first.full)
    assert pins.added == ("nginx",)  # and not libz, which is only pulled in
    made = plan(MORE, pins, last=last)
    assert made.todo[0].step.name == "upgrade"
    assert made.todo[0].step.handed["added"] == ["nginx"]
    assert made.todo[0].reason == "packages moved: +libz, +nginx"
    # the next night, with the same recipe, it is still asked for
    again, _ = choose(MORE, full=WITH_NGINX, last=recorded(pins, MORE))
    assert again.added == ("nginx",)
    assert plan(MORE, again, last=recorded(pins, MORE)).unchanged


def test_a_package_that_was_pulled_in_and_is_now_asked_for_is_marked_so() -> None:
    first, _ = choose(full=closure("libc=1", "apt=1", "ssh=1", "libz=1", auto=("libz",)))
    named = msgspec.structs.replace(RECIPE, install=Install(packages=("ssh", "libz")))
    pins, _ = choose(named, full=closure("libc=1", "apt=1", "ssh=1", "libz=1"), last=recorded(first))
    assert pins.added == ("libz",)
    assert plan(named, pins, last=recorded(first)).todo[0].step.name == "upgrade"


@pytest.mark.parametrize(
    ("recipe", "last"),
    [
        (LESS, recorded(choose()[0])),  # one dropped, one added
        (
            msgspec.structs.replace(MORE, install=Install(packages=("ssh", "nginx"), recommends=True)),
            recorded(choose()[0]),
        ),
        (MORE, record(choose()[0])),  # a record of an earlier version does not say what was asked for
    ],
)
def test_anything_else_that_is_asked_for_is_a_rebuild(recipe: Any, last: dict[str, Any]) -> None:
    pins, why = choose(recipe, full=WITH_NGINX, last=last)
    assert why == "the recipe asks for other packages or archives"
    assert pins.full == pins.target
    assert pins.added == ()


def test_a_virtual_name_is_a_rebuild() -> None:
    recipe = msgspec.structs.replace(RECIPE, install=Install(packages=("ssh", "mail-transport-agent")))
    _, why = choose(recipe, full=closure("libc=1", "apt=1", "ssh=1", "exim=1"), last=recorded(choose()[0]))
    assert why == "the recipe asks for other packages or archives"


def test_a_clock_that_went_back_does_not_keep_a_base_for_ever() -> None:
    first, _ = choose(now=NOW + 3000 * DAY)
    pins, why = choose(full=closure("libc=1", "apt=1", "ssh=2"), last=recorded(first))
    assert "this machine's clock went back" in why
    assert pins.full == pins.target


# -- what is no answer --------------------------------------------------------------------------


def test_a_build_that_was_not_published_is_not_taken_for_unchanged() -> None:
    first, _ = choose()
    moved, _ = choose(full=closure("libc=1", "apt=1", "ssh=2"), last=recorded(first))
    done = {row["key"] for row in record(moved)["steps"]}  # all steps ended, then the power went
    made = plan(RECIPE, moved, last=recorded(first), store=done)
    assert made.unchanged
    assert not made.repeats(recorded(first))
    assert made.repeats(recorded(moved))


def test_a_rebuild_that_failed_runs_again_although_an_old_result_lies_there() -> None:
    first, _ = choose()
    last = recorded(first)
    key = next(row["key"] for row in last["steps"] if row["name"] == "check")
    made = plan(RECIPE, first, last=last, failed={"stage": "check", "key": key, "error": "x"})
    assert made.todo[0].step.name == "check"
    assert made.todo[0].again
    assert not made.repeats(last)


# -- states -------------------------------------------------------------------------------------


def seen(
    *,
    built_days: float | None = 1,
    current: bool = True,
    failed: dict[str, Any] | None = None,
    error: Any = None,
) -> Seen:
    pins, _ = choose()
    last = None if built_days is None else recorded(pins) | {"made": NOW - built_days * DAY, "summary": {}}
    target, _ = (pins, "") if current else choose(full=closure("libc=1", "apt=1", "ssh=2"), last=last)
    made: Plan | None = plan(RECIPE, target, last=last) if error is None else None
    resolved = None if error is not None else Resolved((), target, "no index moved in the archives")
    return Seen("debian-12", "debian-12-x86_64", None, resolved, made, error, "", current, last, failed)


FAILURE = {
    "stage": "boot",
    "time": NOW - 60,
    "since": NOW - DAY,
    "times": 2,
    "error": "it does not boot\nwhere: x",
}


@pytest.mark.parametrize(
    ("one", "state", "action", "status"),
    [
        (seen(), "fresh", "none", 0),
        (seen(current=False), "updates", "update", 2),
        (seen(built_days=None, current=False), "updates", "build", 2),
        (seen(current=False, failed=FAILURE), "failed", "update", 1),
        (seen(current=True, failed=FAILURE), "fresh", "none", 0),  # what failed is not wanted any more
        (seen(current=False, failed={"stage": "boot", "error": "interrupted"}), "updates", "update", 2),
        (seen(error=FetchError("no mirror answers")), "failed", "look again", 1),
        (seen(built_days=40), "stale", "none", 1),
        (seen(built_days=40, current=False), "stale", "update", 1),
        (seen(built_days=40, current=False, failed=FAILURE), "failed", "update", 1),
        (seen(built_days=-400), "fresh", "none", 0),  # made by a clock that was wrong
    ],
)
def test_states(one: Seen, state: str, action: str, status: int) -> None:
    found = judge(one, now=NOW, stale_after_days=30)
    assert (found.state, found.action) == (state, action)
    assert exit_status([found]) == status
    assert found.age_s is None or found.age_s >= 0
    assert json.loads(json.dumps(found.to_json()))["state"] == state


def test_a_failure_outweighs_updates() -> None:
    rows = [
        judge(one, now=NOW, stale_after_days=30) for one in (seen(), seen(current=False), seen(built_days=40))
    ]
    assert exit_status(rows[:1]) == 0
    assert exit_status(rows[:2]) == 2
    assert exit_status(rows) == 1
    assert exit_status([]) == 0


def test_an_age_of_no_interest() -> None:
    assert judge(seen(built_days=4000), now=NOW, stale_after_days=0).state == "fresh"


# -- failures are remembered --------------------------------------------------------------------


def test_failures_in_a_row_are_counted_and_layers_to_resume_from_are_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    steps = [{"name": "install", "key": "k" * 64}]
    failure.remember(store, "t", "install", StageError("x", log="/log"), key="k" * 64, steps=steps)
    with pytest.raises(VerifyError), failure.remembered(store, "t", "resolve"):
        raise VerifyError("half a mirror")
    found = store.read_record("t", failure.KIND)
    assert found is not None
    assert (found["stage"], found["times"], found["steps"]) == ("resolve", 2, steps)
    assert found["since"] <= found["time"]
    with pytest.raises(BusyError), failure.remembered(store, "t", "resolve"):
        raise BusyError("no failure of the template")
    assert store.read_record("t", failure.KIND) == found
    failure.remember(store, "t", "boot", None)
    after = store.read_record("t", failure.KIND)
    assert after is not None
    assert after["error"] == failure.INTERRUPTED


# -- locks --------------------------------------------------------------------------------------


def test_a_lock_names_its_holder_and_since_when(tmp_path: Path) -> None:
    with template_lock(tmp_path, "t"):
        with pytest.raises(BusyError) as caught, template_lock(tmp_path, "t"):
            pass
        assert f"process {os.getpid()} holds the lock since {time.strftime('%Y-')}" in caught.value.why
    with template_lock(tmp_path, "t"):
        pass


def _hold(place: Path, ready: Any) -> None:
    with nightly_lock(place), template_lock(place, "t"):
        ready.set()
        signal.pause()


def test_a_dead_holder_is_no_obstacle(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, ready))
    holder.start()
    assert ready.wait(60)
    with pytest.raises(BusyError) as caught, nightly_lock(tmp_path):
        pass
    assert str(holder.pid) in caught.value.why
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    with template_lock(tmp_path, "t"):  # while it dies
        pass
    holder.join()
    with nightly_lock(tmp_path):
        pass


class NothingAhead(nullcontext[None]):
    """Stands for `tmplbuild.engine.ahead.Ahead`: nothing is packed here."""

    def committed(self, *_: object) -> None:
        """No news."""


def test_a_layer_that_two_builds_need_is_made_once(tmp_path: Path) -> None:
    pins, _ = choose()
    made = plan(RECIPE, pins, store=set())
    made = replace(made, steps=made.steps[:2])  # bootstrap and install, the same for both
    both = threading.Barrier(2)
    count: list[str] = []

    def work(name: str, notes: list[Event]) -> None:
        store = Store(tmp_path, mode="copy")

        def bench(step: str, draft: Draft, emit: Emit) -> Any:
            return draft

        def action(draft: Any) -> dict[str, Any]:
            count.append(name)
            return {}

        logs = tmp_path / "logs" / name
        logs.mkdir()
        actions = dict.fromkeys(("bootstrap", "install"), action)
        shop = Shop(store, bench, actions, logs, notes.append, NothingAhead())  # type: ignore[arg-type]
        both.wait()
        execute(replace(made, template=name), shop)

    heard: dict[str, list[Event]] = {"a": [], "b": []}
    threads = [threading.Thread(target=work, args=item) for item in heard.items()]
    Store(tmp_path)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(count) == 2  # each layer by one of them
    cached = [
        event
        for events in heard.values()
        for event in events
        if isinstance(event, StageDone) and event.cached
    ]
    assert len(cached) == 2
    assert {event.note for event in cached} == {"another build has just made it"}
    assert not list((tmp_path / "locks").glob(".layer-*"))


def test_a_layers_lock_is_waited_for(tmp_path: Path) -> None:
    waits, order = threading.Event(), []

    def second() -> None:
        with layer_lock(tmp_path, "k" * 64, waits.set):
            order.append("second")

    with layer_lock(tmp_path, "k" * 64, lambda: None):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(60)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


# -- bounds -------------------------------------------------------------------------------------


def test_a_build_begins_when_the_bounds_allow(tmp_path: Path) -> None:
    budget = Budget(jobs=2, memory_mib=1000, keep_free_mib=0, place=tmp_path)
    need = Need(memory_mib=600, disk_mib=1)
    assert budget.allows(need, [])
    assert not budget.allows(need, [need])  # memory
    assert budget.allows(Need(400, 1), [need])
    assert not budget.allows(Need(1, 1), [Need(1, 1), Need(1, 1)])  # jobs
    assert budget.allows(Need(5000, 1), [])  # what is alone may try
    free = shutil.disk_usage(tmp_path).free >> 20
    assert not budget.allows(Need(1, free), [Need(1, 1000)])
    assert budget.lacks(Need(1, free + 5000)) > 0
    assert budget.lacks(Need(1, 1)) == 0


# -- which recipes ------------------------------------------------------------------------------


def settings(**night: Any) -> Settings:
    found = load_settings(environ={"HOME": "/root", "TMPLBUILD_CONFIG": "/dev/null"})
    return replace(found, nightly=Nightly(**night))


def test_which_recipes_are_meant() -> None:
    everything = select(settings(), [], enabled_only=True)
    assert {"debian-12", "ubuntu-24.04"} <= set(everything)
    some = settings(recipes=("debian-*",), skip=("debian-11",))
    assert select(some, [], enabled_only=True) == ["debian-12", "debian-13"]
    assert select(some, ["*-13"], enabled_only=True) == ["debian-13"]
    assert select(some, ["ubuntu-24.04"], enabled_only=False) == ["ubuntu-24.04"]
    minimal = [f"debian-{release}-minimal" for release in (11, 12, 13)]
    assert select(some, ["debian-*-minimal"], enabled_only=False) == minimal
    assert select(some, ["debian-12-ssh", "debian-12+ssh"], enabled_only=False) == [
        "debian-12-ssh",
        "debian-12+ssh",
    ]
    assert "debian-12-minimal" in select(some, ["debian-12-*"], enabled_only=False)
    assert not {"debian-12-minimal", "ubuntu-24.04-networkd"} & set(everything)
    variants = settings(recipes=("debian-*-minimal",), skip=("debian-11*",))
    assert select(variants, [], enabled_only=True) == minimal[1:]
    with pytest.raises(UsageError, match='"debain-12"') as caught:
        select(some, ["debain-12"], enabled_only=True)
    assert "debian-12" in caught.value.hint
    with pytest.raises(UsageError, match='"plan9-'):
        select(settings(recipes=("plan9-*",)), [], enabled_only=True)


NIGHT = """
[nightly]
recipes = ["debian-*"]
jobs = 3
when = "always"
command = ["mail", "root"]
metrics = "/var/x.prom"
[nightly.smtp]
host = "mail.example.org"
user = "me"
password_file = "/etc/secret"
from = "a@example.org"
to = ["b@example.org"]
"""


def test_the_settings_table(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(NIGHT)
    night = load_settings(path, environ={}).nightly
    assert (night.recipes, night.jobs, night.when, night.metrics) == (
        ("debian-*",),
        3,
        "always",
        Path("/var/x.prom"),
    )
    assert night.smtp is not None
    assert (night.smtp.sender, night.smtp.to, night.smtp.security) == (
        "a@example.org",
        ("b@example.org",),
        "starttls",
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("jobs = 3", "jbos = 3", 'nightly.jbos: unknown setting; did you mean "jobs"?'),
        ("jobs = 3", 'jobs = "3"', "nightly.jobs: expected a whole number from 0 to 1024"),
        ('when = "always"', 'when = "never"', "nightly.when: expected one of always, changed, failed"),
        ('"/var/x.prom"', '"x.prom"', "nightly.metrics: expected an absolute path"),
        ('password_file = "/etc/secret"', "", "nightly.smtp.user: has no password"),
        ('user = "me"', 'user = "me"\nsecurity = "none"', "a password would go unencrypted"),
        ('to = ["b@example.org"]', "", "nightly.smtp.to: is missing"),
        ("[nightly.smtp]", 'password = "x"\n[nightly.smtp]', "nightly.password: unknown setting"),
    ],
)
def test_faults_of_the_settings_table(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(NIGHT.replace(old, new))
    with pytest.raises(UsageError) as caught:
        load_settings(path, environ={})
    assert says in caught.value.why
    assert f"{path}:" in caught.value.why


def test_the_shipped_settings_are_the_defaults(tmp_path: Path) -> None:
    text = (ROOT / "contrib/tmplbuild.toml").read_text()
    assert load_settings(ROOT / "contrib/tmplbuild.toml", environ={}).nightly == Nightly()
    path = tmp_path / "all.toml"  # and what is commented out is right, too
    path.write_text(
        "".join(f"{line.removeprefix('# ')}\n" for line in text.splitlines() if " = " in line or "[" in line)
    )
    found = load_settings(path, environ={})
    assert found.nightly.smtp is not None
    assert (
        replace(found.nightly, smtp=None, recipes=(), skip=(), publish=(), command=(), metrics=None)
        == Nightly()
    )


def test_a_build_beside_us_has_our_settings() -> None:
    mine = replace(settings(), jobs=7, mirror="debian=http://m/debian", recipes=(Path("/a"), Path("/b")))
    theirs = load_settings(environ=as_environment(mine) | {"TMPLBUILD_CONFIG": "/dev/null"})
    assert replace(theirs, nightly=mine.nightly) == mine


def test_units_are_what_systemd_reads(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not there: apt-get install systemd")
    for path in (ROOT / "contrib").glob("tmplbuild-nightly.*"):
        text = path.read_text().replace("@BIN@/tmplbuild", "/bin/true")
        (tmp_path / path.name).write_text(text)
    argv = ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) not in done.stderr


def test_the_cron_job_is_one_that_cron_reads() -> None:
    lines = [
        line for line in (ROOT / "contrib/tmplbuild.cron").read_text().splitlines() if line[:1].isdigit()
    ]
    assert len(lines) == 1
    *times, user, command = lines[0].split(None, 6)
    assert (len(times), user, command) == (5, "root", "tmplbuild nightly --quiet-unchanged")
