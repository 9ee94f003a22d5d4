"""fetch: from each kind of mirror, verified, whole or by members; nothing else gets into the cache."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive_server import ArchiveServer
from tests.conftest import Places
from tests.pack_trees import tar_of
from tests.publishing import NAME, Gpg, Press, Ran, add_template, needs
from tmplbuild.publish.members import ranges

OWNERS = {f"/usr/bin/{number}": f"package-{number}" for number in range(12)}


@pytest.fixture(scope="module")
def press(places: Places) -> Iterator[Press]:
    needs("gpg", "gpg")
    place = places("fetch")
    gpg = Gpg(place / "gnupg")
    tree = place / "tree"
    (tree / "usr/bin").mkdir(parents=True)
    for number in range(12):
        (tree / f"usr/bin/{number}").write_bytes(os.urandom(50_000))
    made = Press(place / "press", gpg, formats=["tar.xz", "lxc", "incus"])
    add_template(made.cache, tree, owners=OWNERS, recipe="plain-12")  # the same for all consumers
    made.publish()
    shutil.copytree(made.cache, place / "old")
    (tree / "usr/bin/7").write_bytes(os.urandom(40_000))
    add_template(made.cache, tree, owners=OWNERS, recipe="plain-12")  # the same for all consumers
    made.publish()
    yield made
    gpg.forget()


class Reader:
    """Somebody with a cache of their own."""

    def __init__(self, press: Press, place: Path) -> None:
        self.press = press
        self.cache = place / "templates"
        self.cache.mkdir()
        self.own = Press(place / "own")
        text = f'template_cache = "{self.cache}"\ncache_dir = "{place}/c"\nstate_dir = "{place}/s"\n'
        self.own.config.write_text(text)
        self.keyring = place / "key.asc"
        assert press.gpg is not None
        self.key = press.gpg.key
        self.keyring.write_bytes(press.gpg.run("--armor", "--export", self.key))

    def fetch(self, place: object, *words: str, name: str = NAME, key: bool = True) -> Ran:
        pinned = ("--key", self.key) if key else ()
        return self.own.run("fetch", name, "--from", str(place), *pinned, *words)

    @property
    def file(self) -> Path:
        return self.cache / f"{NAME}.tar.gz"

    def has_the_template(self) -> bool:
        return tar_of(self.file) == tar_of(self.press.cache / f"{NAME}.tar.gz")


@pytest.fixture
def reader(press: Press, tmp_path: Path) -> Reader:
    return Reader(press, tmp_path)


def part_of(mirror: Path, place: Path, *names: str) -> Path:
    """A mirror that has only some of the names at its root."""
    place.mkdir()
    for name in names:
        (place / name).symlink_to(mirror / name)
    return place


def test_from_a_mirror_of_ours(press: Press, reader: Reader) -> None:
    with ArchiveServer(press.mirror) as server:
        done = reader.fetch(server.url)
        assert done.returncode == 0, done.stderr
        assert reader.file.read_bytes() == (press.cache / reader.file.name).read_bytes()
        manifest = f"{NAME}.manifest.json"
        assert (reader.cache / manifest).read_bytes() == (press.cache / manifest).read_bytes()
        asked = len(server.asked(r"\.tar\.gz$"))
        assert "is there already" in reader.fetch(server.url).stdout
        assert len(server.asked(r"\.tar\.gz$")) == asked
    assert sorted(path.name for path in reader.cache.iterdir()) == [manifest, reader.file.name]


@pytest.mark.parametrize("way", ["ranges", "whole", "directory"])
def test_only_what_changed_is_fetched(press: Press, reader: Reader, way: str) -> None:
    shutil.copytree(press.place.parent / "old", reader.cache, dirs_exist_ok=True)
    with ArchiveServer(press.mirror, ranges=way == "ranges") as server:
        done = reader.fetch(press.mirror if way == "directory" else server.url, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert reader.file.read_bytes() == (press.cache / reader.file.name).read_bytes()
    if way == "whole":
        assert found["fetched"] >= found["size"]
    else:
        assert 40_000 < found["fetched"] < 0.15 * found["size"]


@pytest.mark.parametrize("way", ["patch", "level", "another file", "damaged"])
def test_a_patch_from_the_build_before(tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken from the very file that is here; where it does not fit, members are fetched as ever."""
    gpg = Gpg(tmp_path / "gnupg")
    tree = tmp_path / "tree"
    (tree / "usr/bin").mkdir(parents=True)
    texts = [b"".join(os.urandom(8).hex().encode() for _ in range(8000)) for _ in range(4)]
    for number, text in enumerate(texts):
        (tree / f"usr/bin/{number}").write_bytes(text)
    owners = {f"/usr/bin/{number}": f"package-{number}" for number in range(4)}
    press = Press(tmp_path / "press", gpg, formats=["tar.gz"], patches=True)
    olds = []
    for change in range(3):
        (tree / "usr/bin/2").write_bytes(texts[2][:60_000] + b"change %d" % change + texts[2][60_000:])
        add_template(press.cache, tree, owners=owners)
        press.publish()
        olds.append((press.cache / f"{NAME}.tar.gz").read_bytes())
    gpg.forget()
    (tmp_path / "reader").mkdir()
    reader = Reader(press, tmp_path / "reader")
    reader.file.write_bytes(olds[0 if way == "another file" else 1])
    patch = press.state().listed(NAME)[0].file("patch")
    assert patch is not None
    assert patch.size < 2000
    if way == "level":  # a library that compresses otherwise
        monkeypatch.setattr("tmplbuild.publish.patch.member_of", lambda raw, level: b"otherwise")
    if way == "damaged":

        def broken(*_: object) -> dict[int, bytes]:
            raise EOFError("the patch does not fit")

        monkeypatch.setattr("tmplbuild.publish.members.patch.apply", broken)
    with ArchiveServer(press.mirror) as server:
        done = reader.fetch(server.url, "--json")
        assert bool(server.asked(r"\.patch$")) == (way != "another file")
    assert done.returncode == 0, done.stderr + done.stdout
    assert reader.file.read_bytes() == olds[-1]
    fetched = json.loads(done.stdout.splitlines()[-1])["fetched"]
    assert (fetched < 5000) == (way == "patch")
    assert press.run("verify", str(press.mirror)).returncode == 0


