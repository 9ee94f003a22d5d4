"""What goes and what stays, by age, number and size; what is needed stays whatever the bounds say."""

from __future__ import annotations

import fcntl
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tmplbuild.cacheconf import Keep, size_of
from tmplbuild.config import Settings, load_settings
from tmplbuild.core.filelock import exclusive
from tmplbuild.engine.keeping import Kept, keep_of, prune, spare
from tmplbuild.engine.locks import layer_lock, part_lock, template_lock
from tmplbuild.engine.room import Wanted
from tmplbuild.engine.store import Layer, Store
from tmplbuild.errors import StoreError, UsageError
from tmplbuild.fleet import upkeep

DAY = 86400.0
NOW = 1000 * DAY


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """State in "s", cache in "c"."""
    return load_settings(
        environ={"TMPLBUILD_STATE_DIR": str(tmp_path / "s"), "TMPLBUILD_CACHE_DIR": str(tmp_path / "c")}
    )


def thing(kind: str, name: str, days: float, size: int = 100, needed: bool = False) -> Kept:
    return Kept(kind, Path("/") / name, size, NOW - days * DAY, needed)


def going(rows: list[Kept], keep: Keep) -> set[str]:
    return {row.path.name for row in spare(rows, keep, NOW)}


def test_by_age_each_kind_has_its_own() -> None:
    rows = [
        thing("packages", "p-old", 91),
        thing("packages", "p-needed", 500, needed=True),
        thing("packages", "p-new", 89),
        thing("members", "m-old", 15),
        thing("members", "m-new", 13),
        thing("layers", "l-old", 0.3),
        thing("layers", "l-new", 0.2),
        thing("failed", "f", 91),
        thing("logs", "g", 91),
    ]
    assert going(rows, Keep()) == {"p-old", "m-old", "l-old", "f", "g"}


def test_by_size_the_longest_unused_go_first_and_needed_ones_count() -> None:
    rows = [
        thing("packages", "needed", 5, 500, needed=True),
        thing("packages", "third", 1),
        thing("members", "first", 3),
        thing("indexes", "second", 2),
        thing("layers", "layer", 0.1, 10_000),
    ]
    assert going(rows, Keep(max_size=800)) == set()
    assert going(rows, Keep(max_size=799)) == {"first"}
    assert going(rows, Keep(max_size=600)) == {"first", "second"}
    assert going(rows, Keep(max_size=1)) == {"first", "second", "third"}


def test_by_number_the_oldest_layers_go() -> None:
    rows = [thing("layers", f"l{n}", n / 100) for n in range(5)] + [thing("layers", "n", 1, needed=True)]
    assert going(rows, Keep(max_layers=3)) == {"l3", "l4"}


def test_options_take_the_place_of_settings(tmp_path: Path) -> None:
    config = tmp_path / "tmplbuild.toml"
    config.write_text('[cache]\nmax_size = "2G"\nmembers_days = 7\n')
    settings = load_settings(config, environ={})
    assert settings.cache == Keep(max_size=2_000_000_000, members_days=7)
    assert keep_of(settings, days=None, size=None, layers=None) == settings.cache
    other = keep_of(settings, days=2, size=0, layers=5)
    assert other == Keep(max_size=1, max_age_days=2, members_days=2, layers_hours=48, max_layers=5)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('max_size = "2X"', 'cache.max_size: "2X" is not a size'),
        ("members_days = -1", "cache.members_days: expected a whole number"),
        ("max_sise = 1", "cache.max_sise: unknown setting"),
    ],
)
def test_faults_of_the_table(line: str, fault: str, tmp_path: Path) -> None:
    config = tmp_path / "tmplbuild.toml"
    config.write_text(f"[cache]\n{line}\n")
    with pytest.raises(UsageError) as caught:
        load_settings(config, environ={})
    assert fault in caught.value.why


def test_sizes() -> None:
    assert [size_of(text) for text in ("0", "5k", "1.5G", "2TB", 7)] == [
        0,
        5000,
        1_500_000_000,
        2 * 10**12,
        7,
    ]


