"""The fleet's shared store: whole or not at all, verified, resumed, patient; and who may listen where."""

from __future__ import annotations

import argparse
import hashlib
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tmplbuild.archives.cache import PackageCache
from tmplbuild.cli.fleet import add_fleet, elsewhere, tls_of
from tmplbuild.config import load_settings
from tmplbuild.engine.store import Store
from tmplbuild.engine.world import World
from tmplbuild.errors import HostError, StoreError, UsageError, VerifyError
from tmplbuild.fleet import kept, layers
from tmplbuild.fleet.arrival import bring
from tmplbuild.fleet.identity import identity, refuse_other
from tmplbuild.fleet.parties import Tls, refuse_open
from tmplbuild.fleet.retention import prune
from tmplbuild.fleet.shared import SharedStore
from tmplbuild.fleetconf import FleetSettings

DATA = os.urandom(3 << 20)
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def shared(tmp_path: Path) -> SharedStore:
    return SharedStore(str(tmp_path / "store"), patience_s=0.1)


@pytest.fixture
def cache(tmp_path: Path) -> PackageCache:
    return PackageCache(tmp_path / "cache")


def blob(shared: SharedStore) -> Path:
    return Path(shared.address) / "blobs" / SHA[:2] / SHA


def put(shared: SharedStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(DATA)
    assert shared.put(source) == SHA


def test_what_was_put_is_got_and_nothing_else_lies_there(
    shared: SharedStore, cache: PackageCache, tmp_path: Path
) -> None:
    assert not shared.has(SHA)
    put(shared, tmp_path)
    assert shared.has(SHA)
    got = shared.get(SHA, cache.root / "x.bin", cache)
    assert got.read_bytes() == DATA
    assert next(iter(shared.blobs()))[0] == SHA
    assert [path.name for path in Path(shared.address).rglob("*") if path.is_file()] == [SHA]


def test_a_get_goes_on_where_it_broke_off(shared: SharedStore, cache: PackageCache, tmp_path: Path) -> None:
    put(shared, tmp_path)
    cache.incoming.mkdir(parents=True)
    (cache.incoming / "x.part").write_bytes(DATA[:1000])
    assert shared.get(SHA, cache.root / "x.bin", cache).read_bytes() == DATA


def test_a_wrong_beginning_is_thrown_away(shared: SharedStore, cache: PackageCache, tmp_path: Path) -> None:
    put(shared, tmp_path)
    cache.incoming.mkdir(parents=True)
    (cache.incoming / "x.part").write_bytes(b"wrong")
    assert shared.get(SHA, cache.root / "x.bin", cache).read_bytes() == DATA


def test_damaged_bytes_are_never_used(shared: SharedStore, cache: PackageCache, tmp_path: Path) -> None:
    put(shared, tmp_path)
    blob(shared).write_bytes(bytes([DATA[0] ^ 1]) + DATA[1:])
    with pytest.raises(VerifyError):
        shared.get(SHA, cache.root / "x.bin", cache)
    assert not (cache.root / "x.bin").exists()
    with pytest.raises(VerifyError):
        shared.get_bytes(SHA)


def test_a_blob_that_was_cut_off_is_put_again(shared: SharedStore, tmp_path: Path) -> None:
    put(shared, tmp_path)
    blob(shared).write_bytes(DATA[:10])
    put(shared, tmp_path)
    assert blob(shared).read_bytes() == DATA


def test_equal_bytes_are_brought_to_many_places_at_once(
    shared: SharedStore, cache: PackageCache, tmp_path: Path
) -> None:
    sha256 = shared.put_bytes(b"a log that is like others")
    world = cast(World, SimpleNamespace(cache=cache))
    places = [tmp_path / f"{number}.log" for number in range(64)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda place: bring(sha256, place, world, shared), places))
    assert {place.read_bytes() for place in places} == {b"a log that is like others"}


def test_a_store_that_is_away_is_an_error_that_another_try_may_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    shared = SharedStore(str(tmp_path / "file/store"), patience_s=0.1)
    with pytest.raises(StoreError) as found:
        shared.write_json("x.json", {})
    assert found.value.where == shared.address


def test_an_address_that_is_none() -> None:
    with pytest.raises(UsageError):
        SharedStore("gopher://x/y")


