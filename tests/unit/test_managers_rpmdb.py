"""rpm's database read as files: every form, whole or damaged. The forms that a program of Debian writes are
tested against it in tests/component/test_changes_rpm.py; for ndb there is none, it is written here by its
format (rpm's lib/backend/ndb/rpmpkg.c)."""

from __future__ import annotations

import random
import sqlite3
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rpm_factory import Rpm, Tag, common_tags, pack_header, path_tags
from tmplbuild.archives.aptrpm import header
from tmplbuild.core.tree import Tree
from tmplbuild.errors import VerifyError
from tmplbuild.managers import rpmdb

PACKAGES = (Rpm("bash", "5.2", epoch=1), Rpm("zlib", "1.3", release="150600.1"))
LOG = [
    Tag(1080, header.INT32, [20, 10]),
    Tag(1081, header.STRINGS, ["A <a@example.org> 2", "B <b@example.org> 1"]),
    Tag(1082, header.STRINGS, ["new", "old"]),
]


def blobs() -> list[bytes]:
    """Headers as a database has them: without their magic."""
    keys = pack_header(common_tags(Rpm("gpg-pubkey", "abc")))
    return [blob[8:] for blob in (keys, *(pack_header(common_tags(one) + LOG) for one in PACKAGES))]


def ndb(found: list[bytes]) -> bytes:
    slots, data, block = b"", b"", 256
    for number, blob in enumerate(found, 1):
        count = (16 + len(blob) + 12 + 15) // 16
        body = struct.pack("<4sIII", b"BlbS", number, 7, len(blob)) + blob
        body += bytes(count * 16 - 12 - len(body))
        data += body + struct.pack("<II4s", zlib.adler32(body), len(blob), b"BlbE")
        slots += struct.pack("<4sIII", b"Slot", number, block, count)
        block += count
    free = struct.pack("<4sIII", b"Slot", 0, 0, 0)
    head = struct.pack("<4sIIII", b"RpmP", 0, 7, 1, len(found) + 1) + bytes(12)
    return (head + slots + free * 256)[:4096] + data


def sqlite(found: list[bytes]) -> bytes:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
    database.executemany("INSERT INTO Packages (blob) VALUES (?)", [(blob,) for blob in found])
    database.commit()
    data = bytearray(database.serialize())
    data[18:20] = b"\2\2"  # rpm's has a write-ahead log
    return bytes(data)


FORMS: dict[str, Callable[[list[bytes]], bytes]] = {
    "usr/lib/sysimage/rpm/Packages.db": ndb,
    "var/lib/rpm/rpmdb.sqlite": sqlite,
}


def read(tmp_path: Path, name: str, data: bytes) -> list[rpmdb.Package]:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    with Tree(tmp_path) as tree:
        return rpmdb.packages(tree)


@pytest.mark.parametrize("name", FORMS)
def test_packages_are_read(name: str, tmp_path: Path) -> None:
    bash, zlib_ = read(tmp_path, name, FORMS[name](blobs()))
    assert (bash.name, bash.version, bash.arch, bash.source) == ("bash", "1:5.2-alt1", "x86_64", "bash")
    assert (zlib_.name, zlib_.version) == ("zlib", "1.3-150600.1")
    assert bash.changelog == ((20, "A <a@example.org> 2", "new"), (10, "B <b@example.org> 1", "old"))


def test_whose_each_file_is_by_its_real_path(tmp_path: Path) -> None:
    files = {"bash": ["/bin/bash", "/usr/share/shared"], "zlib": ["/usr/lib/libz.so.1", "/usr/share/shared"]}
    rows = [pack_header(common_tags(one) + path_tags(files[one.name]))[8:] for one in reversed(PACKAGES)]
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    place = tmp_path / "var/lib/rpm/rpmdb.sqlite"
    place.parent.mkdir(parents=True)
    place.write_bytes(sqlite(rows))
    with Tree(tmp_path) as tree:
        assert rpmdb.listed(tree) == {
            "/usr/bin/bash": "bash",
            "/usr/share/shared": "bash",
            "/usr/lib/libz.so.1": "zlib",
        }


def test_no_database_no_packages(tmp_path: Path) -> None:
    with Tree(tmp_path) as tree:
        assert rpmdb.packages(tree) == []


@pytest.mark.parametrize("name", [*FORMS, "var/lib/rpm/Packages"])
@pytest.mark.parametrize(
    "data", [b"x", bytes(5000), b"RpmP" + bytes(5000), b"SQLite format 3\0" + bytes(5000)]
)
def test_what_is_no_database_is_told(name: str, data: bytes, tmp_path: Path) -> None:
    with pytest.raises(VerifyError):
        read(tmp_path, name, data)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("seed", range(60))
def test_damage_is_told_or_does_no_harm(name: str, seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    data = bytearray(FORMS[name](blobs()))
    for _ in range(rng.randrange(1, 30)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    del data[rng.choice([len(data), rng.randrange(1, len(data))]) :]
    try:
        assert len(read(tmp_path, name, bytes(data))) <= 300
    except VerifyError as error:
        assert error.where  # noqa: PT017
