"""Reading .debs and their prepared form: every compression, every fault, runs at once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.deb_factory import SQUEEZE, ar, build, control_text, data_tar, package
from tmplbuild.archives.deb.prepared import SUFFIX, Prepared, conffiles, load, open_contents, prepare
from tmplbuild.errors import StoreError, VerifyError

FILES = {
    "": None,
    "etc": None,
    "etc/app.conf": b"a=1\n",
    "usr": None,
    "usr/bin": None,
    "usr/bin/app": b"#!" + bytes(300_000),
    "usr/bin/alias": ("link", "app"),
    "usr/bin/same": ("hard", "./usr/bin/app"),
    "usr/empty": b"",
}
CONTROL = {"control": control_text("app"), "conffiles": b"/etc/app.conf\nremove-on-upgrade /etc/old\n"}


def prepared(place: Path, data: bytes) -> Prepared:
    """Prepare these bytes as a package's file."""
    path = place / "app.deb"
    path.write_bytes(data)
    return prepare(path, hashlib.sha256(data).hexdigest())


def contents(one: Prepared) -> dict[str, bytes]:
    """The content of each regular file."""
    with open_contents(one) as stream:
        return {entry.path: stream.read(entry.size) for entry in one.entries if entry.kind == "file"}


@pytest.mark.parametrize("suffix", SQUEEZE)
def test_every_compression(tmp_path: Path, suffix: str) -> None:
    one = prepared(tmp_path, build(CONTROL, data_tar(FILES), control_suffix=suffix, data_suffix=suffix))
    assert [entry.path for entry in one.entries] == list(FILES)
    assert contents(one) == {path: data for path, data in FILES.items() if isinstance(data, bytes)}
    links = {entry.path: (entry.kind, entry.link) for entry in one.entries if entry.link}
    assert links == {"usr/bin/alias": ("symlink", "app"), "usr/bin/same": ("hardlink", "usr/bin/app")}
    assert one.control["control"].content == CONTROL["control"]
    assert conffiles(one.control) == {"etc/app.conf": False, "etc/old": True}


def test_digests_of_all_files_where_the_package_has_none(tmp_path: Path) -> None:
    one = prepared(tmp_path, build(CONTROL, data_tar(FILES)))
    wanted = {
        path: hashlib.md5(data, usedforsecurity=False).hexdigest()
        for path, data in FILES.items()
        if isinstance(data, bytes)
    }
    assert one.md5 == wanted


def test_digests_of_conffiles_only_where_the_package_brings_the_rest(tmp_path: Path) -> None:
    one = prepared(tmp_path, build({**CONTROL, "md5sums": b""}, data_tar(FILES)))
    assert list(one.md5) == ["etc/app.conf"]


def test_members_with_an_underscore_are_ignored(tmp_path: Path) -> None:
    parts = [("debian-binary", b"2.1\n"), ("_extra", b"odd"), ("control.tar", data_tar(CONTROL))]
    parts += [("data.tar", data_tar(FILES)), ("later", b"anything")]
    assert len(prepared(tmp_path, ar(parts)).entries) == len(FILES)


def test_it_is_made_once(tmp_path: Path) -> None:
    data = build(CONTROL, data_tar(FILES))
    prepared(tmp_path, data)
    target = tmp_path / f"app.deb{SUFFIX}"
    os.utime(target, (1, 1))
    before = target.stat()
    prepared(tmp_path, data)
    assert target.stat().st_ino == before.st_ino
    assert target.stat().st_mtime > 1, "the cache sees that it was used"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.deb", f"app.deb{SUFFIX}"]


def test_another_package_under_the_same_name_is_prepared_anew(tmp_path: Path) -> None:
    prepared(tmp_path, build(CONTROL, data_tar(FILES)))
    other = prepared(tmp_path, build(CONTROL, data_tar({"": None, "x": b"y"})))
    assert contents(other) == {"x": b"y"}


