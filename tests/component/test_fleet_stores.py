"""The shared store on real servers: OpenSSH's sftp, and S3 as moto has it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko
import pytest

from tests.sshd import Sshd
from tmplbuild.archives.cache import PackageCache
from tmplbuild.errors import HostError, StoreError, VerifyError
from tmplbuild.fleet.shared import SharedStore

DATA = os.urandom(2_500_000)


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    made = Sshd(tmp_path / "ssh")
    for name, value in made.env.items():
        monkeypatch.setenv(name, value)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    env = pytest.MonkeyPatch()
    env.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        env.setenv(name, "test")
    env.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.client("s3").create_bucket(Bucket="fleet")
    yield "s3://fleet/store"
    env.undo()
    server.stop()


def go_through(shared: SharedStore, tmp_path: Path) -> None:
    """All that a store has to do."""
    cache = PackageCache(tmp_path / "cache")
    (tmp_path / "file").write_bytes(DATA)
    assert shared.names("layers") == []
    assert shared.read_json("layers/x.json") is None
    sha256 = shared.put(tmp_path / "file")
    shared.put(tmp_path / "file")
    cache.incoming.mkdir(parents=True)
    (cache.incoming / "y.part").write_bytes(DATA[:1_234_567])  # a break
    assert shared.get(sha256, cache.root / "y.bin", cache).read_bytes() == DATA
    shared.write_json("layers/x.json", {"a": 1})
    shared.write_json("layers/x.json", {"a": 2})
    assert shared.read_json("layers/x.json") == {"a": 2}
    shared.add_json("layers/x.json", {"a": 3})
    shared.add_json("layers/y.json", {"a": 4})
    assert shared.read_json("layers/x.json") == {"a": 2}
    assert shared.read_json("layers/y.json") == {"a": 4}
    assert shared.names("layers") == ["x.json", "y.json"]
    small = shared.put_bytes(b"small")
    assert shared.get_bytes(small) == b"small"
    assert {name for name, _ in shared.blobs()} == {sha256, small}
    shared.remove(f"blobs/{small[:2]}/{small}")
    shared.remove(f"blobs/{small[:2]}/{small}")
    assert not shared.has(small)
    with pytest.raises(StoreError):
        shared.get_bytes(small)


def test_sftp(sshd: Sshd, tmp_path: Path) -> None:
    go_through(SharedStore(sshd.address(sshd.place / "store"), patience_s=60), tmp_path)
    left = [path.name for path in (sshd.place / "store").rglob(".*")]
    assert not left


def test_many_threads_ask_at_once_by_sftp(sshd: Sshd) -> None:
    shared = SharedStore(sshd.address(sshd.place / "store"), patience_s=60)
    texts = [os.urandom(300_000 if number % 3 == 0 else 30) for number in range(60)]
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(shared.put_bytes, texts))
        assert list(pool.map(shared.get_bytes, names)) == texts


def test_who_comes_late_changes_nothing_on_sftp(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    come_late(SharedStore(sshd.address(sshd.place / "store"), patience_s=60), monkeypatch)


def test_who_comes_late_changes_nothing_in_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    come_late(SharedStore(str(tmp_path / "store"), patience_s=0), monkeypatch)


def come_late(shared: SharedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a name that another one writes at the same moment: after it was looked for."""
    shared.add_json("x.json", {"a": 1})
    monkeypatch.setattr(shared, "_size", lambda name: None)
    shared.add_json("x.json", {"a": 2})
    assert shared.read_json("x.json") == {"a": 1}
    assert shared.names("") == ["x.json"]


def test_a_server_that_comes_back_is_waited_for(sshd: Sshd) -> None:
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        if "does not answer" in text:
            sshd.start()

    address = sshd.address(sshd.place / "store")
    shared = SharedStore(address, patience_s=60, tell=tell)
    shared.write_json("x.json", {"a": 1})
    sshd.stop()
    assert shared.read_json("x.json") == {"a": 1}
    assert told[0].startswith(f"{address} does not answer (")
    assert told[0].endswith("asked again for 60 s")
    assert told[1:] == [f"{address} answers again"]


def test_a_server_that_stays_away_is_waited_for_once(sshd: Sshd) -> None:
    shared = SharedStore(sshd.address(sshd.place / "store"), patience_s=0.7)
    shared.write_json("x.json", {"a": 1})
    sshd.stop()
    with pytest.raises(StoreError, match="could not read the fleet's store") as found:
        shared.read_json("x.json")
    assert found.value.where == shared.address
    asked: list[float] = []
    shared._over.wait = lambda seconds: asked.append(seconds)  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(StoreError):
        shared.has("0" * 64)
    assert asked == []
    sshd.start()
    assert shared.read_json("x.json") == {"a": 1}


def test_a_host_that_is_not_known_is_not_spoken_to(sshd: Sshd) -> None:
    sshd.trust("other")
    with pytest.raises(HostError, match="do not trust"):
        SharedStore(sshd.address(sshd.place / "store"), patience_s=0)
    sshd.known.write_text("")
    with pytest.raises(HostError, match="do not trust"):
        SharedStore(sshd.address(sshd.place / "store"), patience_s=0)


def test_a_key_that_is_not_let_in(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPLBUILD_SSH_KEY", str(sshd.place / "other"))
    with pytest.raises(HostError, match="do not trust"):
        SharedStore(sshd.address(sshd.place / "store"), patience_s=0)


class Leaving(paramiko.ServerInterface):
    """A server that goes away when it is shown a key."""

    def __init__(self, connection: paramiko.Transport) -> None:
        self.connection = connection

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self.connection.close()
        return paramiko.AUTH_FAILED


def test_a_server_that_goes_while_it_looks_at_the_key_has_not_refused_it(sshd: Sshd) -> None:
    sshd.stop()
    with socket.create_server((sshd.host, sshd.port)) as listener, ThreadPoolExecutor(1) as pool:

        def serve() -> paramiko.Transport:
            connection = paramiko.Transport(listener.accept()[0])
            connection.add_server_key(paramiko.Ed25519Key.from_private_key_file(str(sshd.place / "host")))
            connection.start_server(server=Leaving(connection))
            return connection

        served = pool.submit(serve)
        with pytest.raises(StoreError, match="could not reach the fleet's store"):
            SharedStore(sshd.address(sshd.place / "store"), patience_s=0)
        served.result().join()


def test_s3(bucket: str, tmp_path: Path) -> None:
    shared = SharedStore(bucket, patience_s=60)
    go_through(shared, tmp_path)
    sha256 = shared.put(tmp_path / "file")
    import boto3

    boto3.client("s3").put_object(Bucket="fleet", Key=f"store/blobs/{sha256[:2]}/{sha256}", Body=DATA[::-1])
    with pytest.raises(VerifyError):
        shared.get(sha256, tmp_path / "z.bin", PackageCache(tmp_path / "cache2"))
