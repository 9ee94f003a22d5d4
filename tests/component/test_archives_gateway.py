"""The gateway: what a VE's package manager gets, and what nobody gets."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.archive_factory import ArchiveFactory, Deb
from tests.archive_server import ArchiveServer
from tmplbuild.archives import http1, mirrors
from tmplbuild.archives.cache import PackageCache
from tmplbuild.archives.deb import gateway_routes, read_archives
from tmplbuild.archives.fetch import Fetcher
from tmplbuild.archives.gateway import Gateway, Route
from tmplbuild.errors import VerifyError
from tmplbuild.events import Event, Note

DATA = bytes(range(256)) * 1000


class Client:
    """A raw connection to the gateway."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.settimeout(120)
        self.file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, target: str, *fields: str, method: str = "GET") -> None:
        rows = [f"{method} {target} HTTP/1.1", "Host: x", *fields, "", ""]
        self.send("\r\n".join(rows).encode())

    def answer(self, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
        """Status, fields, body of the next answer; status 0 at the connection's end."""
        line = self.file.readline()
        if not line:
            return 0, {}, b""
        fields = {}
        while (row := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = row.decode().partition(":")
            fields[name.lower()] = value.strip()
        data = self.file.read(int(fields["content-length"])) if body else b""
        return int(line.split()[1]), fields, data

    def get(self, target: str, *fields: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        self.ask(target, *fields, method=method)
        return self.answer(body=method != "HEAD")

    def close(self) -> None:
        self.file.close()
        self.socket.close()


class Rig:
    """A gateway over one file, one fetched file and one that cannot be verified."""

    def __init__(self, place: Path) -> None:
        (place / "abc").write_bytes(DATA)
        (place / "empty").write_bytes(b"")
        (place / "secret").write_bytes(b"secret")
        self.events: list[Event] = []
        self.fetched: list[str] = []
        files = {"dists/x/InRelease": place / "abc", "empty": place / "empty", "lost": place / "lost"}

        def fetch(path: str) -> Path | None:
            self.fetched.append(path)
            if path == "pool/bad.deb":
                raise VerifyError("other bytes came")
            return place / "abc" if path == "pool/a+b~1.deb" else None

        routes = [Route("http://deb.example/debian", files, fetch)]
        self.gateway = Gateway(routes, emit=self.events.append)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.gateway.start(self.listener)
        self.clients: list[Client] = []

    def client(self) -> Client:
        made = Client(self.listener.getsockname())
        self.clients.append(made)
        return made


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    for client in made.clients:
        client.close()
    made.gateway.stop()
    made.listener.close()


BASE = "http://deb.example/debian"


def test_files_on_one_kept_connection(rig: Rig) -> None:
    client = rig.client()
    for target in (f"{BASE}/dists/x/InRelease", "http://DEB.example:80/debian/pool/a%2bb~1.deb"):
        status, fields, body = client.get(target)
        assert (status, body) == (200, DATA)
        assert fields["connection"] == "keep-alive"
    assert client.get(f"{BASE}/empty")[2] == b""
    assert rig.fetched == ["pool/a+b~1.deb"]
    rig.gateway.stop()
    served = rig.gateway.served()
    assert (served.requests, served.bytes, served.refused) == (3, 2 * len(DATA), ())


def test_pipelined_requests_are_answered_in_order(rig: Rig) -> None:
    client = rig.client()
    for target in (f"{BASE}/dists/x/InRelease", f"{BASE}/nothing", f"{BASE}/pool/a+b~1.deb") * 5:
        client.ask(target)
    assert [client.answer()[0] for _ in range(15)] == [200, 404, 200] * 5


def test_head_and_close(rig: Rig) -> None:
    client = rig.client()
    status, fields, _ = client.get(f"{BASE}/dists/x/InRelease", method="HEAD")
    assert (status, fields["content-length"]) == (200, str(len(DATA)))
    assert client.get(f"{BASE}/empty", "Connection: close")[0] == 200
    assert client.answer()[0] == 0


def test_ranges(rig: Rig) -> None:
    client, target = rig.client(), f"{BASE}/dists/x/InRelease"
    etag = client.get(target, method="HEAD")[1]["etag"]
    status, fields, body = client.get(target, "Range: bytes=1000-", f"If-Range: {etag}")
    assert (status, body) == (206, DATA[1000:])
    assert fields["content-range"] == f"bytes 1000-{len(DATA) - 1}/{len(DATA)}"
    assert client.get(target, "Range: bytes=5-9")[2] == DATA[5:10]
    assert client.get(target, f"Range: bytes={len(DATA)}-")[0] == 416
    date = "Sat, 11 Jul 2026 10:16:37 GMT"
    for fields_of in (
        ["Range: bytes=5-", f"If-Range: {date}"],
        ["Range: bytes=-5"],
        ["Range: lines=1-2"],
        ["Range: bytes=9-5"],
        [f"If-Modified-Since: {date}"],
    ):
        assert client.get(target, *fields_of)[::2] == (200, DATA)


@pytest.mark.parametrize(
    "target",
    [
        "http://example.com/debian/dists/x/InRelease",
        "https://deb.example/debian/dists/x/InRelease",
        "/debian/dists/x/InRelease",
        "ftp://deb.example/debian/x",
        "http://deb.example/",
        "http://deb.example/debian-security/x",
        "http://deb.example@evil/debian/x",
        "http://deb.example:8080/debian/x",
        "http://deb.example",
    ],
)
def test_what_is_refused(rig: Rig, target: str) -> None:
    status, _, body = rig.client().get(target)
    assert status == 403
    assert b"nothing else" in body
    assert rig.gateway.served().refused == (target,)
    assert isinstance(rig.events[0], Note)


def test_no_tunnels_no_uploads(rig: Rig) -> None:
    client = rig.client()
    for method in ("CONNECT", "POST", "PUT", "DELETE", "OPTIONS"):
        assert client.get(f"{BASE}/empty", method=method)[0] == 403
    assert client.get("deb.example:443", method="CONNECT")[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "%2e%2e/secret",
        "dists/../../secret",
        "/etc/passwd",
        "dists/x/InRelease?x",
        "%00",
        "%ff",
        "lost",
    ],
)
def test_paths_are_looked_up_never_joined(rig: Rig, path: str) -> None:
    status, _, body = rig.client().get(f"{BASE}/{path}")
    assert status in (403, 404)
    assert b"secret" not in body


def test_bytes_that_cannot_be_verified(rig: Rig) -> None:
    status, _, body = rig.client().get(f"{BASE}/pool/bad.deb")
    assert (status, body) == (502, b"other bytes came\n")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00hello\r\n\r\n",
        b"GET http://deb.example/debian/empty\r\n\r\n",
        b"GET http://deb.example/debian/empty HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        b"GET http://deb.example/debian/empty HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET http://deb.example/debian/empty HTTP/1.1\r\n folded: x\r\n\r\n",
        b"GET " + b"x" * 20000 + b" HTTP/1.1\r\n\r\n",
        b"X: y\r\n" * 4000,
    ],
)
def test_nonsense_ends_the_connection(rig: Rig, data: bytes) -> None:
    client = rig.client()
    client.send(data)
    try:
        assert client.answer()[0] == 400
        assert client.answer()[0] == 0
    except ConnectionResetError:  # it closed while we had more to say
        pass
    assert rig.client().get(f"{BASE}/empty")[0] == 200


