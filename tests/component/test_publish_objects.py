"""Copies in an object store, by rclone: moto's server speaks S3 on this machine, and logs each request."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import await_port, free_port
from tests.publishing import NAME, Press, add_template, needs
from tmplbuild.events import Command, Event, Progress, silent
from tmplbuild.publish import delivery
from tmplbuild.publish.mirror import Mirror

_FORMATS = ["tar.xz", "lxc", "incus"]


class Store:
    """An S3 server with one bucket; what it holds is gone when it stops."""

    def __init__(self, place: Path) -> None:
        self.log = place / "store.log"
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.endpoint}/bucket/templates"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        await_port(self.process, self.port)
        self.ask("PUT", f"{self.endpoint}/bucket", {"x-amz-acl": "public-read"})

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ask(self, method: str, url: str, headers: dict[str, str] | None = None) -> bytes:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(
            urllib.request.Request(url, headers=headers or {}, method=method), timeout=60
        ) as answer:
            body: bytes = answer.read()
            return body

    def told(self) -> str:
        """The log, without its colours."""
        return re.sub(r"\x1b\[\d*m", "", self.log.read_text())

    def requests(self, method: str) -> list[str]:
        """The objects that requests of a kind were about, in their order."""
        found = re.findall(rf'"{method} /bucket/templates/([^ ?]*)\S* HTTP[^"]*" 20', self.told())
        return [path for path in found if path]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    pytest.importorskip("moto", reason="moto is missing: it comes with the development tools")
    needs("rclone", "rclone")
    made = Store(tmp_path)
    (tmp_path / "rclone.conf").write_text(
        "[store]\ntype = s3\nprovider = Other\naccess_key_id = one\nsecret_access_key = two\n"
        f"region = us-east-1\nendpoint = {made.endpoint}\nforce_path_style = true\n"
        "acl = public-read\n"  # anyone may read, as of a mirror
        "[away]\ntype = s3\nprovider = Other\naccess_key_id = one\nsecret_access_key = two\n"
        "region = us-east-1\nendpoint = http://127.0.0.1:9\nforce_path_style = true\n"
    )
    monkeypatch.setenv("RCLONE_CONFIG", str(tmp_path / "rclone.conf"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    place = tmp_path / "tree"
    (place / "etc").mkdir(parents=True)
    (place / "etc/motd").write_text("one\n")
    (place / "etc/big").write_bytes(os.urandom(300_000))
    return place


@pytest.fixture
def press(tmp_path: Path, tree: Path) -> Press:
    made = Press(tmp_path / "press", formats=_FORMATS)
    add_template(made.cache, tree)
    made.publish()
    target(made)
    return made


def target(press: Press, **more: object) -> None:
    targets = {"store": "rclone:store:bucket/templates", **more.pop("others", {})}  # type: ignore[dict-item]
    press.configure(formats=_FORMATS, targets=targets, **more)


def change(press: Press, tree: Path, text: str) -> None:
    (tree / "etc/motd").write_text(text)
    (tree / "etc/big").write_bytes(os.urandom(300_000))
    add_template(press.cache, tree)
    press.publish()


def named(store: Store) -> set[str]:
    """What the store's indexes and first page name now."""
    index = json.loads(store.ask("GET", f"{store.url}/index.json"))
    found = {file["path"] for one in index["templates"] for build in one["builds"] for file in build["files"]}
    images = json.loads(store.ask("GET", f"{store.url}/streams/v1/images.json"))
    for product in images["products"].values():
        for version in product["versions"].values():
            found |= {item["path"] for item in version["items"].values()}
    for line in store.ask("GET", f"{store.url}/meta/1.0/index-system").decode().splitlines():
        found.add(line.split(";")[5].strip("/") + "/rootfs.tar.xz")
    page = store.ask("GET", f"{store.url}/index.html").decode()
    found |= {link.partition("#")[0] for link in re.findall(r'href="([^"#][^"]*)"', page)}
    return found


def dangling(store: Store) -> list[str]:
    """What is named and is not there."""
    missing = []
    for path in sorted(named(store)):
        try:
            store.ask("HEAD", f"{store.url}/{path}")
        except urllib.error.HTTPError:
            missing.append(path)
    return missing


