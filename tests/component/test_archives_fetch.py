"""Downloads from a server that fails in every way it can."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.archive_server import ArchiveServer
from tmplbuild.archives import local, parallel
from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.cache import PackageCache, remove_unlocked
from tmplbuild.archives.fetch import Answer, Fetcher
from tmplbuild.archives.trouble import MissingError
from tmplbuild.errors import FetchError, StoreError, VerifyError
from tmplbuild.events import Bytes, Event

DATA = bytes(range(256)) * 2000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ArchiveServer]:
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_bytes(DATA)
    with ArchiveServer(root) as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> PackageCache:
    return PackageCache(tmp_path / "cache")


class Waits(list[float]):
    """Notes the seconds that it is asked to wait, and does not wait."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def fetcher(*mirrors: str, waits: Waits | None = None, **options: object) -> Fetcher:
    return Fetcher({"debian": mirrors}, sleep=waits if waits is not None else Waits(), **options)  # type: ignore[arg-type]


def wanted(cache: PackageCache, *paths: str, data: bytes = DATA) -> Wanted:
    digest = hashlib.sha256(data).hexdigest()
    return Wanted("debian", paths or ("file",), len(data), digest, cache.path(digest))


def bring(one: Fetcher, item: Wanted, cache: PackageCache) -> bytes:
    one.download([item], cache, "packages")
    assert list(cache.incoming.iterdir()) == []
    return item.dest.read_bytes()


def test_a_file_comes_whole_and_is_told(server: ArchiveServer, cache: PackageCache) -> None:
    events: list[Event] = []
    one = fetcher(server.url, emit=events.append)
    item = wanted(cache)
    assert bring(one, item, cache) == DATA
    assert events[-1] == Bytes("packages", len(DATA), len(DATA), ended=True)
    one.download([item], cache, "packages")
    assert len(server.log) == 1


def test_many_at_once_on_kept_connections(server: ArchiveServer, cache: PackageCache) -> None:
    contents = [f"{number}".encode() * 5000 for number in range(60)]
    for number, data in enumerate(contents):
        (server.root / f"n{number}").write_bytes(data)
    items = [wanted(cache, f"n{number}", data=data) for number, data in enumerate(contents)]
    one = fetcher(server.url)
    one.download(items, cache, "packages")
    assert [item.dest.read_bytes() for item in items] == contents
    assert one.requests == 60


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("status", {"status": 500}),
        ("status", {"status": 503}),
        ("truncate", {"after": 100_000}),
        ("reset", {"after": 100_000}),
        ("truncate", {"after": 0}),
    ],
)
def test_passing_trouble_is_tried_again(
    server: ArchiveServer, cache: PackageCache, kind: str, options: dict[str, int]
) -> None:
    waits = Waits()
    server.fail("file", kind, times=2, **options)
    assert bring(fetcher(server.url, waits=waits), wanted(cache), cache) == DATA
    assert len(waits) == 2
    assert 0.25 <= waits[0] <= 0.5 <= waits[1] <= 1.0


def test_retry_after_is_honoured(server: ArchiveServer, cache: PackageCache) -> None:
    waits = Waits()
    server.fail("file", "status", times=1, status=429, headers=(("Retry-After", "7"),))
    bring(fetcher(server.url, waits=waits), wanted(cache), cache)
    assert waits == [7.0]