@given(st.binary(max_size=200))
def test_any_head_is_a_request_or_refused(head: bytes) -> None:
    for data in (head, b"GET http://a/b HTTP/1.1\r\n" + head):
        try:
            http1.split_target(http1.parse(data).target)
        except http1.BadRequest:
            continue


def test_too_many_connections(rig: Rig) -> None:
    crowd = [rig.client() for _ in range(40)]
    statuses = []
    for client in crowd:
        try:
            statuses.append(client.get(f"{BASE}/empty")[0])
        except (ConnectionError, BrokenPipeError):
            statuses.append(0)
    assert statuses.count(200) == 32


def test_stop_cuts_all_and_leaves_no_threads(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    client = rig.client()
    assert client.get(f"{BASE}/empty")[0] == 200
    client.ask(f"{BASE}/dists/x/InRelease")  # and never reads the answer
    rig.gateway.stop()
    rig.gateway.stop()
    assert gateway_threads() == []
    client.close()
    rig.listener.close()


def test_who_comes_while_it_stops_is_cut_as_well(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    waits, take = threading.Event(), rig.gateway._take
    stopper = threading.Thread(target=rig.gateway.stop)

    def slowly(connection: socket.socket) -> None:
        """Go on when `stop` waits for this thread."""
        door = threading.current_thread()
        join = door.join

        def joined() -> None:
            waits.set()
            join()

        monkeypatch.setattr(door, "join", joined)
        stopper.start()
        waits.wait()
        take(connection)

    monkeypatch.setattr(rig.gateway, "_take", slowly)
    client = rig.client()
    waits.wait()
    stopper.join()
    assert gateway_threads() == []
    with suppress(ConnectionError):
        assert client.get(f"{BASE}/empty")[0] == 0


def test_stop_does_not_wait_for_a_mirror_that_says_nothing(tmp_path: Path) -> None:
    factory = ArchiveFactory(tmp_path / "archive")
    deb = Deb("tool", "1.0")
    factory.suite("stable", [deb])
    archives, cache = factory.recipe_archives(), PackageCache(tmp_path / "cache")
    with ArchiveServer(factory.root) as server, socket.create_server(("127.0.0.1", 0)) as listener:
        server.fail(r"\.deb$", "hold", after=10)
        fetcher = Fetcher({role: [server.url] for role in archives}, read_timeout_s=3600)
        states = read_archives(archives, "amd64", fetcher=fetcher, cache=cache, keys_dir=factory.keys_dir)
        (route,) = gateway_routes(archives, states, fetcher=fetcher, cache=cache)
        gateway = Gateway([route], errand=fetcher.errand())
        gateway.start(listener)
        client = Client(listener.getsockname())
        client.ask(f"{route.public}/{deb.filename}")
        assert server.held.wait(60)
        gateway.stop()
        client.close()
        assert gateway_threads() == []


def gateway_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "gateway"]


def test_the_end_of_the_listener_ends_the_gateway(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.listener.shutdown(socket.SHUT_RDWR)
    rig.gateway.stop()
    rig.listener.close()


def test_what_an_archive_gives(tmp_path: Path) -> None:
    factory = ArchiveFactory(tmp_path / "archive", arches=("amd64", "i386"))
    deb = Deb("tool", "1.0+b1")
    factory.suite("stable", [deb])
    archives = factory.recipe_archives()
    fetcher, cache = Fetcher(mirrors.table(archives)), PackageCache(tmp_path / "cache")
    states = read_archives(archives, "amd64", fetcher=fetcher, cache=cache, keys_dir=factory.keys_dir)
    pinned = factory.inrelease("stable").read_bytes()
    (route,) = gateway_routes(archives, states, fetcher=fetcher, cache=cache)
    factory.suite("stable", [Deb("tool", "2.0")])  # the mirror moves on; the pinned state does not
    assert route.files["dists/stable/InRelease"].read_bytes() == pinned
    index = states[0].suites[0].indexes[0]
    assert route.fetch(index.path) == index.local
    assert route.fetch(f"dists/stable/main/binary-amd64/by-hash/SHA256/{index.sha256}") == index.local
    found = route.fetch(deb.filename)
    assert found is not None
    assert found.read_bytes() == deb.build()
    assert route.fetch("pool/main/t/tool/tool_2.0_all.deb") is None
    assert route.fetch("dists/stable/Contents-amd64.gz") is None
    factory.damage(*factory.index("stable", arch="i386"))
    cache.path(found.stem).unlink()
    factory.damage(factory.root / deb.filename)
    with pytest.raises(VerifyError):
        route.fetch(deb.filename)


@pytest.mark.network
def test_apt_itself_updates_and_downloads(tmp_path: Path) -> None:
    from tests.debian import debian_archives, debian_keys, private_apt

    archives = debian_archives("bookworm")
    fetcher, cache = Fetcher(mirrors.table(archives)), PackageCache(tmp_path / "cache")
    states = read_archives(archives, "amd64", fetcher=fetcher, cache=cache, keys_dir=debian_keys())
    sources = [(a.public, suite, "main") for a in archives.values() for suite in a.suites]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with Gateway(gateway_routes(archives, states, fetcher=fetcher, cache=cache)) as gateway:
            gateway.start(listener)
            proxy = f'Acquire::http::Proxy "http://127.0.0.1:{listener.getsockname()[1]}";'
            env = {
                **os.environ,
                "APT_CONFIG": str(private_apt(tmp_path / "apt", sources, proxy)),
                "LC_ALL": "C",
            }
            update = ["apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update"]
            done = subprocess.run(update, env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            fetch = ["apt-get", "-q", "-y", "-d", "install", "libstdc++6", "cron"]
            done = subprocess.run(fetch, env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert re.search(r"libstdc\+\+6_.*\.deb", str(list((tmp_path / "apt").rglob("*.deb"))))
    served = gateway.served()
    assert served.refused == ()
    assert served.bytes > 10_000_000