def test_young_layers_stay_while_a_build_runs(settings: Settings, tmp_path: Path) -> None:
    layer = tmp_path / "s/layers" / ("d" * 32)
    layer.mkdir(parents=True)
    (tmp_path / "s/trash").mkdir()
    (layer / "meta.json").write_text("{}")
    lock = tmp_path / "s/locks/t.lock"
    lock.parent.mkdir()
    fd = os.open(lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert prune(settings, Keep(layers_hours=0)) == []
    os.close(fd)
    assert [row.path for row in prune(settings, Keep(layers_hours=0))] == [layer]
    assert not layer.exists()


def laid(store: Store, key: str, age_s: float) -> Layer:
    """A layer that was used last so long ago."""
    with store.adopt(key, "install", None, whole=True, note={}) as place:
        (place / "fs").mkdir()
    layer = store.get(key)
    assert layer is not None
    then = time.time() - age_s
    os.utime(layer.path / "meta.json", (then, then))
    return layer


def test_of_the_layers_those_stay_that_are_used(settings: Settings) -> None:
    store, keep = Store(settings.state_dir), Keep(layers_hours=1)
    held, used, unused = (laid(store, name * 64, 7200) for name in "abc")
    fd = store.hold(held)
    assert fd is not None
    store.chain(used.key)  # which is how it comes below a tree
    os.utime(held.path / "meta.json", (0, 0))
    assert [row.path for row in prune(settings, keep)] == [unused.path]
    assert store.hold(unused) is None
    os.close(fd)
    assert [row.path for row in prune(settings, keep)] == [held.path]
    assert store.get(used.key) == used


def test_who_comes_as_a_layer_is_let_go_sees_that_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "s")
    layer = laid(store, "a" * 64, 60)
    really = os.rename
    with ThreadPoolExecutor(1) as pool:
        held: list[Future[int | None]] = []

        def meanwhile(source: Path, target: Path) -> None:
            held.append(pool.submit(store.hold, layer))
            time.sleep(0.1)  # until it waits
            really(source, target)

        monkeypatch.setattr(os, "rename", meanwhile)
        assert store.let_go(layer.path, store.used(layer.path))
        assert held[0].result() is None