@pytest.mark.root
def test_a_layer_comes_back_as_it_was(shared: SharedStore, tmp_path: Path) -> None:
    one, other = Store(tmp_path / "one"), Store(tmp_path / "other")
    with one.adopt("a" * 64, "bootstrap", None, whole=True, note={"n": 1}) as place:
        fs = place / "fs"
        (fs / "d").mkdir(parents=True)
        (fs / "d/file").write_bytes(b"x" * 70_000)
        os.link(fs / "d/file", fs / "d/same")
        os.symlink("../d/file", fs / "link")
        os.chown(fs / "link", 7, 8, follow_symlinks=False)
        os.mknod(fs / "gone", stat.S_IFCHR, os.makedev(0, 0))
        os.chown(fs / "d/file", 12, 34)
        os.chmod(fs / "d/file", 0o4755)
        os.setxattr(fs / "d", "trusted.overlay.opaque", b"y")
        os.setxattr(fs / "d", "trusted.overlay.impure", b"y")
        os.utime(fs / "d", (5, 5))
    layer = one.get("a" * 64)
    assert layer is not None
    layers.push(layer, shared, tmp_path / "scratch", threads=1)
    assert layers.pull("a" * 64, other, shared, PackageCache(tmp_path / "cache"))
    assert not layers.pull("b" * 64, other, shared, PackageCache(tmp_path / "cache"))
    back = other.get("a" * 64)
    assert back is not None
    assert (back.note, back.whole, back.stage) == ({"n": 1}, True, "bootstrap")
    about = (back.fs / "d/file").stat()
    assert (about.st_uid, about.st_gid, about.st_nlink, stat.S_IMODE(about.st_mode)) == (12, 34, 2, 0o4755)
    assert (back.fs / "d/same").read_bytes() == b"x" * 70_000
    assert (back.fs / "link").lstat().st_uid == 7
    gone = (back.fs / "gone").lstat()
    assert stat.S_ISCHR(gone.st_mode)
    assert gone.st_rdev == 0
    assert os.listxattr(back.fs / "d") == ["trusted.overlay.opaque"]
    assert (back.fs / "d").stat().st_mtime == 5


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:8786", "tcp://[::1]:1", "localhost:8787", "127.0.0.1:0"]
)
def test_loopback_needs_no_tls(address: str) -> None:
    refuse_open(address, None)


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:8786", "tcp://:8786", "tcp://10.0.0.1:8786", "builder:1"])
def test_nothing_else_goes_without(address: str) -> None:
    with pytest.raises(UsageError, match="TLS"):
        refuse_open(address, None)


def test_tls_is_not_given_for_nothing() -> None:
    with pytest.raises(UsageError, match="tls://"):
        refuse_open("tcp://10.0.0.1:8786", Tls(Path("a"), Path("b"), Path("c")))


def test_another_version_is_refused() -> None:
    refuse_other(identity(), "the order")
    with pytest.raises(HostError, match="another version") as found:
        refuse_other("0.0.1+abc", "the order")
    assert identity() in found.value.why


def test_a_program_that_is_just_being_replaced_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    is_another = kept.load("/nowhere")
    assert not is_another()

    def files() -> list[tuple[str, int, int]]:
        raise FileNotFoundError

    monkeypatch.setattr(kept, "files", files)
    assert is_another()


def test_what_is_old_and_not_needed_goes_with_its_blobs(shared: SharedStore) -> None:
    old, young, needed, lost = (shared.put_bytes(text) for text in (b"old", b"young", b"needed", b"lost"))
    for key, blob in (("a", old), ("b", young), ("c", needed)):
        shared.write_json(f"layers/{key * 64}.json", {"sha256": blob})
    broken = Path(shared.address) / "blobs" / old[:2] / f".{old}.0123456789ab"  # who wrote it was killed
    under_way = broken.with_name(f".{old}.ba9876543210")
    entry = Path(shared.address) / "artifacts" / "k" / f".{old}.json.0123456789ab"
    entry.parent.mkdir(parents=True)
    for path in (broken, under_way, entry):
        path.touch()
    then = time.time() - 10 * 86400
    for path in Path(shared.address).rglob("*"):
        if path.is_file() and path.name not in (young, f"{'b' * 64}.json", under_way.name):
            os.utime(path, (then, then))
    would = prune(shared, max_age_s=5 * 86400, needed={"c" * 32}, dry_run=True)
    assert shared.has(old)
    assert prune(shared, max_age_s=5 * 86400, needed={"c" * 32}) == would
    assert [shared.has(one) for one in (old, young, needed, lost)] == [False, True, True, False]
    assert [path.exists() for path in (broken, under_way, entry)] == [False, True, False]
    assert shared.names("layers") == [f"{'b' * 64}.json", f"{'c' * 64}.json"]
    assert prune(shared, max_age_s=5 * 86400, needed={"c" * 32}) == []


