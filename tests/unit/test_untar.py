"""Unpacking tarballs: what comes out is what GNU tar and Python put in, and nothing gets out of the root."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tmplbuild.archives import zstd
from tmplbuild.core.tarread import Limits, TarReader
from tmplbuild.core.untar import Extracted, extract, open_tarball
from tmplbuild.errors import HostError, StoreError, VerifyError

UID, GID = os.getuid(), os.getgid()
needs_root = pytest.mark.skipif(
    UID != 0, reason="directories that an archive does not mention are root's: run `make test` as root"
)


def member(name: str, kind: bytes = tarfile.REGTYPE, **attributes: object) -> tarfile.TarInfo:
    """A header that belongs to whoever runs the test."""
    info = tarfile.TarInfo(name)
    info.type, info.uid, info.gid, info.mode, info.mtime = kind, UID, GID, 0o644, 1_000_000_000
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def tarball(*rows: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive of these members with their contents."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, content in rows:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """An empty directory; beside it a file that no archive may touch."""
    place = tmp_path / "root"
    place.mkdir()
    (tmp_path / "outside").write_text("untouched")
    yield place
    assert (tmp_path / "outside").read_text() == "untouched"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "root"]


def unpack(data: bytes, root: Path, **options: object) -> Extracted:
    """Extract into `root`."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return extract(io.BytesIO(data), fd, **options)  # type: ignore[arg-type]
    finally:
        os.close(fd)


@needs_root
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_files_folders_and_links(root: Path, form: int) -> None:
    data = tarball(
        (member("./", tarfile.DIRTYPE, mode=0o755), b""),
        (member("./etc", tarfile.DIRTYPE, mode=0o750), b""),
        (member("./etc/motd", mode=0o600), b"hello\n"),
        (member("./etc/empty"), b""),
        (member("./etc/link", tarfile.SYMTYPE, linkname="/nowhere/../at all"), b""),
        (member("./etc/same", tarfile.LNKTYPE, linkname="./etc/motd"), b""),
        (member("./etc/fifo", tarfile.FIFOTYPE), b""),
        (member("./bin/su", mode=0o4755), b"x" * 3_000_000),
        form=form,
    )
    assert unpack(data, root) == Extracted(8, 3_000_006)
    state = (root / "etc/motd").stat()
    assert (state.st_mode, state.st_nlink, state.st_mtime) == (0o100600, 2, 1_000_000_000)
    assert (root / "etc/same").read_text() == "hello\n"
    assert os.readlink(root / "etc/link") == "/nowhere/../at all"
    assert (root / "etc/link").lstat().st_mtime == 1_000_000_000
    assert stat.S_ISFIFO((root / "etc/fifo").stat().st_mode)
    assert (root / "etc").stat().st_mode == 0o040750
    assert (root / "etc").stat().st_mtime == 1_000_000_000
    assert (root / "bin/su").stat().st_mode == 0o104755
    assert (root / "bin").stat().st_mode == 0o040755  # not in the archive


@needs_root
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_odd_bytes(root: Path, form: int) -> None:
    name = "a" * 90 + "/" + "ü" * 100 + "/" + os.fsdecode(b"\xff") + "c" * 150
    target = "t" * 300
    data = tarball(
        (member(name), b"x"),
        (member("link", tarfile.SYMTYPE, linkname=target), b""),
        form=form,
    )
    unpack(data, root)
    assert (root / name).read_bytes() == b"x"
    assert os.readlink(root / "link") == target


def test_times_below_a_second(root: Path) -> None:
    unpack(tarball((member("new", mtime=1.25), b""), (member("old", mtime=-2.5), b"")), root)
    assert (root / "new").stat().st_mtime_ns == 1_250_000_000
    assert (root / "old").stat().st_mtime_ns == -2_500_000_000


def test_attributes_of_users_are_kept_and_those_of_the_system_are_not(root: Path) -> None:
    headers = {"SCHILY.xattr.user.note": "kept", "SCHILY.xattr.trusted.overlay.opaque": "y"}
    unpack(tarball((member("file", pax_headers=headers), b"x")), root)
    try:
        found = {key: os.getxattr(root / "file", key) for key in os.listxattr(root / "file")}
    except OSError:
        pytest.skip("the file system of the test's directory knows no extended attributes")
    assert found.get("user.note") == b"kept"
    assert not any(key.startswith("trusted.") for key in found)


def test_devices_are_left_out(root: Path) -> None:
    data = tarball((member("null", tarfile.CHRTYPE, devmajor=1, devminor=3), b""), (member("x"), b""))
    assert unpack(data, root) == Extracted(2, 0, skipped=1)
    assert [path.name for path in root.iterdir()] == ["x"]