def test_a_layer_that_is_used_after_it_was_chosen_stays(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    layer = laid(store, "a" * 64, 60)
    chosen = store.used(layer.path)
    store.use(layer)
    assert not store.let_go(layer.path, chosen)
    assert store.let_go(layer.path, store.used(layer.path))
    assert list((tmp_path / "s/trash").iterdir()) == []


def test_while_parts_of_a_fleet_run_only_what_they_hold_stays(settings: Settings, tmp_path: Path) -> None:
    store, keep = Store(settings.state_dir), Keep(layers_hours=0, max_age_days=0)
    young, new = laid(store, "a" * 64, 600), laid(store, "b" * 64, 0)
    package = tmp_path / "c/packages/aa/its.deb"
    package.parent.mkdir(parents=True)
    package.write_text("a package")
    half = tmp_path / "s/fleet/incoming/half.part"
    half.parent.mkdir(parents=True)
    half.write_text("half a layer")
    os.utime(half, (0, 0))
    with exclusive(tmp_path / "s/locks/a.lock", "a build"):
        assert [row.path for row in prune(settings, keep)] == [half]
    with part_lock(tmp_path / "s", "a"):
        assert [row.path for row in prune(settings, keep)] == [young.path]
    assert {row.path for row in prune(settings, keep)} == {new.path, package}


def test_a_worker_keeps_for_a_night_what_it_used_unless_its_disk_is_full(settings: Settings) -> None:
    store = Store(settings.state_dir)
    last_night, older = laid(store, "a" * 64, 24 * 3600), laid(store, "b" * 64, 40 * 3600)
    upkeep.tidy(settings)
    assert store.get(older.key) is None
    upkeep.see_room(settings, [Wanted(settings.state_dir, 1, "a byte")])
    assert store.get(last_night.key) == last_night
    with pytest.raises(StoreError, match="not enough room"):
        upkeep.see_room(settings, [Wanted(settings.state_dir, 10**18, "an exabyte")])
    assert store.get(last_night.key) is None
    young, new = laid(store, "c" * 64, 600), laid(store, "d" * 64, 0)
    with part_lock(settings.state_dir, "t"), layer_lock(settings.state_dir, "e" * 64, lambda: None):
        upkeep.tidy(settings, full=True)
    assert (store.get(young.key), store.get(new.key)) == (None, new)
    elsewhere = settings.template_cache
    upkeep.see_room(settings, [Wanted(elsewhere, 10**18, "who gave the order sees to it")])


def test_what_a_killed_run_left_of_its_own_trees_goes(settings: Settings, tmp_path: Path) -> None:
    names = (
        ".abc.4194305",  # no pid is so large: proc(5)
        f".boot.{os.getpid()}",
        ".abc",
        "x-15.4194305",
        "trial-y-x86_64",
        "z-x86_64",
        "trial-z-x86_64",
    )
    places = [tmp_path / "s/drafts" / name for name in names]
    dead, _, _, _, _, built, tried = places
    for place in places:
        (place / "fs").mkdir(parents=True)
        os.utime(place, (time.time() - 7 * 3600,) * 2)
    assert prune(settings, Keep(layers_hours=8)) == []
    with template_lock(tmp_path / "s", "x-15.4194305"), part_lock(tmp_path / "s", "y-x86_64"):
        assert [row.path for row in prune(settings, Keep(layers_hours=6))] == [dead, tried, built]
        assert sorted((tmp_path / "s/drafts").iterdir()) == sorted(places[1:5])
    assert {row.path for row in prune(settings, Keep(layers_hours=6))} == set(places[3:5])
    assert sorted((tmp_path / "s/drafts").iterdir()) == sorted(places[1:3])


def test_what_another_build_has_fetched_stays_while_it_runs(settings: Settings, tmp_path: Path) -> None:
    keep = Keep(max_size=1)
    young, old = (tmp_path / "c/packages" / name for name in ("young.deb", "old.deb"))
    young.parent.mkdir(parents=True)
    for path in (young, old):
        path.write_text("a package")
    os.utime(old, (0, 0))
    with exclusive(tmp_path / "s/locks/mine.lock", ""), exclusive(tmp_path / "s/locks/.tidy.lock", ""):
        with exclusive(tmp_path / "s/locks/another.lock", ""):
            assert [row.path for row in prune(settings, keep, building=True)] == [old]
        assert [row.path for row in prune(settings, keep, building=True)] == [young]


def test_what_another_build_removes_meanwhile_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"TMPLBUILD_STATE_DIR": str(tmp_path / "s"), "TMPLBUILD_CACHE_DIR": str(tmp_path / "c")}
    settings = load_settings(environ=environ)
    for name in ("one", "two"):
        (tmp_path / "s/failed" / name).mkdir(parents=True)
        os.utime(tmp_path / "s/failed" / name, (0, 0))
    really = Path.lstat

    def late(path: Path) -> os.stat_result:
        if path.name == "one" and path.exists():
            path.rmdir()
        return really(path)

    monkeypatch.setattr(Path, "lstat", late)
    assert [row.path.name for row in prune(settings, Keep())] == ["two"]


def test_what_is_known_of_a_template_stays_as_long_as_it(tmp_path: Path) -> None:
    names = ("TEMPLATE_CACHE", "CACHE_DIR", "STATE_DIR", "RUN_DIR")
    environ = {f"TMPLBUILD_{name}": str(tmp_path / name.lower()) for name in names}
    settings = load_settings(environ=environ | {"TMPLBUILD_CONFIG": "/dev/null"})
    store = Store(settings.state_dir)
    store.write_record("ubuntu-24.04-x86_64", {"template": "ubuntu-24.04-x86_64", "steps": []})
    paths = {name: store.known(name, "pack") for name in ("ubuntu-24.04-x86_64", "ubuntu-22.04-x86_64")}
    for path in paths.values():
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
        os.utime(path, (0, 0))
    gone = prune(settings, Keep())
    assert [row.path for row in gone] == [paths["ubuntu-22.04-x86_64"]]
    assert paths["ubuntu-24.04-x86_64"].exists()
