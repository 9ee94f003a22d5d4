"""Reading suites: every fault of an archive ends in one clear error, and nothing unverified is used."""

from __future__ import annotations

import hashlib
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.archive_factory import ArchiveFactory, Deb, Key, pack, strip_signature
from tests.archive_server import ArchiveServer
from tmplbuild.archives import mirrors
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.deb import closure, download, open_pool, read_archives, reader
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.model import ArchiveState
from tmplbuild.archives.wishes import Wishes
from tmplbuild.errors import FetchError, RecipeError, StoreError, TmplbuildError, VerifyError
from tmplbuild.events import Event, Note
from tmplbuild.fleet import order

DEBS = [Deb("base", essential=True, files={"/etc/base": b"hello\n"}), Deb("tool", depends="base")]
DAY = 86400


class Desk:
    """A factory's archive, a cache, and the ways to read it."""

    def __init__(self, place: Path) -> None:
        self.factory = ArchiveFactory(place / "archive")
        self.cache = PackageCache(place / "cache")
        self.fetcher: Fetcher | None = None
        self.warnings: list[str] = []

    def read(
        self,
        *addresses: str,
        cache: PackageCache | None = None,
        frozen: dict[str, str] | None = None,
        **options: object,
    ) -> tuple[ArchiveState, ...]:
        archives = self.factory.recipe_archives(*addresses)
        archives = {
            role: msgspec.structs.replace(archive, frozen=frozen or {}) for role, archive in archives.items()
        }
        self.fetcher = Fetcher(mirrors.table(archives), emit=self.hear, sleep=lambda _: None, retries=1)
        return read_archives(
            archives,
            "amd64",
            fetcher=self.fetcher,
            cache=cache or self.cache,
            keys_dir=self.factory.keys_dir,
            **options,  # type: ignore[arg-type]
        )

    def hear(self, event: Event) -> None:
        if isinstance(event, Note):
            self.warnings.append(event.text)

    def names(self, states: tuple[ArchiveState, ...]) -> list[str]:
        return [
            package.name
            for package in closure(open_pool(states, "amd64"), Wishes(packages=("tool",))).packages
        ]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path)
    made.factory.suite("stable", DEBS)
    return made


@pytest.fixture
def server(desk: Desk) -> Iterator[ArchiveServer]:
    with desk.factory.serve() as running:
        yield running


def test_all_in_order(desk: Desk, server: ArchiveServer) -> None:
    states = desk.read(server.url)
    assert desk.names(states) == ["base", "tool"]
    (suite,) = states[0].suites
    assert suite.signed_by == (desk.factory.key.fingerprint,)
    assert suite.release.local.read_bytes() == desk.factory.inrelease("stable").read_bytes()
    assert suite.valid_until == suite.date + 7 * DAY
    assert [seen.path for seen in server.log][1].startswith("/dists/stable/main/binary-amd64/by-hash/SHA256/")
    packages = closure(open_pool(states, "amd64"), Wishes(packages=("tool",))).packages
    assert desk.fetcher is not None
    download(packages, fetcher=desk.fetcher, cache=desk.cache)
    for package in packages:
        data = desk.cache.path(package.sha256).read_bytes()
        assert hashlib.sha256(data).hexdigest() == package.sha256


def test_nothing_changed(desk: Desk, server: ArchiveServer) -> None:
    first = desk.read(server.url)
    server.log.clear()
    assert desk.read(server.url) == first
    assert [(seen.path, "if-none-match" in seen.fields) for seen in server.log] == [
        ("/dists/stable/InRelease", True)
    ]


def test_several_suites_and_an_update(desk: Desk) -> None:
    desk.factory.suite("stable-updates", [Deb("tool", "2.0", depends="base")])
    (state,) = desk.read()
    assert [suite.suite for suite in state.suites] == ["stable", "stable-updates"]
    found = closure(open_pool((state,), "amd64"), Wishes(packages=("tool",))).packages
    assert [package.version for package in found] == ["1.0", "2.0"]
    desk.factory.suite("stable-updates", [Deb("tool", "2.1", depends="base")])
    found = closure(open_pool(desk.read(), "amd64"), Wishes(packages=("tool",))).packages
    assert [package.version for package in found] == ["1.0", "2.1"]


