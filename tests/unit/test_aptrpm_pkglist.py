"""Package lists: a real one of p10, invented ones, and what hostile hands may make of them."""

from __future__ import annotations

import hashlib
import lzma
import random
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.aptrpm_branch import branch_list
from tests.aptrpm_factory import COMPRESS, list_entry
from tests.rpm_factory import File, Rpm, Tag, pack_header
from tmplbuild.archives.aptrpm import entry as entries
from tmplbuild.archives.aptrpm import header, pkglist
from tmplbuild.archives.aptrpm.entry import Source
from tmplbuild.archives.aptrpm.header import MAGIC, Header
from tmplbuild.archives.aptrpm.pkglist import headers
from tmplbuild.archives.aptrpm.pool import PackageList, Pool
from tmplbuild.errors import VerifyError

REAL = Path(__file__).parents[1] / "data" / "altlinux" / "p10-checkinstall.pkglist.xz"
SOURCE = Source("altlinux", "p10/branch/x86_64")


def use(data: bytes) -> list[str]:
    """Read a list as a closure does, down to the last value that is ever asked for."""
    pool = Pool([PackageList(data, SOURCE, "list")], "x86_64", "p10")
    names = []
    for number in range(len(pool)):
        entry = pool.entry(number)
        pool.package(number)
        for dep in (*entry.requires, *entry.conflicts):
            pool.satisfying(dep)
        pool.named(entry.name)
        names.append(entry.name)
    pool.satisfying(entries.Dep("/usr/bin/x"))
    return names


def told(data: bytes) -> bool:
    """Whether a list is read, or refused by an error that says where. Any other exception gets out."""
    try:
        use(data)
    except VerifyError as error:
        return bool(error.where and error.why)
    return True


@pytest.fixture(scope="module")
def good() -> bytes:
    """A short list with everything in it."""
    return b"".join(
        list_entry(rpm)
        for rpm in (
            Rpm("one", requires=("two >= 1.0", "/usr/bin/x", "rpmlib(PayloadIsXz) <= 5.2-1"), epoch=3),
            Rpm("two", provides=("libtwo.so.2()(64bit) = set:hdf7q2P5VZwtLGr9TKxhrEM1",), disttag="p10+1.1"),
            Rpm("three", files=(File("/usr/bin/x"), File("/usr/lib64/y")), obsoletes=("four < 2",)),
        )
    )


# -- the real list -----------------------------------------------------------------------------------


def test_the_real_list_is_read_whole() -> None:
    data = lzma.decompress(REAL.read_bytes())
    assert len(data) == 240_792
    found = list(headers(data, "list"))
    assert [head.end for head in found][-1] == len(data)
    assert len(found) == 14
    assert len(use(data)) == 14


def test_a_package_of_the_real_list_is_what_alts_own_tools_say() -> None:
    data = lzma.decompress(REAL.read_bytes())
    pool = Pool([PackageList(data, SOURCE, "list")], "x86_64", "p10")
    (kernel,) = pool.named("kernel-image-std-def-checkinstall")
    assert str(kernel.build) == "2:5.10.253-alt1"
    assert kernel.build.disttag == "p10+415595.100.2.1"
    assert kernel.arch == "x86_64"
    assert str(kernel.itself) == "kernel-image-std-def-checkinstall = 2:5.10.253-alt1:p10+415595.100.2.1"
    assert [str(dep) for dep in kernel.provides] == [str(kernel.itself)]
    assert str(kernel.requires[2]) == "kernel-image-std-def = 2:5.10.253-alt1:p10+415595.100.2.1"
    assert all(dep.met_by_rpm() for dep in kernel.requires if dep.of_rpm)
    (first,) = pool.named("control++-checkinstall")
    package = pool.package(first.number)
    assert package.filename == (
        "p10/branch/x86_64/RPMS.checkinstall/control++-checkinstall-0.21.0-alt1.x86_64.rpm"
    )
    assert package.size == 15_917
    assert package.sha256.startswith("blake2b:4cc8f21e59826f27365301685b6a7dfbe339af3051e316d7")
    assert package.fields["GROUP"] == "Other"
    assert package.fields["DISTTAG"] == "p10+294969.200.3.1"
    assert package.fields["SOURCERPM"] == "control++-0.21.0-alt1.src.rpm"


def test_the_real_lists_tags_are_all_known_to_the_factory() -> None:
    data = lzma.decompress(REAL.read_bytes())
    ours = next(headers(list_entry(Rpm("x", disttag="p10+1", epoch=1, files=(File("/usr/bin/x"),))), "list"))
    log = {1080, 1081, 1082}
    known = {*ours.tags(), *log, header.CONFLICTNAME, header.CONFLICTFLAGS, header.CONFLICTVERSION}
    for head in headers(data, "list"):
        assert set(head.tags()) <= known


