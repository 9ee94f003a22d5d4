"""What a VE is given of an archive of ALT's kind: what was verified, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aptrpm_factory import Repository, publish_key, throw_away_key
from tests.archive_server import ArchiveServer
from tests.rpm_factory import WHEN, File, Rpm
from tmplbuild.archives import aptrpm
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.gateway import Route
from tmplbuild.errors import VerifyError
from tmplbuild.recipes.model import Archive

MAIN, COMMON = "p11/branch/x86_64", "p11/branch/noarch"
PUBLIC = "http://alt.invalid/pub"


class Place:
    """A served branch of two packages, and the route that a VE has to it."""

    def __init__(self, place: Path, server: ArchiveServer) -> None:
        self.root = place / "mirror"
        self.server = server
        key = throw_away_key("test")
        repository = Repository(self.root, key)
        repository.add(Rpm("with-dashes-in-it", files=(File("/usr/bin/x", b"x"),)))
        repository.write(MAIN)
        repository.add(Rpm("common", arch="noarch"))
        repository.write(COMMON)
        archives = {
            "altlinux": Archive(
                mirrors=(server.url,),
                public=PUBLIC,
                suites=(MAIN, COMMON),
                components=("classic",),
                keys=(publish_key(key, place / "keys"),),
                vendor="p11",
            )
        }
        cache = PackageCache(place / "cache")
        fetcher = Fetcher({"altlinux": (server.url,)}, retries=0, sleep=lambda seconds: None)
        states = aptrpm.read_archives(
            archives, "x86_64", fetcher=fetcher, cache=cache, keys_dir=place / "keys", now=WHEN + 60.0
        )
        self.route: Route
        (self.route,) = aptrpm.gateway_routes(archives, states, fetcher=fetcher, cache=cache)

    def give(self, path: str) -> bytes | None:
        """The file at a path below the public address."""
        found = self.route.files.get(path) or self.route.fetch(path)
        return None if found is None else found.read_bytes()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "mirror").mkdir()
    with ArchiveServer(tmp_path / "mirror") as server:
        yield Place(tmp_path, server)


def test_releases_lists_and_packages_are_given(place: Place) -> None:
    assert place.route.public == PUBLIC
    for path in (
        f"{MAIN}/base/release",
        f"{COMMON}/base/release",
        f"{MAIN}/base/pkglist.classic.xz",
        f"{MAIN}/base/pkglist.classic.bz2",
        f"{MAIN}/base/release.classic",
        f"{MAIN}/RPMS.classic/with-dashes-in-it-1.0-alt1.x86_64.rpm",
        f"{COMMON}/RPMS.classic/common-1.0-alt1.noarch.rpm",
    ):
        assert place.give(path) == (place.root / path).read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        f"{MAIN}/RPMS.classic/other-1.0-alt1.x86_64.rpm",
        f"{COMMON}/RPMS.classic/with-dashes-in-it-1.0-alt1.x86_64.rpm",
        f"{MAIN}/RPMS.classic/../../../secret",
        f"{MAIN}/base/nothing",
        "secret",
        "",
    ],
)
def test_what_the_pinned_state_does_not_name_is_not_given(place: Place, path: str) -> None:
    (place.root / "secret").write_text("s")
    assert place.give(path) is None


def test_a_release_that_is_newer_by_now_is_not_given(place: Place) -> None:
    path = place.root / MAIN / "base/release"
    before = path.read_bytes()
    path.write_bytes(b"newer")
    assert place.give(f"{MAIN}/base/release") == before


def test_a_damaged_package_is_not_given(place: Place) -> None:
    path = place.root / MAIN / "RPMS.classic/with-dashes-in-it-1.0-alt1.x86_64.rpm"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerifyError):
        place.give(f"{MAIN}/RPMS.classic/{path.name}")
