"""Pins, keys and plans: what reruns, what does not, and the words that say why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tmplbuild.archives.model import ArchiveState, Closure, IndexFile, Package, SuiteState
from tmplbuild.engine import keys, pinning
from tmplbuild.engine.pins import Pinned, Pins
from tmplbuild.engine.plan import Plan, make_plan
from tmplbuild.engine.steps import NAMES, steps
from tmplbuild.recipes.kinds import Section
from tmplbuild.recipes.model import (
    Archive,
    Bootstrap,
    Check,
    Clean,
    Configure,
    File,
    Image,
    Install,
    Pack,
    Recipe,
    Strip,
    Upgrade,
)


def no_files(section: Section) -> dict[str, str]:
    return {}


NOW = 1_800_000_000
DAY = 86400


def package(name: str, version: str = "1") -> Package:
    return Package(
        name=name,
        version=version,
        arch="amd64",
        archive="debian",
        filename=f"pool/{name}_{version}.deb",
        size=1,
        sha256=keys.digest([name, version]),
    )


def closure(*names: str, auto: tuple[str, ...] = ()) -> Closure:
    made = tuple(package(*name.split("=")) for name in names)
    return Closure(made, frozenset(auto))


RECIPE = Recipe(
    image=Image(distro="debian", release="12", suite="bookworm", arches=("amd64",)),
    archives={
        "debian": Archive(
            mirrors=("host",),
            public="http://deb.example/debian",
            suites=("bookworm",),
            components=("main",),
            keys=("A" * 40,),
        )
    },
    bootstrap=Bootstrap(method="deb"),
    install=Install(packages=("ssh",)),
    configure=Configure(files={"/etc/motd": File(text="hi")}),
    strip=Strip(mask=("a.service",)),
    clean=Clean(remove=("/tmp/*",)),
    upgrade=Upgrade(manager="apt-deb"),
)


def states(date: int = NOW - DAY) -> tuple[ArchiveState, ...]:
    release = IndexFile("dists/bookworm/InRelease", "0" * 64, 1, Path("/nonexistent"))
    suite = SuiteState("bookworm", release, date, 0, ("A" * 40,), ())
    return (ArchiveState("debian", (suite,)),)


def choose(
    recipe: Recipe = RECIPE,
    *,
    full: Closure | None = None,
    last: dict[str, Any] | None = None,
    now: int = NOW,
    date: int = NOW - DAY,
    shared: int | None = None,
    installed: tuple[int, int] | None = None,
    fresh: bool = False,
) -> tuple[Pins, str]:
    return pinning.choose(
        recipe,
        "amd64",
        states(date),
        closure("libc=1", "apt=1"),
        full or closure("libc=1", "apt=1", "ssh=1"),
        last=last,
        now=now,
        base_epoch=lambda digest: shared,
        install_epochs=lambda full, base: installed,
        fresh=fresh,
    )


def record(pins: Pins, recipe: Recipe = RECIPE) -> dict[str, Any]:
    rows = [
        {"name": step.name, "key": step.key, "handed": step.handed} for step in steps(recipe, no_files, pins)
    ]
    return {"request": pinning.request(recipe, "amd64"), "pins": pins.to_json(), "steps": rows}


def plan(
    recipe: Recipe,
    pins: Pins,
    *,
    last: dict[str, Any] | None = None,
    store: set[str] | None = None,
    failed: dict[str, Any] | None = None,
    rerun_from: str | None = None,
    rebuild: bool = False,
) -> Plan:
    have = store if store is not None else {row["key"] for row in (last or {"steps": []})["steps"]}
    return make_plan(
        "debian-12-x86_64",
        steps(recipe, no_files, pins),
        pins,
        pins_reason="",
        has=have.__contains__,
        last=last,
        failed=failed,
        rerun_from=rerun_from,
        rebuild=rebuild,
    )


def ran(made: Plan) -> list[str]:
    return [planned.step.name for planned in made.todo]


def changed(section: str, **values: Any) -> Recipe:
    return msgspec.structs.replace(
        RECIPE, **{section: msgspec.structs.replace(getattr(RECIPE, section), **values)}
    )


# -- pins ---------------------------------------------------------------------------------------


def test_pins_survive_a_record() -> None:
    pins, _ = choose()
    assert Pins.from_json(pins.to_json()) == pins


def test_first_build_takes_todays_closure() -> None:
    pins, reason = choose()
    assert reason == "first build"
    assert pins.full == pins.target
    assert pins.target.epoch == NOW - DAY
    assert sorted(pins.base.versions()) == ["apt", "libc"]


def test_equal_closure_keeps_the_old_pins_even_when_the_archive_was_signed_anew() -> None:
    old, _ = choose()
    pins, reason = choose(last=record(old), date=NOW, now=NOW + 30 * DAY)
    assert pins == old
    assert reason == "no package moved in the archives"


def test_moved_packages_move_only_the_target() -> None:
    old, _ = choose()
    pins, reason = choose(full=closure("libc=2", "apt=1", "ssh=1"), last=record(old), date=NOW, now=NOW + DAY)
    assert reason == "packages moved in the archives"
    assert (pins.base, pins.full) == (old.base, old.full)
    assert pins.target.versions()["libc"] == "2"
    assert pins.target.epoch == NOW


def test_an_old_base_is_built_anew_when_packages_move() -> None:
    old, _ = choose()
    pins, reason = choose(full=closure("libc=2", "apt=1", "ssh=1"), last=record(old), now=NOW + 8 * DAY)
    assert "8 days old" in reason
    assert pins.full == pins.target


def test_other_packages_in_the_recipe_start_from_today() -> None:
    old, _ = choose()
    other = changed("install", packages=("ssh", "less"))
    pins, reason = choose(other, full=closure("libc=1", "apt=1", "ssh=1", "less=1"), last=record(old))
    assert "asks for other packages" in reason
    assert "less" in pins.full.versions()


def test_mirrors_keys_and_timeouts_ask_for_nothing_else() -> None:
    archive = msgspec.structs.replace(
        RECIPE.archives["debian"], mirrors=("http://x.example",), keys=("B" * 40,)
    )
    other = msgspec.structs.replace(RECIPE, archives={"debian": archive})
    other = msgspec.structs.replace(other, install=msgspec.structs.replace(other.install, timeout_s=5))
    assert pinning.request(other, "amd64") == pinning.request(RECIPE, "amd64")
    assert pinning.request(RECIPE, "i386") != pinning.request(RECIPE, "amd64")


def test_a_bootstrap_of_the_same_packages_is_shared() -> None:
    pins, _ = choose(shared=12345)
    assert pins.base.epoch == 12345
    assert pins.full.epoch == NOW - DAY


def test_a_record_that_cannot_be_read_counts_as_none() -> None:
    pins, reason = choose(last={"request": "x", "pins": {"arch": 1}})
    assert reason == "first build"
    assert pins.full == pins.target


def test_fresh_pins_on_demand() -> None:
    old, _ = choose()
    pins, reason = choose(last=record(old), fresh=True, date=NOW)
    assert reason == "a rebuild was asked for"
    assert pins.target.epoch == NOW


# -- plans --------------------------------------------------------------------------------------


def test_first_plan_runs_everything() -> None:
    pins, _ = choose()
    made = plan(RECIPE, pins)
    assert ran(made) == list(NAMES)
    assert {planned.reason for planned in made.steps} == {"first build"}


def test_nothing_changed_nothing_runs() -> None:
    pins, _ = choose()
    made = plan(RECIPE, pins, last=record(pins))
    assert made.unchanged
    assert all(planned.reason == "same as in the last good build" for planned in made.steps)


@pytest.mark.parametrize(
    ("other", "first", "says"),
    [
        (changed("configure", files={"/etc/motd": File(text="ho")}), "configure", "[configure] files"),
        (changed("strip", mask=("b.service",)), "strip", "[strip] mask"),
        (changed("clean", remove=()), "clean", "[clean] remove"),
        (changed("upgrade", autoremove=False), "upgrade", "[upgrade] autoremove"),
        (changed("leftovers", suffixes=(".x",)), "leftovers", "[leftovers] suffixes"),
        (changed("check", waive={"a": "b"}), "check", "[check] waive"),
        (changed("pack", level=9), "pack", "[pack] level"),
        (changed("check", install=("hello",)), "boot", "[boot] install"),
    ],
)
def test_an_edit_reruns_from_its_stage_on_and_says_so(other: Recipe, first: str, says: str) -> None:
    pins, _ = choose()
    made = plan(other, pins, last=record(pins))
    expected = list(NAMES[NAMES.index(first) :])
    if first == "check":
        expected = ["check"]  # a waiver changes no byte of the tree, so nothing has to be packed again
    assert ran(made) == expected
    assert made.todo[0].reason == f"recipe changed: {says}"
    if len(made.todo) > 1:
        assert made.todo[1].reason.startswith(("comes after", "recipe changed"))


def test_a_timeout_reruns_nothing() -> None:
    pins, _ = choose()
    other = changed("upgrade", timeout_s=1)
    assert plan(other, pins, last=record(pins)).unchanged


def test_moved_packages_rerun_the_upgrade_and_are_named() -> None:
    old, _ = choose()
    new = replace(old, target=Pinned.of(closure("libc=2", "apt=1", "ssh=1", "new=1"), NOW))
    made = plan(RECIPE, new, last=record(old))
    assert ran(made) == list(NAMES[NAMES.index("upgrade") :])
    assert made.todo[0].reason == "packages moved: libc 1 -> 2, +new"


def test_many_moved_packages_are_counted() -> None:
    old, _ = choose(full=closure(*[f"p{n}=1" for n in range(9)]))
    new = replace(old, target=Pinned.of(closure(*[f"p{n}=2" for n in range(9)]), NOW))
    made = plan(RECIPE, new, last=record(old))
    assert made.todo[0].reason == "packages moved: p0 1 -> 2, p1 1 -> 2, p2 1 -> 2 and 6 more"


def test_a_failed_run_resumes_at_the_failed_step_and_never_counts_as_done() -> None:
    pins, _ = choose()
    all_steps = steps(RECIPE, no_files, pins)
    upgrade = next(step for step in all_steps if step.name == "upgrade")
    have = {step.key for step in all_steps[: NAMES.index("upgrade")]}
    made = plan(RECIPE, pins, store=have, failed={"stage": "upgrade", "key": upgrade.key})
    assert ran(made)[0] == "upgrade"
    assert made.todo[0].reason == "failed or was interrupted in the last run"


def test_a_lost_layer_is_made_again() -> None:
    pins, _ = choose()
    last = record(pins)
    have = {row["key"] for row in last["steps"] if row["name"] != "strip"}
    made = plan(RECIPE, pins, last=last, store=have)
    assert ran(made)[0] == "strip"
    assert made.todo[0].reason == "its layer is no longer in the store"


def test_from_and_rebuild() -> None:
    pins, _ = choose()
    last = record(pins)
    assert ran(plan(RECIPE, pins, last=last, rerun_from="clean")) == list(NAMES[NAMES.index("clean") :])
    assert ran(plan(RECIPE, pins, last=last, rebuild=True)) == list(NAMES)


def test_no_boot_test_when_the_recipe_says_so() -> None:
    pins, _ = choose()
    assert ran(plan(changed("check", boot=False), pins)) == [name for name in NAMES if name != "boot"]


def test_a_changed_file_beside_the_recipe_changes_the_key() -> None:
    pins, _ = choose()

    def key(content: str) -> str:
        made = steps(RECIPE, lambda section: {"motd": content} if section is RECIPE.configure else {}, pins)
        return next(step.key for step in made if step.name == "configure")

    assert key("one") == key("one")
    assert key("one") != key("two")


def test_keys_are_canonical() -> None:
    assert keys.canonical({"b": 1, "a": [1, "é"]}) == '{"a":[1,"é"],"b":1}'.encode()
    assert keys.without_timeouts({"timeout_s": 1, "boot_timeout_s": 2, "packages": 3}) == {"packages": 3}


def test_the_pack_level_is_the_only_option_of_pack() -> None:
    assert set(Pack.__struct_fields__) == {"level"}
    assert "boot_timeout_s" in Check.__struct_fields__


def test_what_another_recipe_has_installed_is_shared_whenever_that_was() -> None:
    """A variant that only strips something begins there, though the archive was signed anew meanwhile."""
    other, _ = choose(date=NOW - 3 * DAY)
    mine, _ = choose(date=NOW - DAY, installed=(other.full.epoch, other.base.epoch))
    assert (mine.full.epoch, mine.base.epoch) == (NOW - 3 * DAY, NOW - 3 * DAY)
    assert mine.target.epoch == NOW - DAY
    keys = [{step.name: step.key for step in steps(RECIPE, no_files, pins)} for pins in (other, mine)]
    assert [name for name in keys[0] if keys[0][name] == keys[1][name]][:3] == [
        "bootstrap",
        "install",
        "configure",
    ]
    again, _ = choose(date=NOW - DAY, installed=(1, 1), fresh=True)
    assert again.full.epoch == NOW - DAY