@pytest.mark.root
def test_what_one_boot_left_is_not_cleaned_by_what_cleaned_after_another(
    shared: SharedStore, tmp_path: Path
) -> None:
    boot, clean = "b" * 64, "c" * 64

    def built(name: str) -> Store:
        store = Store(tmp_path / name)
        with store.adopt(boot, "upgrade", None, whole=True, note={}) as place:
            (place / "fs" / name).mkdir(parents=True)
        with store.adopt(clean, "clean-again", boot, whole=False, note={}) as place:
            (place / "fs").mkdir()
            os.mknod(place / "fs" / name, stat.S_IFCHR, os.makedev(0, 0))
        return store

    def push(store: Store, key: str, *below: str) -> None:
        layer, under = store.get(key), [store.get(one) for one in below]
        assert layer is not None
        found = [one for one in under if one is not None]
        layers.push(layer, shared, tmp_path / "scratch", threads=1, below=found)

    early, late = built("early"), built("late")
    push(early, boot)  # and then it is cut off
    push(late, boot)
    push(late, clean, boot)
    push(early, clean, boot)  # it is back, and changes nothing
    third, cache = Store(tmp_path / "third"), PackageCache(tmp_path / "cache")
    for key, held in ((boot, "early"), (clean, "late")):
        assert layers.pull(key, third, shared, cache)
        found = third.get(boot)
        assert found is not None
        assert layers.is_sound(found, third)
        assert os.listdir(found.fs) == [held]
    removed = third.get(clean)
    assert removed is not None
    assert os.listdir(removed.fs) == ["late"]
    assert layers.is_sound(removed, third)
    assert prune(shared, max_age_s=0, needed={clean[:32]}, dry_run=True) == [layers.name_of(boot)]


@pytest.mark.root
def test_a_layer_on_another_one_than_it_was_made_on_is_not_used(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for key, parent in (("b" * 64, None), ("c" * 64, "b" * 64), ("b" * 64, None)):
        with store.adopt(key, "upgrade", parent, whole=parent is None, note={}) as place:
            (place / "fs").mkdir()
    layer = store.get("c" * 64)
    assert layer is not None
    assert not layers.is_sound(layer, store)


def test_the_table_fleet(tmp_path: Path) -> None:
    config = tmp_path / "tmplbuild.toml"
    config.write_text('[fleet]\nscheduler = "tls://10.0.0.1:8786"\nstore = "/srv/fleet"\n')
    found = load_settings(config, environ={}).fleet
    assert (found.scheduler, found.store, found.tls_ca) == ("tls://10.0.0.1:8786", "/srv/fleet", None)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('scheduler = "10.0.0.1"', "fleet.scheduler: expected tls://HOST:PORT"),
        ('store = "srv"', "fleet.store: expected an absolute path or an address"),
        ('tls_ca = "ca.crt"', "fleet.tls_ca: expected an absolute path"),
        ('tls_ca = "/ca.crt"', "fleet.tls_cert: is missing"),
        ('schedular = "tls://10.0.0.1:1"', "fleet.schedular: unknown setting"),
    ],
)
def test_faults_of_the_table_fleet(line: str, fault: str, tmp_path: Path) -> None:
    config = tmp_path / "tmplbuild.toml"
    config.write_text(f"[fleet]\n{line}\n")
    with pytest.raises(UsageError) as caught:
        load_settings(config, environ={})
    assert fault in caught.value.why


def test_options_outweigh_the_table_and_one_fleet_is_asked_for(tmp_path: Path) -> None:
    table = FleetSettings("tls://10.0.0.1:8786", "/srv", *(tmp_path / name for name in ("ca", "cert", "key")))
    for path in (table.tls_ca, table.tls_cert, table.tls_key):
        assert path is not None
        path.touch()

    def args(*words: str) -> argparse.Namespace:
        parser = argparse.ArgumentParser()
        add_fleet(parser)
        return parser.parse_args(words)

    found = tls_of(args(), table, "tls://10.0.0.1:8786")
    assert found == Tls(tmp_path / "ca", tmp_path / "cert", tmp_path / "key")
    assert tls_of(args(), table, "tcp://127.0.0.1:1") is None
    own = tls_of(args("--tls-key", str(tmp_path / "cert")), table, "tls://10.0.0.1:8786")
    assert own == Tls(tmp_path / "ca", tmp_path / "cert", tmp_path / "cert")
    settings = replace(load_settings(environ={}), fleet=table)
    with elsewhere(args("--here"), settings) as others:
        assert others is None
    with (
        pytest.raises(UsageError, match="exclude each other"),
        elsewhere(args("--here", "--local-cluster", "1"), settings),
    ):
        pass
    with (
        pytest.raises(HostError, match="cannot be reached"),
        elsewhere(args("--scheduler", "tcp://127.0.0.1:1", "--store", str(tmp_path)), settings) as others,
    ):
        others.has("a key")  # type: ignore[union-attr]
