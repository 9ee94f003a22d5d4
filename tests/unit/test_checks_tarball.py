"""Views of tarballs: every layout and compression, and what hostile archives come to."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.checks_trees import debian, file, folder, link, packed, view_of
from tmplbuild.archives import zstd
from tmplbuild.checks import check_file, tarball
from tmplbuild.checks.tarball import tarball_view
from tmplbuild.errors import StoreError, TmplbuildError, UsageError, VerifyError

BLOCK = 512
END = bytes(2 * BLOCK)


def header(
    name: bytes, kind: bytes = b"0", size: int = 0, link_to: bytes = b"", numbers: bytes | None = None
) -> bytes:
    """One tar header as bytes, with a right checksum."""
    raw = bytearray(BLOCK)
    raw[0 : len(name[:100])] = name[:100]
    raw[100:108], raw[108:116], raw[116:124] = b"0000755\0", b"0000000\0", b"0000000\0"
    raw[124:136] = numbers or b"%011o\0" % size
    raw[136:148], raw[148:156], raw[156:157] = b"00000000000\0", b" " * 8, kind
    raw[157 : 157 + len(link_to)] = link_to
    raw[257:265] = b"ustar\x0000"
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def member(name: bytes, data: bytes = b"", kind: bytes = b"0", link_to: bytes = b"") -> bytes:
    return header(name, kind, len(data), link_to) + data + bytes(-len(data) % BLOCK)


def pax(*records: tuple[str, str]) -> bytes:
    """A pax header of records."""
    body = b""
    for key, value in records:
        rest = f" {key}={value}\n".encode()
        length = len(rest) + len(str(len(rest)))
        length += len(str(length)) - len(str(len(rest)))
        body += str(length).encode() + rest
    return member(b"pax", body, b"x")


BASE = member(b"./etc/", kind=b"5") + member(b"./usr/bin/", kind=b"5")


def write(tmp_path: Path, data: bytes, name: str = "tree.tar") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def found(path: Path) -> list[tuple[str, str]]:
    return [(one.rule, one.path) for one in check_file(path).findings]


@pytest.mark.parametrize(
    "pack",
    [bytes, gzip.compress, bz2.compress, lzma.compress, zstd.compress],
    ids=["tar", "gz", "bz2", "xz", "zst"],
)
def test_compression_is_told_by_content_and_not_by_name(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = write(tmp_path, pack(packed(debian({"/tmp/x": file()}))), "tree.tar.lz4")
    assert found(path) == [("tmp-not-empty", "/tmp/x")]


def test_many_gzip_members_are_one_archive(tmp_path: Path) -> None:
    data = packed(debian({"/tmp/x": file()}))
    pieces = [gzip.compress(data[at : at + 4096]) for at in range(0, len(data), 4096)]
    assert found(write(tmp_path, b"".join(pieces))) == [("tmp-not-empty", "/tmp/x")]


@pytest.mark.parametrize("prefix", ["", "/"], ids=["bare", "absolute"])
def test_names_may_begin_otherwise_but_that_is_said(prefix: str, tmp_path: Path) -> None:
    nodes = {path.lstrip("/") or "/": node for path, node in debian({"/tmp/x": file()}).items()}
    path = write(tmp_path, packed(nodes, prefix))
    assert [rule for rule, _ in found(path)] == ["tmp-not-empty", "archive-prefix"]


def test_the_root_may_lie_in_rootfs_beside_metadata(tmp_path: Path) -> None:
    inner = packed(debian({"/tmp/x": file()}), prefix="rootfs")[: -len(END)]
    with tarfile.open(fileobj=io.BytesIO(inner)) as tar:
        assert "rootfs/tmp/x" in tar.getnames()
    path = write(tmp_path, member(b"metadata.yaml", b"architecture: x86_64\n") + inner + END)
    assert [rule for rule, _ in found(path)] == ["tmp-not-empty", "archive-prefix"]


def test_directories_that_are_only_implied_are_there(tmp_path: Path) -> None:
    with tarball_view(write(tmp_path, member(b"./etc/appliance.info", b"x") + END)) as view:
        entry = view.lstat("/etc")
        assert entry is not None
        assert (entry.kind, entry.implied) == ("dir", True)
        assert view.listdir("/") == ["etc"]


def test_a_member_behind_a_link_lands_where_the_link_leads(tmp_path: Path) -> None:
    data = BASE + member(b"./bin", kind=b"2", link_to=b"usr/bin") + member(b"./bin/ls", b"ELF") + END
    path = write(tmp_path, data)
    with tarball_view(path) as view:
        assert view.read("/usr/bin/ls") == b"ELF"
        assert view.lstat("/bin/ls") == view.lstat("/usr/bin/ls")
    assert ("archive-link", "/bin/ls") in found(path)


@pytest.mark.parametrize("target", [b"/", b"../../../..", b"/../../etc/..", b"/proc/1/root"])
def test_links_stay_inside(target: bytes, tmp_path: Path) -> None:
    data = BASE + member(b"./out", kind=b"2", link_to=target) + END
    with tarball_view(write(tmp_path, data)) as view:
        assert view.read("/out/etc/passwd") == b""
        assert view.exists("/out") is (target != b"/proc/1/root")


def test_links_in_circles_lead_nowhere(tmp_path: Path) -> None:
    data = (
        BASE
        + member(b"./etc/a", kind=b"2", link_to=b"b")
        + member(b"./etc/b", kind=b"2", link_to=b"a/x/../b")
    )
    many = b"".join(
        member(b"./etc/l%d" % number, kind=b"2", link_to=b"l%d/../l%d" % (number - 1, number - 1))
        for number in range(300)
    )
    with tarball_view(write(tmp_path, data + many + END)) as view:
        assert not view.exists("/etc/a/x")
        assert not view.exists("/etc/l299/x")


def test_a_hard_link_has_the_content_of_its_first_name(tmp_path: Path) -> None:
    data = BASE + member(b"./etc/a", b"abc") + member(b"./etc/b", kind=b"1", link_to=b"./etc/a") + END
    with tarball_view(write(tmp_path, data)) as view:
        assert view.read("/etc/b") == b"abc"


@pytest.mark.parametrize(
    ("data", "rule", "path"),
    [
        (member(b"../etc/cron.d/x", b"evil"), "archive-unsafe-name", "../etc/cron.d/x"),
        (member(b"./etc/../../x", b"evil"), "archive-unsafe-name", "./etc/../../x"),
        (pax(("path", "./" + "n" * 300)) + member(b"x"), "archive-unsafe-name", "./" + "n" * 198 + "..."),
        (member(b"./etc/a", b"1") + member(b"./etc/a", b"2"), "archive-duplicate", "/etc/a"),
        (member(b"./etc", b"a file"), "archive-duplicate", "/etc"),
        (member(b"./etc/a", kind=b"1", link_to=b"./etc/none"), "archive-link", "/etc/a"),
        (member(b"./etc/a", kind=b"1", link_to=b"./etc/a"), "archive-link", "/etc/a"),
        (member(b"etc/a"), "archive-prefix", "etc/a"),
    ],
)
def test_oddities_of_archives_are_findings(data: bytes, rule: str, path: str, tmp_path: Path) -> None:
    assert (rule, path) in found(write(tmp_path, BASE + data + END))


def test_a_good_archive_has_no_oddities(tmp_path: Path) -> None:
    nodes = debian(
        {"/etc/a b\n\udcff": file("x"), "/etc/" + "n" * 255: file(), "/etc/l": link("/"), "/etc/d": folder()}
    )
    with view_of(nodes, tmp_path) as view:
        assert view.oddities == ()


def test_the_last_of_two_wins_as_when_unpacking(tmp_path: Path) -> None:
    data = BASE + member(b"./etc/a", b"1") + member(b"./etc/a", b"22") + END
    with tarball_view(write(tmp_path, data)) as view:
        assert view.read("/etc/a") == b"22"


@pytest.mark.parametrize("sparse", ["oldgnu", "0.1", "1.0"])
def test_sparse_files_read_with_their_holes(sparse: str, tmp_path: Path) -> None:
    content = bytes(1 << 20) + b"data" + bytes(3 << 20)
    (tmp_path / "etc").mkdir()
    with (tmp_path / "etc/lastlog").open("wb") as out:
        out.seek(1 << 20)
        out.write(b"data")
        out.truncate(len(content))
    form = ["--format=oldgnu"] if sparse == "oldgnu" else ["--format=pax", f"--sparse-version={sparse}"]
    packing = ["tar", "-S", *form, "--hole-detection=raw", "-C", tmp_path, "-cf", tmp_path / "t.tar", "./etc"]
    subprocess.run(packing, check=True)
    with tarball_view(tmp_path / "t.tar") as view:
        assert view.read("/etc/lastlog", 1 << 30) == content


# -- archives that are no archives ----------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x1f\x8b",
        b"garbage" * 1000,
        bytes(10 * BLOCK),
        gzip.compress(b"", mtime=0),
        gzip.compress(BASE * 100, mtime=0)[:-20],
        lzma.compress(BASE * 100)[:-9],
        bz2.compress(BASE * 100)[:-9],
        zstd.compress(BASE * 100)[:-9],
        gzip.compress(BASE, mtime=0)[:30] + b"\xff" * 40,
        BASE[:-100],
        BASE + header(b"./etc/a", size=10_000) + b"x" * BLOCK,
        BASE + header(b"./etc/a", numbers=b"\x80" + b"\xff" * 11) + b"x" * BLOCK,
        BASE + header(b"./etc/a", numbers=b"\xff" * 12),
        BASE + header(b"./etc/a", numbers=b"notanumber!\0"),
        BASE + header(b"x", b"x", 1 << 30),
        BASE + header(b"L", b"L", (1 << 33) - 1),
        BASE + member(b"x", b"99999 path=x\n", b"x") + member(b"y"),
        BASE + member(b"x", b"no records at all", b"x") + member(b"y"),
        BASE + pax(("size", "-5")) + member(b"y"),
        BASE
        + pax(("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "9"))
        + member(b"y", b"9\n" * 9),
        BASE + member(b"y", kind=b"V"),
        BASE[:BLOCK][:-1] + b"?" + BASE,
    ],
)
def test_what_is_no_archive_is_one_clear_error(data: bytes, tmp_path: Path) -> None:
    path = write(tmp_path, data)
    with pytest.raises((VerifyError, UsageError)) as caught:
        check_file(path)
    assert caught.value.where
    assert caught.value.why


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        check_file(tmp_path / "none.tar.gz")


@pytest.mark.parametrize("name", [b"oci-layout", b"manifest.json"])
def test_a_container_image_is_told_from_a_root_file_system(name: bytes, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        check_file(write(tmp_path, member(name, b"{}") + member(b"blobs/sha256/x", b"x") + END))
    assert "docker export" in caught.value.hint


def test_no_room_for_the_contents_is_a_store_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    with pytest.raises(StoreError) as caught:
        check_file(write(tmp_path, packed(debian())))
    assert "TMPDIR" in caught.value.hint


def test_a_full_disk_is_a_store_error(tmp_path: Path) -> None:
    path = write(tmp_path, packed(debian({"/etc/big": file(b"x" * (1 << 20))})))
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from tmplbuild.checks import check_file\n"
        "from tmplbuild.errors import StoreError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    check_file(Path(sys.argv[1]))\n"
        "except StoreError as error:\n"
        "    sys.exit(42 if error.hint else 1)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == 42


# -- bombs: bounded in memory, disk and time --------------------------------------------------------


def zeros() -> bytes:
    """A file of 512 MiB of zeros."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    parts = [packer.compress(BASE + header(b"./etc/zeros", numbers=b"04000000000\0"))]
    chunk = bytes(1 << 20)
    parts += [packer.compress(chunk) for _ in range(512)]
    return b"".join([*parts, packer.compress(END), packer.flush()])