def test_many_at_once_agree(tmp_path: Path) -> None:
    data = build(CONTROL, data_tar(FILES))
    path, digest = tmp_path / "app.deb", hashlib.sha256(data).hexdigest()
    path.write_bytes(data)
    made: list[Prepared] = []
    threads = [threading.Thread(target=lambda: made.append(prepare(path, digest))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert all(one == made[0] for one in made)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["app.deb", f"app.deb{SUFFIX}"]


# -- faults ----------------------------------------------------------------------------------------


def test_bytes_with_another_hash_are_not_used(tmp_path: Path) -> None:
    found, path = package(tmp_path, "app", FILES)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(VerifyError, match="not the one that the archive names"):
        prepare(path, found.sha256)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("at", [0, 10, -1, -20, -60])
def test_a_damaged_prepared_file_is_made_again(tmp_path: Path, at: int) -> None:
    data = build(CONTROL, data_tar(FILES))
    prepared(tmp_path, data)
    target = tmp_path / f"app.deb{SUFFIX}"
    good = target.read_bytes()
    bad = bytearray(good)
    bad[at] ^= 0xFF
    target.write_bytes(bad)
    digest = hashlib.sha256(data).hexdigest()
    if at in (0, 10):  # the contents: noticed when they are read
        with pytest.raises(EOFError):
            contents(load(target, digest))
    else:
        with pytest.raises(VerifyError):
            load(target, digest)
        assert prepared(tmp_path, data) == load(target, digest)
        assert target.read_bytes() == good


@pytest.mark.parametrize("length", [0, 5, 40, 100])
def test_a_prepared_file_cut_short_is_made_again(tmp_path: Path, length: int) -> None:
    data = build(CONTROL, data_tar(FILES))
    prepared(tmp_path, data)
    target = tmp_path / f"app.deb{SUFFIX}"
    target.write_bytes(target.read_bytes()[:length])
    assert contents(prepared(tmp_path, data))["etc/app.conf"] == b"a=1\n"


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    found, path = package(tmp_path, "app", FILES)
    (tmp_path / f"{path.name}{SUFFIX}").mkdir()
    with pytest.raises(StoreError):
        prepare(path, found.sha256)
    assert len(list(tmp_path.iterdir())) == 2, "no draft stays behind"


@pytest.mark.parametrize(
    "files",
    [
        {"/etc/passwd": b"x"},
        {"../etc/passwd": b"x"},
        {"etc/../../passwd": b"x"},
        {"etc/pass\nwd": b"x"},
        {"x": ("hard", "../../etc/shadow")},
        {"x": ("link", "")},
    ],
)
def test_names_that_no_package_may_hold(tmp_path: Path, files: dict[str, bytes | tuple[str, str]]) -> None:
    with pytest.raises(VerifyError):
        prepared(tmp_path, build(CONTROL, data_tar(files)))


@pytest.mark.parametrize(
    "members",
    [
        [],
        [("debian-binary", b"3.0\n"), ("control.tar", data_tar(CONTROL)), ("data.tar", data_tar({}))],
        [("debian-binary", b"2.0\n"), ("data.tar", data_tar({})), ("control.tar", data_tar(CONTROL))],
        [("debian-binary", b"2.0\n"), ("control.tar", data_tar(CONTROL))],
        [("debian-binary", b"2.0\n"), ("control.tar", data_tar({})), ("data.tar", data_tar({}))],
        [("debian-binary", b"2.0\n"), ("control.tar.7z", b"x"), ("data.tar", data_tar({}))],
        [("debian-binary", b"2.0\n"), ("control.tar", data_tar(CONTROL)), ("data.tar.xz", b"no xz")],
        [("debian-binary", b"2.0\n"), ("control.tar", data_tar(CONTROL)), ("data.tar", b"")],
        [("debian-binary", b"2.0\n"), ("control.tar", data_tar({"a/b": b""})), ("data.tar", data_tar({}))],
    ],
)
def test_what_is_no_package(tmp_path: Path, members: list[tuple[str, bytes]]) -> None:
    with pytest.raises(VerifyError):
        prepared(tmp_path, ar(members))


def test_a_compressed_member_cut_short(tmp_path: Path) -> None:
    for suffix, squeeze in SQUEEZE.items():
        data = squeeze(data_tar({"x": os.urandom(5000)}))
        parts = [("debian-binary", b"2.0\n"), ("control.tar", data_tar(CONTROL))]
        with pytest.raises(VerifyError):
            prepared(tmp_path, ar([*parts, (f"data.tar{suffix}", data[: len(data) // 2])]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 2000), noise=st.binary(min_size=1, max_size=30))
def test_noise_is_refused_or_harmless(tmp_path: Path, at: int, noise: bytes) -> None:
    data = bytearray(build(CONTROL, data_tar({"": None, "x": b"y" * 600}), control_suffix="", data_suffix=""))
    data[at : at + len(noise)] = noise
    with contextlib.suppress(VerifyError):
        contents(prepared(tmp_path, bytes(data)))