# -- form --------------------------------------------------------------------------------------------


def test_a_list_of_the_factory_is_read(good: bytes) -> None:
    assert use(good) == ["one", "two", "three"]
    assert use(b"") == []


def test_an_index_in_any_order_is_read(good: bytes) -> None:
    head = next(headers(good, "list"))
    count = len(head.tags())
    rows = [good[16 + 16 * n : 32 + 16 * n] for n in range(count)]
    random.Random(1).shuffle(rows)
    mixed = good[:16] + b"".join(rows) + good[16 + 16 * count :]
    assert use(mixed) == ["one", "two", "three"]


def test_old_lists_without_newer_tags_are_read() -> None:
    rpm = Rpm("old", built=None)
    assert use(list_entry(rpm, hashes=("md5",))) == ["old"]
    pool = Pool([PackageList(list_entry(rpm, hashes=("md5",)), SOURCE, "list")], "x86_64")
    assert pool.package(0).sha256 == "md5:" + hashlib.md5(rpm.filename.encode()).hexdigest()


def test_sha256_is_taken_before_md5() -> None:
    pool = Pool([PackageList(list_entry(Rpm("x"), hashes=("md5", "sha256")), SOURCE, "list")], "x86_64")
    assert len(pool.package(0).sha256) == 64


@pytest.mark.parametrize("suffix", [".xz", ".bz2", ".zst", ""])
def test_a_list_is_unpacked(good: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(COMPRESS[suffix](good))
    assert pkglist.unpack(path, suffix, size=len(good), where="list") == good
    for size in (len(good) - 1, len(good) + 1):
        with pytest.raises(VerifyError, match="not as long"):
            pkglist.unpack(path, suffix, size=size, where="list")


@pytest.mark.parametrize("suffix", [".xz", ".bz2", ".zst"])
def test_damage_in_a_compressed_list_is_an_error(good: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "list"
    packed = COMPRESS[suffix](good)
    for broken in (packed[: len(packed) // 2], b"", packed[:9] + b"\xff\xff" + packed[11:], b"nothing"):
        path.write_bytes(broken)
        with pytest.raises(VerifyError):
            pkglist.unpack(path, suffix, size=len(good), where="list")


@pytest.mark.parametrize("suffix", [".xz", ".bz2", ".zst"])
def test_a_bomb_is_not_unpacked(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(COMPRESS[suffix](bytes(64 << 20)))
    tracemalloc.start()
    try:
        with pytest.raises(VerifyError, match="more than 1000 bytes"):
            pkglist.unpack(path, suffix, size=1000, where="list")
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


# -- hostile lists -----------------------------------------------------------------------------------


def raw(
    entries_: list[tuple[int, int, int, int]], data: bytes, *, il: int | None = None, dl: int | None = None
) -> bytes:
    rows = b"".join(struct.pack(">IIII", *row) for row in entries_)
    sizes = struct.pack(">II", len(entries_) if il is None else il, len(data) if dl is None else dl)
    return MAGIC + sizes + rows + data


@pytest.mark.parametrize(
    "data",
    [
        b"\x8e\xad\xe8",
        MAGIC,
        MAGIC + b"\0" * 7,
        b"\x8e\xad\xe8\x02" + bytes(12),
        raw([], b"", il=1),
        raw([], b"", dl=1),
        raw([], b"", il=0xFFFFFFFF, dl=0xFFFFFFFF),
        raw([], b"", il=0x10000),
        raw([(1000, header.STRING, 5, 1)], b"name\0"[:4]),
        raw([(1000, header.STRING, 0xFFFFFFFF, 1)], b"name\0"),
        raw([(1000, header.STRING, 0, 0xFFFFFFFF)], b"name\0"),
        raw([(1000, 99, 0, 1)], b"name\0"),
        raw([(1000, header.STRING, 0, 1)], b"name"),
        raw([(1000, header.STRING, 0, 2)], b"name\0name\0"),
        raw([(1000, header.INT32, 0, 1)], b"name"),
        raw([(1000, header.STRING, 0, 1), (1022, header.STRING, 0, 0)], b"x86_64\0"),
        list_entry(Rpm("x")) + b"\0",
        list_entry(Rpm("../../etc/passwd")),
        list_entry(Rpm("")),
        list_entry(Rpm("x", version="")),
        list_entry(Rpm("x"), hashes=()),
        list_entry(Rpm("x"), component="../../.."),
        list_entry(Rpm("x", version="1/../../2")),
    ],
)
def test_a_malformed_list_is_one_clear_error(data: bytes) -> None:
    with pytest.raises(VerifyError) as caught:
        use(data)
    assert caught.value.where
    assert caught.value.why


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        (Tag(header.PROVIDEVERSION, header.STRINGS, ["1", "2"]), "do not fit each other"),
        (Tag(header.PROVIDEFLAGS, header.INT32, [1, 2, 3]), "do not fit each other"),
        (Tag(header.PROVIDENAME, header.INT32, [1]), "no array of strings"),
        (Tag(header.EPOCH, header.INT32, [1, 2]), "where one belongs"),
        (Tag(header.EPOCH, header.STRING, "1"), "no numbers"),
        (Tag(header.APT_BLAKE2B, header.STRING, "xyz"), "malformed"),
        (Tag(header.APT_FILESIZE, header.STRINGS, ["1"]), "no numbers"),
        (Tag(header.APT_FILENAME, header.STRING, "../x.rpm"), "outside the archive"),
        (Tag(header.APT_DIRECTORY, header.STRING, "http://elsewhere"), "outside the archive"),
    ],
)
def test_a_wrong_value_is_one_clear_error(tag: Tag, message: str) -> None:
    head = next(headers(list_entry(Rpm("x")), "list"))
    count = len(head.tags())
    data = list_entry(Rpm("x"))
    rows = [row for row in struct.iter_unpack(">IIII", data[16 : 16 + 16 * count]) if row[0] != tag.number]
    extra = pack_header([tag])
    kind, offset, amount = struct.unpack(">III", extra[20:32])
    store = data[16 + 16 * count :]
    store += bytes(-len(store) % 4)
    rows.append((tag.number, kind, len(store) + offset, amount))
    with pytest.raises(VerifyError, match=message) as caught:
        use(raw(rows, store + extra[32:]))
    assert message in str(caught.value)


def test_files_that_do_not_fit_each_other_are_an_error() -> None:
    for indexes in ([0], [0, 7]):
        data = pack_header(
            [
                Tag(header.NAME, header.STRING, "x"),
                Tag(header.ARCH, header.STRING, "x86_64"),
                Tag(header.BASENAMES, header.STRINGS, ["a", "b"]),
                Tag(header.DIRNAMES, header.STRINGS, ["/"]),
                Tag(header.DIRINDEXES, header.INT32, indexes),
            ]
        )
        with pytest.raises(VerifyError, match="lists of files"):
            next(headers(data, "list")).paths()


def test_counts_that_cost_memory_are_refused() -> None:
    many = (1 << 20) + 1
    data = raw([(header.PROVIDENAME, header.STRINGS, 0, many)], bytes(many))
    with pytest.raises(VerifyError, match=f"{many} values"):
        Header(data, 0, "list").strings(header.PROVIDENAME)


def test_a_list_of_nothing_but_values_costs_a_small_multiple_of_its_size() -> None:
    count = 200_000
    one = pack_header(
        [
            Tag(header.NAME, header.STRING, "x"),
            Tag(header.ARCH, header.STRING, "noarch"),
            Tag(header.PROVIDENAME, header.STRINGS, ["ab"] * count),
        ]
    )
    tracemalloc.start()
    try:
        Pool([PackageList(one, SOURCE, "list")], "x86_64")
        assert tracemalloc.get_traced_memory()[1] < 40 * len(one)
    finally:
        tracemalloc.stop()


def mutations() -> st.SearchStrategy[list[tuple[float, bytes]]]:
    change = st.sampled_from(
        [
            b"\0",
            b"\xff",
            b"\xff\xff\xff\xff",
            b"\0\0\0\0",
            b"\x7f\xff\xff\xff",
            b"\x80\0\0\0",
            b"\0\0\0\1",
            MAGIC,
        ]
    ) | st.binary(min_size=1, max_size=6)
    return st.lists(st.tuples(st.floats(0, 1, exclude_max=True), change), min_size=1, max_size=4)


@settings(max_examples=400, deadline=None)
@given(changes=mutations(), cut=st.floats(0.5, 1))
def test_any_mutation_is_read_or_one_clear_error(
    good: bytes, changes: list[tuple[float, bytes]], cut: float
) -> None:
    data = bytearray(good)
    for place, change in changes:
        at = int(place * len(data))
        data[at : at + len(change)] = change
    assert told(bytes(data[: int(cut * len(data))]))


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300), magic=st.booleans())
def test_any_bytes_are_read_or_one_clear_error(data: bytes, magic: bool) -> None:
    assert told(MAGIC + data if magic else data)


def test_every_header_of_an_invented_branch_is_read() -> None:
    data = branch_list(600, log_entries=3)
    assert len(use(data)) == 600