def many_members() -> bytes:
    """Thirty thousand long names."""
    names = (b"./etc/" + b"d/" * 40 + b"%06d" % number for number in range(30_000))
    return gzip.compress(BASE + b"".join(header(name) for name in names) + END, 1)


def many_records() -> bytes:
    """A pax header of 100 000 records."""
    records = b"".join(b"11 k%05d=\n" % number for number in range(95_000))
    return BASE + member(b"x", records, b"x") + member(b"./etc/a") + END


def sparse_of_exabytes() -> bytes:
    """A sparse file of 8 EiB without any content."""
    records = (
        ("GNU.sparse.map", "0,0"),
        ("GNU.sparse.size", str((1 << 63) - 1)),
        ("GNU.sparse.name", "./etc/huge"),
    )
    return BASE + pax(*records) + member(b"./etc/huge") + END


def deep() -> bytes:
    """Directories within directories, two thousand deep."""
    return BASE + pax(("path", "./etc" + "/d" * 2000)) + member(b"x") + END


@pytest.mark.parametrize("bomb", [zeros, many_members, many_records, sparse_of_exabytes, deep])
def test_bombs_are_checked_within_bounds(bomb: Callable[[], bytes], tmp_path: Path) -> None:
    path = write(tmp_path, bomb())
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from tmplbuild.checks import check_file\n"
        "from tmplbuild.errors import TmplbuildError\n"
        "resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20))\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (60, 60))\n"
        "try:\n"
        "    check_file(Path(sys.argv[1]))\n"
        "except TmplbuildError:\n"
        "    pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_names_may_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tarball, "MAX_NAMES", 10_000)
    with pytest.raises(VerifyError):
        check_file(write(tmp_path, BASE + b"".join(header(b"./etc/%090d" % n) for n in range(200)) + END))