def test_the_later_member_of_a_name_stands(root: Path) -> None:
    data = tarball(
        (member("a"), b"first"),
        (member("a"), b"second"),
        (member("b", tarfile.DIRTYPE), b""),
        (member("b"), b"file in place of an empty directory"),
        (member("c", tarfile.SYMTYPE, linkname="a"), b""),
        (member("c", tarfile.DIRTYPE, mode=0o755), b""),
    )
    unpack(data, root)
    assert (root / "a").read_text() == "second"
    assert (root / "b").is_file()
    assert (root / "c").is_dir()
    assert not (root / "c").is_symlink()


# -- hostile ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["/outside", "../outside", "a/../../outside", "./..", "a/..", "x" * 5000])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE])
def test_names_that_leave_the_root_are_refused(root: Path, name: str, kind: bytes) -> None:
    with pytest.raises(VerifyError):
        unpack(tarball((member(name, kind, linkname="x"), b"")), root)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("target", ["../outside", "/outside", "nothing"])
def test_hard_links_out_of_the_root_are_refused(root: Path, target: str) -> None:
    with pytest.raises(VerifyError):
        unpack(tarball((member("x", tarfile.LNKTYPE, linkname=target), b"")), root)


@pytest.mark.parametrize("target", ["..", "../..", "/../..", "/tmp/../.."])
def test_links_lead_nowhere_but_into_the_root(root: Path, target: str) -> None:
    data = tarball((member("way", tarfile.SYMTYPE, linkname=target), b""), (member("way/outside"), b"!"))
    try:
        unpack(data, root)
    except (StoreError, VerifyError):
        return  # refused: as good
    assert (root / "outside").read_text() == "!" or (root / "tmp/outside").exists()


def test_a_file_written_through_a_link_stays_inside(root: Path) -> None:
    outside = root.parent / "outside"
    data = tarball((member("way", tarfile.SYMTYPE, linkname=str(outside)), b""), (member("way"), b"!"))
    unpack(data, root)
    assert (root / "way").read_text() == "!"
    assert not (root / "way").is_symlink()


def test_a_hard_link_to_a_link_does_not_follow_it(root: Path) -> None:
    data = tarball(
        (member("way", tarfile.SYMTYPE, linkname="../outside"), b""),
        (member("hard", tarfile.LNKTYPE, linkname="way"), b""),
        (member("hard"), b"!"),
    )
    unpack(data, root)
    assert (root / "hard").read_text() == "!"


def test_a_swapped_directory_gets_no_mode_through_the_link(root: Path) -> None:
    outside = root.parent / "outside"
    mode = outside.stat().st_mode
    data = tarball(
        (member("d", tarfile.DIRTYPE, mode=0o777), b""),
        (member("d", tarfile.SYMTYPE, linkname=str(outside)), b""),
    )
    unpack(data, root)
    assert outside.stat().st_mode == mode


def test_limits(root: Path) -> None:
    data = tarball(*((member(str(number)), b"12345") for number in range(10)))
    with pytest.raises(VerifyError):
        unpack(data, root, limits=Limits(members=5))
    with pytest.raises(VerifyError):
        unpack(data, root, limits=Limits(size=20))
    with pytest.raises(VerifyError, match="larger than it may be"):
        unpack(data, root, limits=Limits(stored=20))


def test_a_claim_of_a_huge_size_is_refused_before_it_is_read(root: Path) -> None:
    info = member("huge")
    info.size = 1 << 50
    data = info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    with pytest.raises(VerifyError):
        unpack(data, root)


@pytest.mark.parametrize("cut", [100, 511, 513, 700, 1100])
def test_an_archive_cut_short_is_damaged(root: Path, cut: int) -> None:
    data = tarball((member("a"), b"x" * 600), (member("b"), b"y" * 600))
    with pytest.raises(VerifyError):
        unpack(data[:cut], root)


def test_a_changed_byte_in_a_header_is_noticed(root: Path) -> None:
    data = bytearray(tarball((member("a"), b"x")))
    data[0] ^= 1
    with pytest.raises(VerifyError, match="checksum"):
        unpack(bytes(data), root)


# -- sparse ----------------------------------------------------------------------------------------


def test_an_old_sparse_file(root: Path) -> None:
    info = member("sparse", tarfile.GNUTYPE_SPARSE)
    info.size = 512
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[386:410] = b"%011o\0%011o\0" % (1 << 20, 512)
    block[483:495] = b"%011o\0" % (1 << 21)
    block[148:156] = b"%06o\0 " % (sum(block) - sum(block[148:156]) + 8 * 32)
    unpack(bytes(block) + b"s" * 512 + bytes(1024), root)
    content = (root / "sparse").read_bytes()
    assert content == bytes(1 << 20) + b"s" * 512 + bytes((1 << 21) - (1 << 20) - 512)


def pax_sparse(real: int, table: str, content: bytes) -> bytes:
    """A file in the form GNU.sparse 1.0."""
    headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "sparse"}
    headers["GNU.sparse.realsize"] = str(real)
    head = table.encode()
    return tarball((member("GNUSparseFile.0/x", pax_headers=headers), head.ljust(512, b"\0") + content))


