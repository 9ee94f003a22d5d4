"""Reading .rpm files: what the factory writes, and what hostile hands may make of it."""

from __future__ import annotations

import hashlib
import os
import struct
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rpm_factory import WHEN, File, Rpm, build_rpm, cpio_entry
from tmplbuild.archives.aptrpm.cpio import CpioReader, Limits
from tmplbuild.archives.aptrpm.rpmfile import CONFIG, GHOST, NOREPLACE, FileInfo, open_rpm
from tmplbuild.errors import VerifyError

FILES = (
    File("/etc/hello.conf", b"x=1\n", flags=CONFIG | NOREPLACE, group="wheel", mode=0o100640),
    File("/usr/bin/hello", b"#!/bin/sh\n" * 1000, mode=0o104755, links=("/usr/bin/hallo", "/usr/bin/hullo")),
    File("/usr/bin/link", b"../bin/hello", mode=0o120777),
    File("/usr/bin/ping", b"ping", mode=0o100755, caps="cap_net_raw=ep"),
    File("/usr/share/empty", links=("/usr/share/void",)),
    File("/usr/share/dir", mode=0o042755, group="mail"),
    File("/var/log/hello", flags=GHOST),
    File("/run/pipe", mode=0o010600),
)


def read(path: Path) -> tuple[list[tuple[str, str, str, bytes]], dict[str, FileInfo]]:
    """The payload's contents as (kind, path, target, content), and the header's files."""
    fd = os.open(path, os.O_RDONLY)
    try:
        with open_rpm(fd, path.name) as package:
            found = [
                (one.kind, one.file.path, one.target, b"".join(one.chunks)) for one in package.contents()
            ]
            return found, {file.path: file for file in package.files}
    finally:
        os.close(fd)


def written(folder: Path, data: bytes) -> Path:
    path = folder / "package.rpm"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("stripped", [False, True])
@pytest.mark.parametrize("kind", ["xz", "lzma", "gzip", "bzip2", "zstd", "none"])
def test_a_package_is_read_whole(kind: str, stripped: bool, tmp_path: Path) -> None:
    rpm = Rpm("hello", files=FILES, payload=kind, stripped=stripped)
    contents, files = read(written(tmp_path, build_rpm(rpm)))
    found = {path: (what, target, data) for what, path, target, data in contents}
    script = b"#!/bin/sh\n" * 1000
    assert found["etc/hello.conf"] == ("file", "", b"x=1\n")
    assert found["usr/bin/link"] == ("symlink", "", b"")
    assert files["usr/bin/link"].link == "../bin/hello"
    assert found["usr/share/dir"][0] == "dir"
    assert found["run/pipe"][0] == "fifo"
    names = ["usr/bin/hallo", "usr/bin/hello", "usr/bin/hullo"]
    assert sorted(found[name][0] for name in names) == ["file", "hardlink", "hardlink"]
    assert [data for name in names if (data := found[name][2])] == [script]
    assert sorted(found[name][0] for name in ("usr/share/empty", "usr/share/void")) == ["file", "hardlink"]
    assert "var/log/hello" not in found
    assert files["var/log/hello"].flags == GHOST
    assert files["etc/hello.conf"] == FileInfo(
        path="etc/hello.conf",
        kind="file",
        mode=0o640,
        user="root",
        group="wheel",
        mtime=WHEN,
        size=4,
        flags=CONFIG | NOREPLACE,
        inode=(1, 1),
    )
    assert files["usr/bin/hello"].mode == 0o4755
    assert files["usr/bin/ping"].caps == "cap_net_raw=ep"
    assert files["usr/share/dir"].group == "mail"


def test_a_hard_link_comes_after_the_file_that_it_names(tmp_path: Path) -> None:
    contents, _ = read(written(tmp_path, build_rpm(Rpm("hello", files=FILES))))
    made: set[str] = set()
    for what, path, target, _ in contents:
        assert what != "hardlink" or target in made
        made.add(path)


def test_a_package_without_files_is_read(tmp_path: Path) -> None:
    assert read(written(tmp_path, build_rpm(Rpm("empty")))) == ([], {})


def test_scripts_and_dependencies_are_read(tmp_path: Path) -> None:
    rpm = Rpm("x", epoch=2, disttag="p11+1.1", requires=("y >= 1",), scripts={"post": "exit 0\n"})
    fd = os.open(written(tmp_path, build_rpm(rpm)), os.O_RDONLY)
    with open_rpm(fd, "x") as package:
        assert package.scripts == {"post": ("/bin/sh", "exit 0\n")}
        assert str(package.entry.itself) == "x = 2:1.0-alt1:p11+1.1"
        assert str(package.entry.requires[0]) == "y >= 1"
    os.close(fd)


# -- hostile packages --------------------------------------------------------------------------------