def test_a_copy_in_an_object_store_is_a_mirror(press: Press, tree: Path, store: Store) -> None:
    for text in ("two", "three"):
        done = press.run("mirror", "push")
        assert done.returncode == 0, done.stderr
        done = press.run("verify", store.url)
        assert done.returncode == 0, done.stdout
        change(press, tree, text)
    # nothing that is named came after what names it, and what goes goes last
    store.log.write_text("")
    target(press, keep=1, grace_hours=0)
    press.publish()
    assert press.run("mirror", "push").returncode == 0
    puts, gone = store.requests("PUT"), store.requests("DELETE")
    last = max(at for at, path in enumerate(puts) if path.startswith("images/"))
    assert puts[-1] == "index.html"
    assert puts.index("index.json") > last
    pages = [at for at, path in enumerate(puts) if re.fullmatch(r"templates/[^/]+\.html", path)]
    assert min(pages) > max(
        at for at, path in enumerate(puts) if re.fullmatch(r"templates/.+/.+\.html", path)
    )
    assert gone
    text = store.told()
    assert text.index("DELETE /bucket") > text.rindex("PUT /bucket")
    assert dangling(store) == []


def test_a_reader_finds_everything_while_a_push_goes_on(press: Press, tree: Path, store: Store) -> None:
    assert press.run("mirror", "push").returncode == 0
    change(press, tree, "two")
    found: list[str] = []
    rounds = 0
    push = subprocess.Popen(press.argv("mirror", "push"), env={**os.environ, **press.env()})
    while push.poll() is None or not rounds:
        found += dangling(store)
        rounds += 1
    assert push.returncode == 0
    assert found == []
    assert press.state().listed(NAME)[0].build in store.ask("GET", f"{store.url}/index.json").decode()


def test_a_push_that_is_killed_goes_on(press: Press, tree: Path, store: Store) -> None:
    """Killed half way through the files of a new build: what is served is the old state, whole; the next push
    sends what is missing, and nothing twice."""
    assert press.run("mirror", "push").returncode == 0
    old = store.ask("GET", f"{store.url}/index.json")
    change(press, tree, "two")
    build = press.state().listed(NAME)[0]
    target(press, bandwidth="20K")  # half a minute for what is not sent before it is killed
    store.log.write_text("")
    push = subprocess.Popen(
        press.argv("mirror", "push"), env={**os.environ, **press.env()}, start_new_session=True
    )
    while not store.requests("PUT"):
        assert push.poll() is None
        time.sleep(0.02)
    os.killpg(push.pid, signal.SIGKILL)
    push.wait()
    sent = set(store.requests("PUT"))
    assert sent < {file.path for file in build.files}
    assert store.ask("GET", f"{store.url}/index.json") == old
    assert dangling(store) == []
    target(press)
    store.log.write_text("")
    assert press.run("mirror", "push").returncode == 0
    assert not sent & set(store.requests("PUT"))
    assert press.run("verify", store.url).returncode == 0


def test_one_of_several_targets_fails(
    press: Press, tree: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_WAIT_S", 0.0)
    needs("rsync", "rsync")
    target(press, others={"away": "rclone:away:bucket/x", "disk": str(tmp_path / "disk")})
    done = press.run("mirror", "push", "--json")
    assert done.returncode == 5
    rows = json.loads(next(line for line in done.stdout.splitlines() if '"pushed"' in line))["targets"]
    assert {row["name"]: row["state"] for row in rows} == {"store": "done", "away": "failed", "disk": "done"}
    assert "connection refused" in done.stdout
    assert "reached: store, disk" in done.stdout
    assert dangling(store) == []
    assert (tmp_path / "disk/index.json").read_bytes() == store.ask("GET", f"{store.url}/index.json")


def test_a_store_that_comes_back_is_tried_again(press: Press, store: Store) -> None:
    store.stop()
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            store.start()

    results = delivery.push(Mirror(press.mirror), press.settings.publish, (), emit=silent, sleep=sleep)
    assert [one.state for one in results] == ["done"]
    assert waits == [2.0, 4.0]
    assert dangling(store) == []


def test_a_dry_run_progress_and_the_limit(press: Press, tree: Path, store: Store) -> None:
    done = press.run("mirror", "push", "--dry-run")
    assert done.returncode == 0
    assert "store: would change" in done.stdout
    assert "rootfs.tar.xz" in done.stdout
    assert store.requests("PUT") == []
    target(press, bandwidth="1M")
    seen: list[Event] = []
    delivery.push(Mirror(press.mirror), press.settings.publish, (), emit=seen.append)
    commands = [one.argv for one in seen if isinstance(one, Command)]
    assert all("--bwlimit" in argv and argv[argv.index("--bwlimit") + 1] == "1M" for argv in commands)
    assert len(commands) >= 7
    shares = [one.share for one in seen if isinstance(one, Progress) and one.share is not None]
    assert 1.0 in shares
    assert done.returncode == 0
    store.log.write_text("")
    assert press.run("mirror", "push").returncode == 0
    assert store.requests("PUT") == []  # what is there is not sent again