def test_rest_of_a_file_is_asked_for(server: ArchiveServer, cache: PackageCache) -> None:
    server.fail("file", "truncate", times=1, after=100_000)
    assert bring(fetcher(server.url), wanted(cache), cache) == DATA
    second = server.log[1].fields
    # what arrived before the connection broke may be less than the server sent
    start = int(second["range"].removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= 100_000


def test_a_later_run_resumes(server: ArchiveServer, cache: PackageCache) -> None:
    fault = server.fail("file", "truncate", after=300_000)
    item = wanted(cache)
    with pytest.raises(FetchError, match="could not be downloaded"):
        fetcher(server.url, retries=0).download([item], cache, "packages")
    server.faults.remove(fault)
    assert bring(fetcher(server.url), item, cache) == DATA
    assert server.log[-1].fields["range"].startswith("bytes=")


def test_if_range_keeps_versions_apart(server: ArchiveServer, cache: PackageCache) -> None:
    item = wanted(cache)
    part = cache.incoming / f"{item.sha256}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"another version" * 100)
    part.with_suffix(".from").write_text(f'{server.url}/file\n"old"\n')
    assert bring(fetcher(server.url), item, cache) == DATA
    assert server.log[0].fields["if-range"] == '"old"'
    assert len(server.log) == 1


def test_a_piece_that_does_not_fit_is_thrown_away(server: ArchiveServer, cache: PackageCache) -> None:
    item = wanted(cache)
    part = cache.incoming / f"{item.sha256}.part"
    part.parent.mkdir(parents=True)
    for old in (b"x" * 1000, b"x" * len(DATA), b"x" * (len(DATA) + 1)):
        part.write_bytes(old)
        assert bring(fetcher(server.url), item, cache) == DATA
        item.dest.unlink()


def test_a_server_that_cannot_resume(cache: PackageCache, server: ArchiveServer) -> None:
    server.ranges = False
    server.fail("file", "truncate", times=1, after=100_000)
    assert bring(fetcher(server.url), wanted(cache), cache) == DATA


def test_not_there(server: ArchiveServer, cache: PackageCache) -> None:
    waits = Waits()
    with pytest.raises(MissingError, match="no mirror has") as caught:
        fetcher(server.url, waits=waits).download([wanted(cache, "gone")], cache, "packages")
    assert caught.value.where == f"{server.url}/gone"
    assert "404" in caught.value.why
    assert waits == []


def test_the_next_path_and_the_next_mirror(
    server: ArchiveServer, cache: PackageCache, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with ArchiveServer(tmp_path / "empty") as empty:
        item = wanted(cache, "by-hash/x", "file")
        assert bring(fetcher(empty.url, server.url), item, cache) == DATA
        assert [seen.path for seen in empty.log] == [seen.path for seen in server.log]


def test_a_bad_mirror_is_tried_last(server: ArchiveServer, cache: PackageCache) -> None:
    (server.root / "other").write_bytes(b"other")
    with ArchiveServer(server.root) as bad:
        bad.fail("", "status", status=500)
        one = fetcher(bad.url, server.url, retries=1)
        assert bring(one, wanted(cache), cache) == DATA
        assert bring(one, wanted(cache, "other", data=b"other"), cache) == b"other"
        assert len(bad.log) == 2


@pytest.mark.parametrize("kind", ["body", "long", "short-length"])
def test_wrong_bytes(server: ArchiveServer, cache: PackageCache, kind: str) -> None:
    server.fail("file", kind, body=b"x" * len(DATA), after=10)
    item = wanted(cache)
    with pytest.raises(VerifyError, match="not those that the archive vouches for"):
        fetcher(server.url).download([item], cache, "packages")
    assert not item.dest.exists()
    with ArchiveServer(server.root) as good:
        assert bring(fetcher(server.url, good.url), item, cache) == DATA


def test_no_network(cache: PackageCache) -> None:
    waits = Waits()
    with pytest.raises(FetchError, match="could not be downloaded") as caught:
        fetcher("http://127.0.0.1:9", waits=waits, retries=2).download([wanted(cache)], cache, "packages")
    assert "refused" in caught.value.why
    assert len(waits) == 2


def test_a_silent_server(server: ArchiveServer, cache: PackageCache) -> None:
    server.fail("file", "hold", after=1000)
    with pytest.raises(FetchError, match="could not be downloaded") as caught:
        fetcher(server.url, retries=0, read_timeout_s=0.2).download([wanted(cache)], cache, "packages")
    assert "timed out" in caught.value.why


def test_a_server_that_trickles(server: ArchiveServer, cache: PackageCache) -> None:
    ticks = iter(range(0, 10_000_000, 3600))  # an hour passes at every look at the clock
    waits = Waits()
    one = fetcher(server.url, retries=1, waits=waits, clock=lambda: float(next(ticks)))
    with pytest.raises(FetchError, match="could not be downloaded") as caught:
        one.download([wanted(cache)], cache, "packages")
    assert "less than 1024 bytes a second" in caught.value.why
    assert len(waits) == 1


def test_chunks_and_an_encoding_that_is_none(server: ArchiveServer, cache: PackageCache) -> None:
    server.fail("file", "chunked")
    assert bring(fetcher(server.url), wanted(cache), cache) == DATA


def test_a_small_file_cut_short(server: ArchiveServer) -> None:
    server.fail("file", "truncate", times=1, after=1000)
    assert fetcher(server.url).get("debian", "file", lambda answer: answer).body == DATA


def test_offline_makes_no_request(server: ArchiveServer, cache: PackageCache) -> None:
    with pytest.raises(FetchError, match="not in the cache"):
        fetcher(server.url, offline=True).download([wanted(cache)], cache, "packages")
    assert server.log == []


def test_local_mirrors(server: ArchiveServer, cache: PackageCache) -> None:
    item = wanted(cache)
    assert bring(fetcher(server.root.as_uri()), item, cache) == DATA
    item.dest.unlink()
    (server.root / "file").write_bytes(DATA[:-1])
    with pytest.raises(VerifyError):
        fetcher(server.root.as_uri()).download([item], cache, "packages")
    with pytest.raises(MissingError):
        fetcher(server.root.as_uri()).download([wanted(cache, "gone")], cache, "packages")


def test_proxy_of_the_environment(
    server: ArchiveServer, cache: PackageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert bring(fetcher("http://archive.invalid"), wanted(cache), cache) == DATA
    assert server.log[0].fields["host"] == "archive.invalid"


def test_only_if_changed(server: ArchiveServer) -> None:
    one = fetcher(server.url)
    first = one.get("debian", "file", lambda answer: answer)
    assert first.body == DATA
    known = {"url": first.url, "etag": first.etag, "modified": first.modified}
    assert one.get("debian", "file", lambda answer: answer, known=known).body is None
    known["etag"] = ""
    assert one.get("debian", "file", lambda answer: answer, known=known).body is None
    known["url"] = "http://another/file"
    assert one.get("debian", "file", lambda answer: answer, known=known).body == DATA


def test_a_small_file_that_is_not_small(server: ArchiveServer) -> None:
    for address in (server.url, server.root.as_uri()):
        with pytest.raises(VerifyError):
            fetcher(address).get("debian", "file", lambda answer: answer, limit=1000)


def test_a_refused_file_is_asked_of_the_next_mirror(server: ArchiveServer) -> None:
    def check(answer: Answer) -> str:
        if answer.url.startswith(server.url):
            raise VerifyError("refused here")
        return answer.url

    one = fetcher(server.url, server.root.as_uri())
    assert one.get("debian", "file", check) == f"{server.root.as_uri()}/file"
    with pytest.raises(VerifyError, match="refused here"):
        fetcher(server.url).get("debian", "file", check)


def test_two_threads_want_the_same(server: ArchiveServer, cache: PackageCache) -> None:
    item = wanted(cache)
    threads = [threading.Thread(target=bring_quietly, args=(server.url, item, cache)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert item.dest.read_bytes() == DATA
    assert len(server.log) == 1


def test_another_brings_it_between_a_look_and_a_lock(
    server: ArchiveServer, cache: PackageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = wanted(cache)
    really = os.open

    def late(path: os.PathLike[str], flags: int, mode: int = 0o777) -> int:
        monkeypatch.setattr(os, "open", really)
        bring_quietly(server.url, item, cache)
        return really(path, flags, mode)

    monkeypatch.setattr(os, "open", late)
    with cache.claim(item.dest) as fd:
        assert fd is None
    assert item.dest.read_bytes() == DATA
    assert list(cache.incoming.iterdir()) == []


def test_a_process_that_was_forked_meanwhile_holds_up_nobody(cache: PackageCache) -> None:
    dest = cache.path("0" * 64)
    ours, theirs = os.pipe()
    with cache.claim(dest):
        child = os.fork()
        if child == 0:
            os.close(theirs)
            os.read(ours, 1)
            os._exit(0)
    try:
        again = threading.Thread(target=lambda: cache.claim(dest).__enter__(), daemon=True)
        again.start()
        again.join(60)
        assert not again.is_alive()
    finally:
        os.close(theirs)
        os.close(ours)
        os.waitpid(child, 0)


def test_what_is_removed_is_what_was_locked(cache: PackageCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.incoming.mkdir(parents=True)
    part = cache.incoming / "a.part"
    part.write_bytes(b"finished")
    really = os.open

    def late(path: os.PathLike[str], flags: int, mode: int = 0o777) -> int:
        fd = really(path, flags, mode)
        monkeypatch.setattr(os, "open", really)
        part.rename(cache.incoming / "its name")
        part.write_bytes(b"another download")
        return fd

    monkeypatch.setattr(os, "open", late)
    assert not remove_unlocked(part)
    assert part.read_bytes() == b"another download"
    assert remove_unlocked(part)


def test_what_was_used_since_it_was_chosen_stays(
    cache: PackageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cache.path("0" * 64)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"old")
    os.utime(path, (1, 1))
    really = os.open

    def late(*words: object) -> int:
        monkeypatch.setattr(os, "open", really)
        cache.used(path)
        return really(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", late)
    assert not remove_unlocked(path, 1)
    assert path.exists()


def test_who_was_given_up_does_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_GRACE_S", 0.01)
    hangs, goes_on, later = threading.Event(), threading.Event(), []
    threads = []

    def hang() -> None:
        threads.append(threading.current_thread())
        hangs.set()
        goes_on.wait()

    def fail() -> None:
        hangs.wait()
        raise FetchError("no network")

    one = fetcher("http://127.0.0.1:9", jobs=2)
    with pytest.raises(FetchError, match="no network"):
        one.parallel([hang, fail, *[lambda: later.append("!")] * 5])
    one.parallel([lambda: None] * 2)
    goes_on.set()
    threads[0].join()
    assert later == []


def test_the_failure_of_one_batch_is_none_of_another(server: ArchiveServer, cache: PackageCache) -> None:
    seen = []

    def fail() -> None:
        raise FetchError("this one only")

    def emit(event: Event) -> None:
        if not seen:
            seen.append(event)
            with pytest.raises(FetchError, match="this one only"):
                one.parallel([fail, fail])

    (server.root / "large").write_bytes(DATA * 20)
    one = fetcher(server.url, emit=emit)
    bring(one, wanted(cache, "large", data=DATA * 20), cache)
    assert one.requests == 1


def bring_quietly(url: str, item: Wanted, cache: PackageCache) -> None:
    fetcher(url).download([item], cache, "packages")


CHILD = """
import signal, sys
from pathlib import Path
from tmplbuild.archives.arrival import Wanted
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.fetch import Fetcher
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits "ignore"
url, root, digest, size, *paths = sys.argv[1:]
cache = PackageCache(Path(root))
items = [Wanted("debian", (path,), int(size), digest, cache.index_path(digest)) for path in paths]
items.append(Wanted("debian", ("absent",), 5, "0" * 64, cache.index_path("0" * 64)))
fetcher = Fetcher({"debian": [url]}, retries=0, read_timeout_s=600)
fetcher.download(items if len(paths) > 1 else items[:1], cache, "packages")
"""


def child(*words: str, **options: object) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", CHILD, *words]
    return subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload, no-any-return]


def test_two_processes_want_the_same(server: ArchiveServer, cache: PackageCache) -> None:
    digest = hashlib.sha256(DATA).hexdigest()
    running = [child(server.url, str(cache.root), digest, str(len(DATA)), "file") for _ in range(3)]
    for process in running:
        assert process.wait() == 0, process.communicate()[1]
    assert len(server.log) == 1


def test_control_c_ends_at_once(server: ArchiveServer, cache: PackageCache) -> None:
    server.fail("file", "hold", after=1000)
    server.fail("absent", "hold", after=0)
    (server.root / "absent").write_bytes(b"12345")
    digest = hashlib.sha256(DATA).hexdigest()
    process = child(server.url, str(cache.root), digest, str(len(DATA)), "file", "file")
    assert server.held.wait(120)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=120)[1]  # the read timeout is 600 s: it must not be waited for
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in error


def test_disk_full(server: ArchiveServer, cache: PackageCache) -> None:
    item = wanted(cache)
    with small_files(), pytest.raises(StoreError, match="cannot be written") as caught:
        fetcher(server.url).download([item], cache, "packages")
    assert item.sha256 in caught.value.where
    assert "MB free" in caught.value.why
    assert bring(fetcher(server.url), item, cache) == DATA


def test_disk_full_for_a_local_package(server: ArchiveServer, cache: PackageCache) -> None:
    item, file = wanted(cache), server.root / "file"
    with small_files(), pytest.raises(StoreError, match="cannot be written") as caught:
        local.bring(file, item.sha256, cache)
    assert item.sha256 in caught.value.where
    local.bring(file, item.sha256, cache)
    assert item.dest.read_bytes() == DATA


@contextmanager
def small_files() -> Iterator[None]:
    """Files may have 100,000 bytes and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)


@pytest.mark.root
def test_a_file_system_that_is_full(server: ArchiveServer, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    digest = hashlib.sha256(DATA).hexdigest()
    script = 'mount -t tmpfs -o size=64k none "$0" && exec "$@"'
    argv = [sys.executable, "-c", CHILD, server.url, str(small), digest, str(len(DATA)), "file"]
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(small), *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "StoreError: the package cache cannot be written" in done.stderr
    assert "No space left on device (0.0 MB free there)" in done.stderr
