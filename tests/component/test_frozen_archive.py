"""The one state of an archive that the tests see, however it moves meanwhile."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from tests import frozen_archive
from tests.archive_factory import ArchiveFactory, Deb
from tests.archive_server import ArchiveServer, Fault
from tests.frozen_archive import Front
from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher


@pytest.fixture
def archive(tmp_path: Path) -> ArchiveFactory:
    made = ArchiveFactory(tmp_path)
    made.suite("stable", [Deb("tool")])
    return made


@pytest.fixture
def server(archive: ArchiveFactory) -> Iterator[ArchiveServer]:
    with archive.serve() as running:
        yield running


@pytest.fixture
def front(server: ArchiveServer) -> Iterator[str]:
    made = Front([server.url])
    thread = Thread(target=made.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{made.server_address[1]}/0/debian"
    made.shutdown()
    thread.join()
    made.server_close()


def get(url: str, **fields: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers=fields)) as response:
        found: bytes = response.read()
    return found


def test_what_was_seen_stays_so(archive: ArchiveFactory, front: str) -> None:
    index = archive.root / "dists/stable/main/binary-amd64/Packages"
    path = index.relative_to(archive.root)
    before = get(f"{front}/dists/stable/InRelease"), get(f"{front}/{path}")
    assert before == (archive.inrelease("stable").read_bytes(), index.read_bytes())
    archive.suite("stable", [Deb("tool", "2.0"), Deb("more")])
    assert (get(f"{front}/dists/stable/InRelease"), get(f"{front}/{path}")) == before
    assert index.read_bytes() != before[1]


def test_packages_are_handed_through(archive: ArchiveFactory, front: str) -> None:
    deb = archive.root / Deb("tool").filename
    url = f"{front}/{Deb('tool').filename}"
    assert get(url) == deb.read_bytes()
    assert get(url, Range="bytes=10-") == deb.read_bytes()[10:]


def test_a_file_that_one_of_the_mirrors_machines_lacks_is_asked_for_again(
    archive: ArchiveFactory, server: ArchiveServer, front: str
) -> None:
    server.faults.append(Fault(r"\.deb$", "status", times=2, status=404))
    assert get(f"{front}/{Deb('tool').filename}") == (archive.root / Deb("tool").filename).read_bytes()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"{front}/dists/other/InRelease")


def test_a_mirror_that_is_out_of_order_is_not_remembered_as_such(
    archive: ArchiveFactory, server: ArchiveServer, front: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen_archive, "_WAITS_S", ())
    server.faults += [
        Fault("InRelease", "status", times=1, status=503),
        Fault("InRelease", "truncate", times=1),
    ]
    index = "dists/stable/main/binary-amd64/Packages"
    for path in ("dists/stable/InRelease", index):
        with pytest.raises(urllib.error.HTTPError, match="502"):
            get(f"{front}/{path}")
    assert get(f"{front}/dists/stable/InRelease") == archive.inrelease("stable").read_bytes()
    assert get(f"{front}/{index}") == (archive.root / index).read_bytes()


def test_a_package_that_breaks_off_breaks_off(
    archive: ArchiveFactory, server: ArchiveServer, front: str, tmp_path: Path
) -> None:
    path = archive.root / "pool/large.deb"
    size = path.write_bytes(bytes(range(256)) * 8000)
    server.faults.append(Fault(r"large\.deb$", "truncate", times=1, after=1_000_000))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    cache = PackageCache(tmp_path / "cache")
    item = Wanted("debian", ("pool/large.deb",), size, digest, cache.path(digest))
    fetcher = Fetcher({"debian": (front,)}, sleep=lambda _: None)
    fetcher.download([item], cache, "packages")
    assert [seen.fields.get("range", "")[:6] for seen in server.asked("large")] == ["", "bytes="]