def test_an_older_build_by_name(press: Press, reader: Reader) -> None:
    old = press.state().listed(NAME)[1]
    assert reader.fetch(press.mirror, "--at", old.build).returncode == 0
    assert reader.file.read_bytes() == (press.place.parent / "old" / reader.file.name).read_bytes()
    done = reader.fetch(press.mirror, "--at", "20200101_000000")
    assert done.returncode == 2
    assert old.build in done.stderr


@pytest.mark.parametrize("kind", ["simplestreams", "lxc", "openvz"])
def test_from_a_mirror_of_another_kind(press: Press, reader: Reader, tmp_path: Path, kind: str) -> None:
    names = {
        "simplestreams": ["streams", "images"],
        "lxc": ["meta", "images"],
        "openvz": [f"{NAME}.tar.gz", f"{NAME}.tar.gz.asc", ".listing"],
    }
    root = part_of(press.mirror, tmp_path / "mirror", *names[kind])
    (reader.cache / f"{NAME}.manifest.json").write_text("of an earlier file")
    with ArchiveServer(root) as server:
        done = reader.fetch(server.url, "--keyring", str(reader.keyring), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["mirror"] == kind
    assert reader.has_the_template()
    assert not (reader.cache / f"{NAME}.manifest.json").exists()


@pytest.mark.parametrize(
    ("kind", "second"),
    [
        ("ours", r"/index\.json\.asc$"),
        ("simplestreams", r"/images\.json\.gpg$"),
        ("openvz", rf"/{NAME}\.tar\.gz$"),
    ],
)
def test_a_mirror_that_is_switched_between_a_file_and_its_signature(
    tmp_path: Path, kind: str, second: str
) -> None:
    gpg = Gpg(tmp_path / "gnupg")
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    press = Press(tmp_path / "press", gpg, formats=["tar.xz", "lxc", "incus"])

    def publish(text: str) -> None:
        (tree / "etc/motd").write_text(text)
        add_template(press.cache, tree, recipe="plain-12")
        press.publish()

    publish("one")
    names = {"simplestreams": ["streams", "images"], "openvz": [f"{NAME}.tar.gz", f"{NAME}.tar.gz.asc"]}
    root = part_of(press.mirror, tmp_path / "part", *names[kind]) if kind in names else press.mirror
    (tmp_path / "reader").mkdir()
    reader = Reader(press, tmp_path / "reader")
    with ArchiveServer(root) as server:
        server.once(second, lambda: publish("two"))
        done = reader.fetch(server.url, "--keyring", str(reader.keyring), "--json")
    gpg.forget()
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["mirror"] == kind.replace("ours", "tmplbuild")
    # of indexes that name dated files the older one is as good
    assert tar_of(reader.file).count(b"two" if kind != "simplestreams" else b"o") > 0


def test_nothing_is_left_of_a_template_that_was_there_already(
    press: Press, reader: Reader, tmp_path: Path
) -> None:
    root = part_of(press.mirror, tmp_path / "mirror", f"{NAME}.tar.gz", f"{NAME}.tar.gz.asc", ".listing")
    with ArchiveServer(root) as server:
        for _ in range(2):
            done = reader.fetch(server.url, "--keyring", str(reader.keyring))
            assert done.returncode == 0, done.stderr
    assert "is there already" in done.stdout
    assert [path for path in (tmp_path / "c").rglob("*") if path.is_file()] == []


def test_a_fetch_that_was_killed_between_file_and_manifest(
    press: Press, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new file is never beside the old manifest; the next run brings the new one, and not the file."""
    shutil.copytree(press.place.parent / "old", reader.cache, dirs_exist_ok=True)
    manifest = reader.cache / f"{NAME}.manifest.json"

    def killed(path: Path, data: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tmplbuild.publish.fetching.write_atomic", killed)
        assert reader.fetch(press.mirror).returncode == 130
    assert reader.file.read_bytes() == (press.cache / reader.file.name).read_bytes()
    assert not manifest.exists()
    done = reader.fetch(press.mirror, "--json")
    assert done.returncode == 0, done.stderr
    assert manifest.read_bytes() == (press.cache / manifest.name).read_bytes()
    assert json.loads(done.stdout.splitlines()[-1])["fetched"] < 20_000


def test_unsigned_mirrors_only_where_the_server_is_trusted(
    press: Press, reader: Reader, tmp_path: Path
) -> None:
    root = part_of(press.mirror, tmp_path / "mirror", "streams", "images")
    with ArchiveServer(root) as server:
        done = reader.fetch(server.url, key=False)
        assert done.returncode == 2
        assert "nothing to verify the template by" in done.stderr
        done = reader.fetch(server.url, "--trust-server", key=False)
        assert done.returncode == 2
        assert "without HTTPS" in done.stderr
    assert not reader.file.exists()
    assert reader.fetch(root, "--trust-server", key=False).returncode == 0
    assert reader.has_the_template()


def test_names_without_an_architecture_and_unknown_ones(press: Press, reader: Reader) -> None:
    if os.uname().machine == "x86_64":
        assert reader.fetch(press.mirror, name="debian-12").returncode == 0
        assert reader.has_the_template()
    done = reader.fetch(press.mirror, name="debian-13-x86_64")
    assert done.returncode == 2
    assert f"did you mean {NAME}" in done.stderr.replace('"', "")
    assert reader.fetch(press.mirror, name="debian").returncode == 2


@pytest.mark.parametrize("kind", ["ours", "simplestreams", "lxc", "openvz", "members"])
def test_what_is_not_signed_so_is_not_used(press: Press, reader: Reader, tmp_path: Path, kind: str) -> None:
    root = Path(shutil.copytree(press.mirror, tmp_path / "mirror", symlinks=True))
    (reader.cache / "old").write_text("stays")
    if kind == "members":
        shutil.copytree(press.place.parent / "old", reader.cache, dirs_exist_ok=True)
    for path in [*root.glob("images/*/*/*/*/*/*"), *root.glob(".gen/*/streams/v1/*.json")]:
        if path.name.endswith((".tar.gz", ".tar.xz", ".json")) and path.name != "members.json":
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
    archive = f"{NAME}.tar.gz"
    names = {"simplestreams": ["streams"], "lxc": ["meta"], "openvz": [archive, f"{archive}.asc"]}
    place = root
    if kind in names:
        place = part_of(root, tmp_path / "part", *names[kind], "images")
    before = {path.name: path.read_bytes() for path in reader.cache.iterdir()}
    done = reader.fetch(place, "--keyring", str(reader.keyring))
    assert done.returncode == 6, done.stderr
    assert len(re.findall("tmplbuild: error:", done.stderr)) == 1
    assert {path.name: path.read_bytes() for path in reader.cache.iterdir()} == before


def test_another_key_than_the_pinned_one(press: Press, reader: Reader, tmp_path: Path) -> None:
    other = Gpg(tmp_path / "gnupg")
    done = reader.own.run("fetch", NAME, "--from", str(press.mirror), "--key", other.key)
    other.forget()
    assert done.returncode == 6
    assert not reader.file.exists()


def test_ranges_of_new_members_are_joined_where_they_are_near() -> None:
    members = [(10, "a"), (20, "b"), (5000, "c"), (30, "d"), (40, "e")]
    assert ranges(members, {"c": 0, "e": 9}) == [(0, 30), (5030, 30)]
    assert ranges(members, {"b": 0, "c": 5}) == [(0, 10), (5030, 70)]
    assert ranges(members, {}) == [(0, 5100)]
    assert ranges(members, dict.fromkeys("abcde", 0)) == []
