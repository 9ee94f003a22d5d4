"""The shared store on real servers: OpenSSH's sftp, and S3 as moto has it."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tmplbuild.archives.cache import PackageCache
from tmplbuild.errors import HostError, StoreError, VerifyError
from tmplbuild.fleet.shared import SharedStore

DATA = os.urandom(2_500_000)


class Sshd:
    """An sshd on loopback that lets in one key."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.key, self.known = place / "key", place / "known_hosts"
        place.mkdir(mode=0o700)
        for name in ("key", "host", "other"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / name], check=True)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.trust("host")
        (place / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {place}/host\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {place}/key.pub\nStrictModes no\nPermitRootLogin prohibit-password\n"
            "PasswordAuthentication no\nSubsystem sftp internal-sftp\n"
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def trust(self, name: str) -> None:
        """Write the file of known hosts."""
        words = (self.place / f"{name}.pub").read_text().split()
        self.known.write_text(f"[127.0.0.1]:{self.port} {words[0]} {words[1]}\n")

    def start(self) -> None:
        Path("/run/sshd").mkdir(exist_ok=True)
        self.process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", self.place / "config", "-e"])
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                assert self.process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait()

    @property
    def address(self) -> str:
        return f"sftp://{getpass.getuser()}@127.0.0.1:{self.port}{self.place}/store"


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    if os.geteuid() != 0 or not shutil.which("sshd", path="/usr/sbin"):
        pytest.skip("needs root and openssh-server")
    made = Sshd(tmp_path / "ssh")
    monkeypatch.setenv("TMPLBUILD_KNOWN_HOSTS", str(made.known))
    monkeypatch.setenv("TMPLBUILD_SSH_KEY", str(made.key))
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
    go_through(SharedStore(sshd.address, patience_s=0), tmp_path)
    left = [path.name for path in (sshd.place / "store").rglob(".*")]
    assert not left


def test_who_comes_late_changes_nothing_on_sftp(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    come_late(SharedStore(sshd.address, patience_s=0), monkeypatch)


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


def test_a_server_that_comes_back_is_waited_for(sshd: Sshd, tmp_path: Path) -> None:
    shared = SharedStore(sshd.address, patience_s=60)
    shared.write_json("x.json", {"a": 1})
    sshd.stop()
    sshd.start()
    assert shared.read_json("x.json") == {"a": 1}


def test_a_host_that_is_not_known_is_not_spoken_to(sshd: Sshd) -> None:
    sshd.trust("other")
    with pytest.raises(HostError, match="do not trust"):
        SharedStore(sshd.address, patience_s=0)
    sshd.known.write_text("")
    with pytest.raises(HostError, match="do not trust"):
        SharedStore(sshd.address, patience_s=0)


def test_a_key_that_is_not_let_in(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPLBUILD_SSH_KEY", str(sshd.place / "other"))
    with pytest.raises(HostError, match="do not trust"):
        SharedStore(sshd.address, patience_s=0)


def test_s3(bucket: str, tmp_path: Path) -> None:
    shared = SharedStore(bucket, patience_s=0)
    go_through(shared, tmp_path)
    sha256 = shared.put(tmp_path / "file")
    import boto3

    boto3.client("s3").put_object(Bucket="fleet", Key=f"store/blobs/{sha256[:2]}/{sha256}", Body=DATA[::-1])
    with pytest.raises(VerifyError):
        shared.get(sha256, tmp_path / "z.bin", PackageCache(tmp_path / "cache2"))
