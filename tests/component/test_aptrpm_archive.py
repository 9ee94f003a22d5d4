"""A whole archive of ALT's kind, made by the factory and served by a local HTTP server."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pysequoia
import pytest

from tests.aptrpm_factory import Key, Repository, publish_key, sign, throw_away_key
from tests.gpg import OldKey
from tests.rpm_factory import WHEN, File, Rpm, build_rpm
from tmplbuild.archives import aptrpm, openpgp
from tmplbuild.archives.aptrpm.reader import open_lists
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.model import ArchiveState
from tmplbuild.archives.wishes import Wishes
from tmplbuild.errors import FetchError, RecipeError, ResolveError, VerifyError
from tmplbuild.events import Event, Note
from tmplbuild.recipes.model import Archive

NOW = WHEN + 3600.0
MAIN, COMMON = "p11/branch/x86_64", "p11/branch/noarch"


class Quiet(SimpleHTTPRequestHandler):
    """Files of a directory; nothing is printed."""

    def log_message(self, *args: object) -> None:
        pass


class World:
    """A served archive, a cache, and a recipe's view of both."""

    def __init__(self, place: Path, address: str, key: Key) -> None:
        self.place = place
        self.address = address
        self.root = place / "mirror"
        self.key = key
        self.keys_dir = place / "keys"
        self.repository = Repository(self.root, key)
        self.fingerprint = publish_key(key, self.keys_dir)
        self.cache = PackageCache(place / "cache")
        self.events: list[Event] = []
        self.fetcher = Fetcher(
            {"altlinux": (address,)}, emit=self.events.append, retries=1, sleep=lambda seconds: None
        )

    def archive(
        self, *suites: str, components: tuple[str, ...] = ("classic",), frozen: dict[str, str] | None = None
    ) -> dict[str, Archive]:
        return {
            "altlinux": Archive(
                mirrors=("host",),
                public="http://ftp.altlinux.org/pub/distributions/ALTLinux",
                suites=suites or (MAIN, COMMON),
                components=components,
                keys=(self.fingerprint,),
                frozen=frozen or {},
            )
        }

    def read(
        self,
        *suites: str,
        components: tuple[str, ...] = ("classic",),
        frozen: dict[str, str] | None = None,
        now: float = NOW,
        **options: bool,
    ) -> tuple[ArchiveState, ...]:
        return aptrpm.read_archives(
            self.archive(*suites, components=components, frozen=frozen),
            "x86_64",
            fetcher=self.fetcher,
            cache=self.cache,
            keys_dir=self.keys_dir,
            now=now,
            **options,
        )

    def notes(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Note)]

    def branch(self, **options: object) -> None:
        """Two suites, as p11 has them."""
        self.repository.add(
            Rpm("hello", requires=("hello-data", "/bin/sh"), files=(File("/usr/bin/hello", b"hi"),)),
            Rpm("sh", files=(File("/bin/sh", b"sh", mode=0o100755),)),
        )
        self.repository.add(Rpm("gost", requires=("hello",)), component="gostcrypto")
        self.repository.write(MAIN, **options)  # type: ignore[arg-type]
        self.repository.add(Rpm("hello-data", arch="noarch"))
        self.repository.write(COMMON, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def key() -> pysequoia.Tsk:
    return throw_away_key("branch")


@pytest.fixture
def world(tmp_path: Path, key: pysequoia.Tsk) -> Iterator[World]:
    (tmp_path / "mirror").mkdir()
    handler = functools.partial(Quiet, directory=str(tmp_path / "mirror"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield World(tmp_path, f"http://127.0.0.1:{server.server_port}", key)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_two_suites_are_read_resolved_and_downloaded(world: World) -> None:
    world.branch()
    states = world.read()
    assert [suite.suite for suite in states[0].suites] == [MAIN, COMMON]
    assert states[0].suites[0].signed_by == (world.fingerprint,)
    assert states[0].suites[0].date == WHEN
    found = aptrpm.closure(aptrpm.open_pool(states, "x86_64"), Wishes(packages=("hello",)))
    assert [package.name for package in found.packages] == ["hello", "hello-data", "sh"]
    assert found.auto == {"hello-data", "sh"}
    aptrpm.download(found.packages, fetcher=world.fetcher, cache=world.cache)
    data = next(package for package in found.packages if package.name == "hello-data")
    assert data.filename == f"{COMMON}/RPMS.classic/hello-data-1.0-alt1.noarch.rpm"
    assert world.cache.path(data.sha256).read_bytes() == build_rpm(Rpm("hello-data", arch="noarch"))
    assert world.notes() == []


@pytest.mark.parametrize("suffix", [".xz", ".bz2", ".zst"])
def test_every_compression_of_a_list_is_read(world: World, suffix: str) -> None:
    world.branch(suffixes=(suffix,))
    states = world.read()
    assert [index.path for index in states[0].suites[0].indexes] == [f"{MAIN}/base/pkglist.classic{suffix}"]
    assert len(aptrpm.open_pool(states, "x86_64")) == 3


def test_a_plain_list_is_read(world: World) -> None:
    world.branch(suffixes=(), plain=True)
    assert len(aptrpm.open_pool(world.read(), "x86_64")) == 3


def test_an_empty_component_is_read(world: World) -> None:
    world.repository.add(component="classic")
    world.repository.write(MAIN)
    assert len(aptrpm.open_pool(world.read(MAIN), "x86_64")) == 0


def test_a_component_may_be_in_one_suite_only(world: World) -> None:
    world.branch()
    states = world.read(components=("classic", "gostcrypto"))
    found = aptrpm.closure(aptrpm.open_pool(states, "x86_64"), Wishes(packages=("gost",)))
    assert "hello-data" in {package.name for package in found.packages}


def test_a_component_that_no_suite_has_is_the_recipes_fault(world: World) -> None:
    world.branch()
    with pytest.raises(RecipeError, match="no list of clasic"):
        world.read(components=("classic", "clasic"))


def test_nothing_is_fetched_twice(world: World) -> None:
    world.branch()
    world.read()
    before = world.fetcher.requests
    world.read()
    assert world.fetcher.requests - before == 2  # the two releases, asked for with If-Modified-Since


def test_offline_uses_what_was_verified_last(world: World) -> None:
    world.branch()
    online = world.read()
    before = world.fetcher.requests
    assert world.read(offline=True) == online
    assert world.fetcher.requests == before


def test_offline_without_an_earlier_run_is_an_error(world: World) -> None:
    with pytest.raises(FetchError, match="nothing is known"):
        world.read(offline=True)


def test_a_frozen_branch_is_believed_by_its_digest(world: World, tmp_path: Path) -> None:
    """A branch of 2008: DSA of 1024 bits, SHA-1, MD5."""
    old = World(tmp_path, world.address, OldKey.made(tmp_path / "gnupg"))
    old.branch(hashes=("md5",), suffixes=(".bz2",), built=False)
    digests = {suite: _sha256(old.root / suite / "base/release") for suite in (MAIN, COMMON)}
    with pytest.raises(openpgp.WeakError, match="not accepted any more") as caught:
        old.read(MAIN)
    assert f'archives.altlinux.frozen = {{ "{MAIN}" = "{digests[MAIN]}" }}' in caught.value.hint
    (state,) = old.read(frozen=digests)
    assert [suite.signed_by for suite in state.suites] == [(), ()]
    assert len(aptrpm.open_pool((state,), "x86_64")) == 3
    assert any("not by a signature" in note and MAIN in note for note in old.notes())
    assert old.read(frozen=digests, offline=True) == (state,)


def test_a_frozen_branch_that_changed_is_refused(world: World) -> None:
    world.branch()
    with pytest.raises(VerifyError, match="is not as it was frozen"):
        world.read(frozen={MAIN: "0" * 64})


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_unsigned_release_is_refused(world: World) -> None:
    world.repository.keys = ()
    world.branch()
    with pytest.raises(VerifyError, match="not signed"):
        world.read()


def test_a_release_signed_by_another_key_is_refused(world: World) -> None:
    other = throw_away_key("other")
    world.repository.keys = (other,)
    world.branch()
    with pytest.raises(VerifyError, match="none of the recipe's keys"):
        world.read()


def test_one_good_signature_among_several_is_enough(world: World) -> None:
    world.repository.keys = (throw_away_key("other"), world.key)
    world.branch()
    assert world.read()[0].suites[0].signed_by == (world.fingerprint,)


def test_a_release_that_was_changed_is_refused(world: World) -> None:
    world.branch()
    path = world.root / MAIN / "base" / "release"
    path.write_bytes(path.read_bytes().replace(b"Label: p11", b"Label: p12"))
    with pytest.raises(VerifyError, match="does not fit its content"):
        world.read()


def test_text_behind_the_signature_is_refused(world: World) -> None:
    world.branch()
    path = world.root / MAIN / "base" / "release"
    path.write_bytes(path.read_bytes() + b"BLAKE2b:\n")
    with pytest.raises(VerifyError, match="behind its signed text"):
        world.read()


def test_a_list_that_was_changed_is_refused(world: World) -> None:
    world.branch()
    path = world.root / MAIN / "base" / "pkglist.classic.xz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerifyError, match="not those that the archive vouches for"):
        world.read()


def test_a_list_that_unpacks_to_something_else_is_refused(world: World) -> None:
    world.branch()
    path = world.root / MAIN / "base" / "release"
    text = path.read_bytes().split(b"-----BEGIN")[0]
    lines = text.split(b"\n")
    plain = next(n for n, line in enumerate(lines) if line.endswith(b"pkglist.classic") and len(line) > 128)
    lines[plain] = b" " + b"0" * 128 + lines[plain][129:]
    path.write_bytes(sign(b"\n".join(lines), world.key))
    with pytest.raises(VerifyError, match="not the one that its release vouches for"):
        world.read()


def test_a_package_that_was_changed_is_refused(world: World) -> None:
    world.branch()
    found = aptrpm.closure(aptrpm.open_pool(world.read(), "x86_64"), Wishes(packages=("sh",)))
    path = world.root / found.packages[0].filename
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerifyError):
        aptrpm.download(found.packages, fetcher=world.fetcher, cache=world.cache)
    assert not world.cache.has(found.packages[0].sha256)


def test_md5_alone_is_used_with_a_warning(world: World) -> None:
    world.branch(hashes=("md5",))
    found = aptrpm.closure(aptrpm.open_pool(world.read(), "x86_64"), Wishes(packages=("sh",)))
    assert found.packages[0].sha256.startswith("md5:")
    assert any("MD5 alone" in note for note in world.notes())
    aptrpm.download(found.packages, fetcher=world.fetcher, cache=world.cache)
    assert world.cache.has(found.packages[0].sha256)


def test_a_release_without_hashes_is_refused(world: World) -> None:
    world.branch(hashes=())
    with pytest.raises(VerifyError, match="no hashes"):
        world.read()


def test_an_older_release_is_not_read_unless_allowed(world: World) -> None:
    world.branch()
    world.read()
    world.branch(date=WHEN - 86400)
    assert world.read()[0].suites[0].date == WHEN
    with pytest.raises(VerifyError, match="older than the one accepted"):
        world.read(now=NOW + 3 * 86400)
    assert world.read(allow_older=True)[0].suites[0].date == WHEN - 86400


def test_a_release_from_the_future_is_refused(world: World) -> None:
    world.branch(date=WHEN + 10 * 86400)
    with pytest.raises(VerifyError, match="from the future"):
        world.read()


def test_biarch_packages_stand_beside_the_native_ones(world: World) -> None:
    world.repository.add(Rpm("libz", provides=("libz.so.1()(64bit)",)))
    world.repository.write(MAIN)
    world.repository.add(Rpm("i586-libz", arch="i586", provides=("libz.so.1",)), Rpm("odd", arch="aarch64"))
    world.repository.write("p11/branch/x86_64-i586")
    states = world.read(MAIN, "p11/branch/x86_64-i586")
    found = aptrpm.closure(aptrpm.open_pool(states, "x86_64"), Wishes(packages=("libz", "i586-libz")))
    assert [package.arch for package in found.packages] == ["i586", "x86_64"]
    with pytest.raises(ResolveError):
        aptrpm.closure(aptrpm.open_pool(states, "x86_64"), Wishes(packages=("odd",)))


def test_lists_are_mapped_not_copied(world: World) -> None:
    world.branch()
    lists = open_lists(world.read())
    assert [type(item.data) for item in lists] == [memoryview, memoryview]
    assert [item.source.suite for item in lists] == [MAIN, COMMON]