def test_contents_may_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tarball, "MAX_CONTENT", 10_000)
    with pytest.raises(VerifyError):
        check_file(write(tmp_path, BASE + member(b"./etc/a", bytes(20_000)) + END))


def test_zeros_take_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = []
    make = tempfile.TemporaryFile

    def recording(**options: Any) -> IO[bytes]:
        files.append(make(**options))
        return files[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", recording)
    path = write(tmp_path, gzip.compress(BASE + member(b"./etc/a", bytes(16 << 20)) + END))
    with tarball_view(path) as view:
        assert os.fstat(files[0].fileno()).st_blocks == 0
        assert view.read("/etc/a", 1 << 30) == bytes(16 << 20)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_gives_findings_or_one_error(data: st.DataObject, tmp_path: Path) -> None:
    raw = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # so that the checksums do not stop it at once
        for start in range(0, len(raw) - BLOCK, BLOCK):
            if raw[start + 257 : start + 262] == b"ustar":
                raw[start + 148 : start + 156] = b" " * 8
                raw[start + 148 : start + 156] = b"%06o\0 " % sum(raw[start : start + BLOCK])
    try:
        outcome = 0 if check_file(write(tmp_path, bytes(raw))).to_json() else 1
    except TmplbuildError as error:
        outcome = error.exit_code
    assert outcome != 1


SMALL = packed(debian({"/etc/l": link("x"), "/usr/bin/n" + "n" * 120: file("x")}))