def test_a_sparse_file_of_pax(root: Path) -> None:
    unpack(pax_sparse(100_000, "2\n0\n3\n50000\n4\n", b"abcdefg"), root)
    content = (root / "sparse").read_bytes()
    assert content == b"abc" + bytes(49_997) + b"defg" + bytes(49_996)
    assert [path.name for path in root.iterdir()] == ["sparse"]


@pytest.mark.parametrize(
    ("real", "table"),
    [
        (1 << 62, "1\n0\n3\n"),
        (10, "1\n0\n30\n"),
        (10, "2\n5\n3\n0\n3\n"),
        (10, "1\n8\n3\n"),
        (10, "99999999\n"),
        (10, "x"),
        (10, "1\n0\n2\n"),
    ],
)
def test_bad_maps_are_refused(root: Path, real: int, table: str) -> None:
    with pytest.raises(VerifyError):
        unpack(pax_sparse(real, table, b"abc"), root)


# -- compression -----------------------------------------------------------------------------------


def two_members(data: bytes) -> bytes:
    """Two gzip members, cut in the middle of a header."""
    return gzip.compress(data[:700]) + gzip.compress(data[700:])


@pytest.mark.parametrize(
    "squeeze", [bytes, gzip.compress, two_members, bz2.compress, lzma.compress, zstd.compress]
)
def test_compressed_forms(
    root: Path, tmp_path_factory: pytest.TempPathFactory, squeeze: Callable[[bytes], bytes]
) -> None:
    data = tarball((member("a"), b"x" * 2000))
    path = tmp_path_factory.mktemp("in") / "named-like-nothing"
    path.write_bytes(squeeze(data))
    fd = os.open(root, os.O_RDONLY)
    with open_tarball(path, zstd=zstd.open_reader) as stream:
        assert extract(stream, fd).bytes == 2000
    os.close(fd)


@pytest.mark.parametrize("how", ["changed", "cut"])
@pytest.mark.parametrize("squeeze", [gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_damaged_compressed_forms(
    root: Path, tmp_path_factory: pytest.TempPathFactory, squeeze: Callable[[bytes], bytes], how: str
) -> None:
    data = bytearray(squeeze(tarball((member("a"), os.urandom(20_000)))))
    if how == "changed":
        data[len(data) // 2] ^= 0xFF
    else:
        del data[len(data) // 2 :]
    path = tmp_path_factory.mktemp("in") / "bad"
    path.write_bytes(data)
    fd = os.open(root, os.O_RDONLY)
    with open_tarball(path, zstd=zstd.open_reader) as stream, pytest.raises(VerifyError):
        extract(stream, fd)
    os.close(fd)


def test_zstd_needs_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(zstd.compress(b"x"))
    with pytest.raises(HostError):
        open_tarball(path)


def test_no_tarball(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        open_tarball(tmp_path / "none")


# -- properties ------------------------------------------------------------------------------------

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=8))
def test_what_python_writes_is_read_back(rows: list[tuple[str, bytes]]) -> None:
    rows = [(name, content) for name, content in rows if not name.endswith("/")]
    data = tarball(*((member(name), content) for name, content in rows))
    reader = TarReader(io.BytesIO(data))
    assert [(one.name, b"".join(reader.chunks())) for one in reader] == rows


@settings(max_examples=150, deadline=None)
@given(noise=st.binary(max_size=3000), at=st.integers(0, 2000))
def test_noise_is_refused_or_read_and_never_breaks(noise: bytes, at: int) -> None:
    data = bytearray(tarball((member("a"), b"x" * 600), (member("b", tarfile.DIRTYPE), b"")))
    data[at : at + len(noise)] = noise
    reader = TarReader(io.BytesIO(bytes(data)), Limits(size=1 << 20))
    try:
        for _ in reader:
            for _ in reader.chunks():
                pass
    except VerifyError:
        pass


def test_global_headers_do_not_add_up() -> None:
    """A row of pax global headers with ever new keys is a bomb: each is small, they all stay."""

    class Endless(io.RawIOBase):
        def __init__(self) -> None:
            self.given = 0
            self.rest = b""

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            if not self.rest:
                record = f"comment{self.given}=".encode() + b"x" * 900_000 + b"\n"
                record = f"{len(record) + 7} ".encode() + record
                info = tarfile.TarInfo("g")
                info.type, info.size = tarfile.XGLTYPE, len(record)
                head = info.tobuf(tarfile.USTAR_FORMAT)
                self.rest = head + record + bytes(-len(record) % 512)
                self.given += 1
            size = min(len(buffer), len(self.rest))
            buffer[:size] = self.rest[:size]
            self.rest = self.rest[size:]
            return size

    stream = Endless()
    with pytest.raises(VerifyError, match="cannot be read"):
        list(TarReader(io.BufferedReader(stream), Limits()))
    assert stream.given < 10