@pytest.mark.parametrize("compressions", [("xz",), ("gz",), ("bz2",), ("",), ("gz", "")])
def test_every_compression(tmp_path: Path, compressions: tuple[str, ...]) -> None:
    desk = Desk(tmp_path)
    desk.factory.suite("stable", DEBS, compressions=compressions)
    assert desk.names(desk.read()) == ["base", "tool"]


def test_release_with_a_signature_of_its_own(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.factory.suite("stable", DEBS, inrelease=False, by_hash=False)
    (state,) = desk.read()
    assert desk.names((state,)) == ["base", "tool"]
    assert state.suites[0].signature is not None
    assert state.suites[0].release.path == "dists/stable/Release"


def test_a_mirror_without_by_hash_files(desk: Desk) -> None:
    for path in (desk.factory.root / "dists").rglob("by-hash"):
        path.rename(path.with_name("moved"))
    assert desk.names(desk.read()) == ["base", "tool"]


def test_packages_for_all_architectures_apart(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.factory.arches = ("amd64", "all")
    desk.factory.suite("stable", DEBS)
    assert len(desk.read()[0].suites[0].indexes) == 2


def test_offline(desk: Desk) -> None:
    with pytest.raises(FetchError, match="nothing is known"):
        desk.read(offline=True)
    states = desk.read()
    gone = "http://127.0.0.1:9"
    assert desk.read(gone, offline=True) == states
    assert desk.read(gone, offline=True, now=time.time() + 90 * DAY) == states
    states[0].suites[0].indexes[0].local.unlink()
    with pytest.raises(FetchError, match="not in the cache"):
        desk.read(gone, offline=True)


def test_a_damaged_table_is_made_anew(desk: Desk) -> None:
    states = desk.read()
    for table in desk.cache.indexes.glob("*.table"):
        for data in (b"", b"rubbish", table.read_bytes()[:-1], table.read_bytes()[:-1] + b"?"):
            table.write_bytes(data)
            assert desk.names(states) == ["base", "tool"]
    for plain in desk.cache.indexes.glob("*.plain"):
        plain.unlink()
    assert desk.names(desk.read()) == ["base", "tool"]


# -- refusals ------------------------------------------------------------------------------------


def refused(desk: Desk, *addresses: str, kind: type[TmplbuildError] = VerifyError, **options: object) -> str:
    with pytest.raises(kind) as caught:
        desk.read(*addresses, **options)
    assert desk.cache.recall("anything") == {}
    return str(caught.value)


def test_stripped_signature(desk: Desk) -> None:
    strip_signature(desk.factory.inrelease("stable"))
    assert "carries no OpenPGP signature" in refused(desk)


def test_another_key(desk: Desk) -> None:
    other = Key()
    desk.factory.suite("stable", DEBS, signer=other)
    text = refused(desk)
    assert "none of the recipe's keys" in text
    assert desk.factory.key.fingerprint in text


def test_expired_key(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.factory = ArchiveFactory(tmp_path / "short", key=Key(validity_s=DAY))
    desk.factory.suite("stable", DEBS)
    assert desk.names(desk.read()) == ["base", "tool"]
    assert "key that signed the archive has expired" in refused(desk, now=time.time() + 2 * DAY)


def test_changed_byte_in_the_release(desk: Desk) -> None:
    desk.factory.damage(desk.factory.inrelease("stable"), at=200)
    assert "does not fit its content" in refused(desk)


def test_expired_and_future_release(desk: Desk) -> None:
    assert "has expired" in refused(desk, now=time.time() + 8 * DAY)
    assert "from the future" in refused(desk, now=time.time() - DAY)
    desk.factory.suite("stable", DEBS, valid_for_s=None)
    desk.read(now=time.time() + 300 * DAY)


def test_another_suite(desk: Desk) -> None:
    desk.factory.suite("stable", DEBS, fields={"Suite": "testing", "Codename": "next"})
    assert "gave the suite 'next' where 'stable' was asked for" in refused(desk)


def test_a_frozen_suite_needs_no_signature_and_does_not_expire(desk: Desk) -> None:
    body = desk.factory.inrelease("stable").read_bytes()
    digest = hashlib.sha256(body).hexdigest()
    later = time.time() + 1000 * DAY
    assert "has expired" in refused(desk, now=later)
    (state,) = desk.read(now=later, frozen={"stable": digest})
    assert state.suites[0].signed_by == ()
    assert desk.names((state,)) == ["base", "tool"]
    assert "is not as it was frozen" in refused(desk, frozen={"stable": "0" * 64})


def test_an_older_release_is_not_read_but_the_one_accepted_before(desk: Desk) -> None:
    now = time.time()
    before = desk.read()
    desk.factory.suite("stable", DEBS[:1], date=now - DAY)
    with desk.factory.serve() as server:  # another address is no way around
        for address in ((), (server.url,)):
            assert desk.read(*address) == before
            assert "older than the one accepted before: the one accepted" in desk.warnings[-1]
    assert desk.read(now=now + 1.9 * DAY) == before
    assert "older than the one accepted before" in refused(desk, now=now + 2.1 * DAY), "for two days, no more"
    assert desk.read() == before
    assert desk.read(allow_older=True) != before


def test_an_accepted_release_that_has_expired_or_is_gone_is_no_stand_in_for_an_older_one(desk: Desk) -> None:
    now = time.time()
    desk.factory.suite("stable", DEBS, valid_for_s=DAY)
    desk.read()
    desk.factory.suite("stable", DEBS, date=now - DAY, valid_for_s=9 * DAY)
    assert "older than the one accepted before" in refused(desk, now=now + 1.5 * DAY)
    for path in desk.cache.indexes.iterdir():
        path.unlink()
    assert "older than the one accepted before" in refused(desk)


def test_a_mirror_that_lags_behind_is_passed_over(desk: Desk, tmp_path: Path) -> None:
    new = Desk(tmp_path / "new")
    new.factory = ArchiveFactory(tmp_path / "new/archive", key=desk.factory.key)
    desk.factory.suite("stable", DEBS, date=time.time() - DAY)
    new.factory.suite("stable", DEBS)
    new.read(cache=desk.cache)
    states = desk.read(desk.factory.root.as_uri(), new.factory.root.as_uri())
    assert states[0].suites[0].release.local.read_bytes() == new.factory.inrelease("stable").read_bytes()


def test_a_later_release_that_another_run_accepts_meanwhile_stays(
    desk: Desk, server: ArchiveServer, tmp_path: Path
) -> None:
    new = Desk(tmp_path / "new")
    new.factory = ArchiveFactory(tmp_path / "new/archive", key=desk.factory.key)
    desk.factory.suite("stable", DEBS, date=time.time() - DAY)
    new.factory.suite("stable", [*DEBS, Deb("more")])
    server.once("by-hash", lambda: new.read(cache=desk.cache))
    old = desk.factory.inrelease("stable").read_bytes()
    assert desk.read(server.url)[0].suites[0].release.local.read_bytes() == old
    later = new.factory.inrelease("stable").read_bytes()
    assert desk.read(offline=True)[0].suites[0].release.local.read_bytes() == later
    assert desk.read(server.url)[0].suites[0].release.local.read_bytes() == later
    assert "older than the one accepted before: the one accepted" in desk.warnings[-1]


@pytest.mark.parametrize("inrelease", [True, False])
def test_a_worker_sees_what_the_order_was_made_with(desk: Desk, tmp_path: Path, inrelease: bool) -> None:
    desk.factory.suite("stable", DEBS, inrelease=inrelease)
    states = desk.read()
    desk.factory.suite("stable", [*DEBS, Deb("more")], date=time.time() + 60)
    assert desk.read() != states, "another run has read something later"
    recipe = SimpleNamespace(archives=desk.factory.recipe_archives())
    world: Any = SimpleNamespace(cache=desk.cache, loaded=SimpleNamespace(arch="amd64", recipe=recipe))
    remembered, files = order._archives(world, states)
    place = PackageCache(tmp_path / "worker")
    for file in files:
        place.put_index(file.sha256, file.local.read_bytes())
    for name, facts in remembered.items():
        place.remember(name, facts)
    names = [[(suite.release.sha256, suite.date) for suite in state.suites] for state in states]
    seen = desk.read(cache=place, offline=True)
    assert [[(suite.release.sha256, suite.date) for suite in state.suites] for state in seen] == names


def test_two_runs_unpack_an_index_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """One has made its table when the other one, that found nothing yet, has unpacked; before it looks."""
    made, looked, done = threading.Event(), threading.Event(), threading.Event()
    unpack, build_table, opened = reader.unpack, reader.build_table, reader.PackagesIndex
    other = threading.Thread(target=lambda: open_pool(states, "amd64"))

    def unpacked(*words: Any, **options: Any) -> None:
        if threading.current_thread() is other:
            begun.set()
            made.wait()
        else:
            other.start()
            begun.wait()
        unpack(*words, **options)

    def built(*words: Any) -> None:
        build_table(*words)
        if threading.current_thread() is not other:
            made.set()
            looked.wait()

    def index(*words: Any, **options: Any) -> reader.PackagesIndex:
        if threading.current_thread() is other:
            looked.set()
            done.wait()
        return opened(*words, **options)

    begun = threading.Event()
    states = desk.read()
    for path in (*desk.cache.indexes.glob("*.table"), *desk.cache.indexes.glob("*.plain")):
        path.unlink()
    for name, new in (("unpack", unpacked), ("build_table", built), ("PackagesIndex", index)):
        monkeypatch.setattr(reader, name, new)
    try:
        assert desk.names(states) == ["base", "tool"]
    finally:
        done.set()
        other.join()


def test_changed_byte_in_the_index(desk: Desk, server: ArchiveServer) -> None:
    desk.factory.damage(*desk.factory.index("stable"))
    assert "not those that the archive vouches for" in refused(desk, server.url)
    assert list(desk.cache.indexes.glob("*.plain")) == []


def test_changed_byte_in_a_package(desk: Desk, server: ArchiveServer) -> None:
    packages = closure(open_pool(desk.read(server.url), "amd64"), Wishes(packages=("tool",))).packages
    desk.factory.damage(desk.factory.root / DEBS[1].filename)
    assert desk.fetcher is not None
    with pytest.raises(VerifyError, match="not those that the archive vouches for") as caught:
        download(packages, fetcher=desk.fetcher, cache=desk.cache)
    assert "tool_1.0_all.deb" in caught.value.where
    assert not desk.cache.has(packages[1].sha256)


def test_no_such_suite_component_architecture(desk: Desk, server: ArchiveServer) -> None:
    desk.factory.suites = ["unstable"]
    assert f"{server.url}/dists/unstable/InRelease" in refused(desk, server.url, kind=FetchError)
    desk.factory.suites = ["stable"]
    desk.factory.arches = ("arm64",)
    desk.factory.suite("stable", DEBS)
    assert "architectures: arm64" in refused(desk, server.url, kind=RecipeError)


def test_no_network(desk: Desk) -> None:
    assert "check the network" in refused(desk, "http://127.0.0.1:9", kind=FetchError)


def test_a_mirror_that_gives_nonsense_is_passed_over(desk: Desk, server: ArchiveServer) -> None:
    server.fail("InRelease", "body", body=b"<html>log in first</html>")
    assert "carries no OpenPGP signature" in refused(desk, server.url)
    assert desk.names(desk.read(server.url, desk.factory.root.as_uri())) == ["base", "tool"]


def test_a_cache_that_cannot_be_written(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    desk.cache = PackageCache(tmp_path / "file")
    assert "cannot be written" in refused(desk, kind=StoreError)


# -- hostile indexes -----------------------------------------------------------------------------


def test_a_bomb_is_bounded_by_what_the_release_declares(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.factory.suite("stable", DEBS)
    # the signed list says 1000 bytes unpacked; the file itself unpacks to 300 MB
    bomb = pack(b"\0" * 300_000_000, "gz")
    digest = hashlib.sha256(bomb).hexdigest()
    desk.factory.suite("stable", DEBS, compressions=("gz",))
    path = desk.factory.index("stable", ".gz")[0]
    path.write_bytes(bomb)
    text = desk.factory.inrelease("stable").read_text().split("\n\n", 1)[1].split("-----BEGIN")[0]
    head = text.split("SHA256:")[0]
    listing = (
        f" {digest} {len(bomb)} main/binary-amd64/Packages.gz\n {'0' * 64} 1000 main/binary-amd64/Packages\n"
    )
    signed = desk.factory.key.clear(f"{head}SHA256:\n{listing}".encode())
    desk.factory.inrelease("stable").write_bytes(signed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "more bytes than its Release declares" in refused(desk)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB
    assert list(desk.cache.indexes.glob("*.plain")) == []


FIELDS = ("Package", "Version", "Filename", "SHA256", "Size", "Depends", "Provides", "Priority", "Essential")
GOOD = "Package: a\nVersion: 1\nArchitecture: all\nFilename: pool/a.deb\nSize: 1\nSHA256: " + "0" * 64 + "\n"


@pytest.mark.parametrize(
    "line",
    [
        "Filename: ../../etc/passwd",
        "Filename: /etc/passwd",
        "Filename: http://x/y",
        "SHA256: 00",
        "Size: -1",
        "Size: 1e9",
        "Version: ",
        "Depends: a (",
    ],
)
def test_entries_that_cannot_be_right(tmp_path: Path, line: str) -> None:
    desk = Desk(tmp_path)
    field = line.partition(":")[0]
    kept = "".join(f"{row}\n" for row in GOOD.splitlines() if not row.startswith(f"{field}:"))
    desk.factory.suite(
        "stable", [], packages=f"Package: tool\n{kept}{line}\n".encode().replace(b"Package: a\n", b"")
    )
    with pytest.raises(TmplbuildError):
        closure(open_pool(desk.read(), "amd64"), Wishes(packages=("tool",)))


HOSTILE = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.builds(
            lambda name, value: f"{name}: {value}\n".encode(),
            st.sampled_from(FIELDS),
            st.one_of(
                st.text(max_size=12), st.sampled_from(["a", "a (>= 1)", "required", "yes", "1", "0" * 64])
            ),
        ),
        st.sampled_from([GOOD.encode(), b"\n", b"\n\n", b"\n "]),
    ),
    max_size=12,
).map(b"".join)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(index=HOSTILE)
def test_hostile_indexes_end_in_one_error(tmp_path: Path, index: bytes) -> None:
    digest = hashlib.sha256(index).hexdigest()[:16]
    desk = Desk(tmp_path / digest)
    desk.factory = _shared(tmp_path)
    desk.factory.suite("stable", [], packages=index, compressions=("",))
    try:
        closure(open_pool(desk.read(), "amd64"), Wishes(packages=("a",)))
    except TmplbuildError:
        return


def _shared(place: Path) -> ArchiveFactory:
    """One key for all examples: making one costs more than all the rest."""
    known: dict[Path, Key] = _KEYS
    key = known.setdefault(place, Key())
    return ArchiveFactory(place / "hostile", key=key)


_KEYS: dict[Path, Key] = {}