def forged(members: Sequence[bytes], *files: File) -> bytes:
    """A package whose header names `files`, with another payload."""
    good = build_rpm(Rpm("evil", files=files, payload="none"))
    payload = b"".join(members) + cpio_entry("TRAILER!!!", b"", mode=0)
    return good[: good.index(b"070701")] + payload


PLAIN = File("/usr/bin/x", b"four")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([cpio_entry("./etc/shadow", b"four", mode=0o100644)], "does not name"),
        ([cpio_entry("./../../etc/shadow", b"four", mode=0o100644)], "leave its root"),
        ([cpio_entry("./usr/bin/x", b"four", mode=0o120777)], "another type"),
        ([cpio_entry("./usr/bin/x", b"fours", mode=0o100755)], "has 5 bytes, not 4"),
        ([cpio_entry("./usr/bin/x", b"four", mode=0o100755)] * 2, "twice"),
        ([cpio_entry("./usr/bin/x", b"four", mode=0o100755).replace(b"070701", b"070707")], "malformed"),
        ([cpio_entry("./usr/bin/x", b"four", mode=0o100755)[:-2]], "malformed"),
        ([b"070701" + b"F" * 104], "name has"),
        ([b"070701" + b"G" * 104], "malformed"),
        ([cpio_entry("./usr\0bin", b"", mode=0o100755)], "name does not end"),
        ([cpio_entry("./usr/bin/x", b"", mode=0o100755, links=2)], "no content"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused(members: list[bytes], message: str, tmp_path: Path) -> None:
    with pytest.raises(VerifyError, match=message):
        read(written(tmp_path, forged(members, PLAIN)))


@pytest.mark.parametrize(
    "files",
    [
        (File("/usr/../../etc/passwd", b"x"),),
        (File("usr/bin/x", b"x"),),
        (File("/usr//bin/x", b"x"),),
        (File("/usr/bin/a\nb", b"x"),),
        (File("/dev/odd", mode=0o150000),),
    ],
)
def test_a_header_with_odd_names_is_refused(files: tuple[File, ...], tmp_path: Path) -> None:
    with pytest.raises(VerifyError):
        read(written(tmp_path, build_rpm(Rpm("evil", files=files))))


def test_a_link_that_leads_elsewhere_than_the_header_says_is_refused(tmp_path: Path) -> None:
    link = File("/usr/bin/l", b"good", mode=0o120777)
    with pytest.raises(VerifyError, match="leads elsewhere"):
        read(written(tmp_path, forged([cpio_entry("./usr/bin/l", b"evil", mode=0o120777)], link)))


def test_a_number_of_no_file_is_refused(tmp_path: Path) -> None:
    data = build_rpm(Rpm("hello", files=FILES, payload="none", stripped=True))
    at = data.rindex(b"07070X")
    with pytest.raises(VerifyError, match="does not fit its header"):
        read(written(tmp_path, data[: at + 6] + b"000000FF" + data[at + 14 :]))


def test_damage_is_refused(tmp_path: Path) -> None:
    good = build_rpm(Rpm("hello", files=FILES))
    for broken in (
        b"",
        b"\xed\xab\xee\xdb",
        good[:90],
        good[:200],
        good[:-20],
        good.replace(b"hello.conf", b"hallo.conf", 1),
        good[: good.index(b"\xfd7zXZ")],
        good.replace(b"\xfd7zXZ\0", b"\xfd7zXY\0"),
        good[: good.index(b"\xfd7zXZ") + 40] + b"\0\0\0\0" + good[good.index(b"\xfd7zXZ") + 44 :],
    ):
        with pytest.raises(VerifyError):
            read(written(tmp_path, broken))


def test_a_huge_header_is_not_read(tmp_path: Path) -> None:
    good = bytearray(build_rpm(Rpm("hello", files=FILES)))
    good[96 + 12 : 96 + 16] = struct.pack(">I", 0xF0000000)
    tracemalloc.start()
    try:
        with pytest.raises(VerifyError, match="cut short"):
            read(written(tmp_path, bytes(good)))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_stream_is_bounded() -> None:
    class Endless:
        def read(self, size: int = -1, /) -> bytes:
            return cpio_entry("a", b"", mode=0o100644)[:size]

    reader = CpioReader(Endless(), "x", Limits(members=5))
    with pytest.raises(VerifyError):
        for _ in reader:
            pass


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(["xz", "gzip", "bzip2", "zstd", "none", "lzma"]),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)), max_size=3
    ),
    cut=st.floats(0.3, 1),
)
def test_any_mutation_is_read_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, kind: str, changes: list[tuple[float, bytes]], cut: float
) -> None:
    data = bytearray(build_rpm(Rpm("hello", files=FILES, payload=kind)))
    for place, change in changes:
        at = int(place * len(data))
        data[at : at + len(change)] = change
    path = tmp_path_factory.getbasetemp() / f"{hashlib.sha256(data).hexdigest()}.rpm"
    path.write_bytes(data[: int(cut * len(data))])
    try:
        read(path)
    except VerifyError:
        return
    finally:
        path.unlink()
