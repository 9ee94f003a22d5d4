"""What stands where in a packed tree, and that nothing but the tree decides it."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import socket
import tarfile
import zlib
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pack_trees import AS_WRITTEN, EPOCH, as_packed, facts, packed, plain_tree, tar_of
from tmplbuild.artifact.gzipped import PIECE
from tmplbuild.artifact.members import MemberCache
from tmplbuild.artifact.pack import pack
from tmplbuild.artifact.scan import Content, Entry, Folders, entry_of
from tmplbuild.core.tree import Tree
from tmplbuild.errors import StoreError
from tmplbuild.events import Bytes, Event, silent
from tmplbuild.managers.dpkg import listed_paths


def members_of(path: Path) -> list[bytes]:
    """The raw data of each gzip member."""
    data, found = path.read_bytes(), []
    while data:
        one = zlib.decompressobj(wbits=31)
        found.append(one.decompress(data))
        data = one.unused_data
    return found


def names_in(raw: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(raw + bytes(1024)), errors="surrogateescape") as file:
        return [member.name for member in file]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    plain_tree(root)
    return root


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two packages' files, a file of nobody's, links."""
    root = tmp_path / "small"
    for path in ("usr/bin", "etc"):
        (root / path).mkdir(parents=True)
    for path in ("usr/bin/ax", "usr/bin/bx", "etc/a.conf", "etc/local"):
        (root / path).write_text(path)
    os.link(root / "usr/bin/ax", root / "usr/bin/also-ax")
    (root / "usr/bin/alias").symlink_to("ax")
    return root


OWNERS = {
    "/usr/bin/bx": "b",
    "/usr/bin/ax": "a",
    "/usr/bin/also-ax": "b",
    "/usr/bin/alias": "a",
    "/etc/a.conf": "a",
    "/etc/gone": "a",
    "/usr/bin": "a",
}


def test_directories_then_packages_then_the_rest(small: Path, tmp_path: Path) -> None:
    done = packed(small, tmp_path / "t.tar.gz", owners=OWNERS)
    pieces = [names_in(raw) for raw in members_of(tmp_path / "t.tar.gz")]
    assert pieces == [
        [".", "./etc", "./usr", "./usr/bin"],
        ["./etc/a.conf", "./usr/bin/alias", "./usr/bin/ax"],
        ["./usr/bin/also-ax", "./usr/bin/bx"],
        ["./etc/local"],
    ]
    assert (done.members, done.entries) == (4, 10)


def test_a_link_points_back_to_another_packages_file(small: Path, tmp_path: Path) -> None:
    packed(small, tmp_path / "t.tar.gz", owners=OWNERS)
    with tarfile.open(tmp_path / "t.tar.gz") as file:
        linked = file.getmember("./usr/bin/also-ax")
    assert (linked.type, linked.linkname) == (tarfile.LNKTYPE, "./usr/bin/ax")


def test_a_file_that_was_changed_stays_in_its_packages_member(small: Path, tmp_path: Path) -> None:
    packed(small, tmp_path / "one.tar.gz", owners=OWNERS)
    (small / "etc/a.conf").write_text("edited here")
    packed(small, tmp_path / "two.tar.gz", owners=OWNERS)
    one, two = members_of(tmp_path / "one.tar.gz"), members_of(tmp_path / "two.tar.gz")
    assert [names_in(raw) for raw in one] == [names_in(raw) for raw in two]
    assert [a == b for a, b in zip(one, two, strict=True)] == [True, False, True, True]


def test_what_is_neither_file_nor_link_is_no_packages(small: Path, tmp_path: Path) -> None:
    os.mkfifo(small / "etc/pipe")
    packed(small, tmp_path / "t.tar.gz", owners={**OWNERS, "/etc/pipe": "a"})
    pieces = [names_in(raw) for raw in members_of(tmp_path / "t.tar.gz")]
    assert pieces[-1] == ["./etc/local", "./etc/pipe"]


def test_paths_asked_for_first_follow_the_directories(small: Path, tmp_path: Path) -> None:
    packed(small, tmp_path / "t.tar.gz", owners=OWNERS, first=("/usr/bin/bx", "/nowhere", "/etc/local"))
    pieces = [names_in(raw) for raw in members_of(tmp_path / "t.tar.gz")]
    assert pieces[1] == ["./usr/bin/bx", "./etc/local"]
    assert [names.count("./usr/bin/bx") for names in pieces] == [0, 1, 0, 0, 0]  # the last holds the end


def test_one_file_more_leaves_most_pieces_of_the_rest_as_they_were(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    for number in range(400):
        (root / f"f{number:03}").write_text(str(number))
    cache = MemberCache(tmp_path / "members")
    first = packed(root, tmp_path / "1.tar.gz", members=cache)
    names = [name for raw in members_of(tmp_path / "1.tar.gz") for name in names_in(raw)]
    assert names == [".", *(f"./f{number:03}" for number in range(400))]
    assert first.members > 12  # one name of sixteen ends a piece
    (root / "f200more").write_text("more")
    (root / "f399").write_text("changed")
    (root / "f000").unlink()
    second = packed(root, tmp_path / "2.tar.gz", members=cache)
    assert second.members - second.reused <= 3  # those three files' pieces


def test_a_big_file_of_a_package_is_cut(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    data = bytes(range(256)) * (3 * PIECE // 256) + b"end"
    (root / "big").write_bytes(data)
    (root / "small").write_bytes(b"!")
    owners = {"/big": "a", "/small": "a"}
    packed(root, tmp_path / "t.tar.gz", owners=owners)
    sizes = [len(raw) for raw in members_of(tmp_path / "t.tar.gz")]
    assert max(sizes) == PIECE
    with tarfile.open(tmp_path / "t.tar.gz") as file:
        assert [member.name for member in file] == [".", "./big", "./small"]
        content = file.extractfile("./big")
        assert content is not None
        assert content.read() == data


def test_the_figures_are_those_of_the_file(tree: Path, tmp_path: Path) -> None:
    done = packed(tree, tmp_path / "t.tar.gz")
    data, raw = (tmp_path / "t.tar.gz").read_bytes(), tar_of(tmp_path / "t.tar.gz")
    assert (done.size, done.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert done.tar_size == len(raw)
    assert done.entries == len(names_in(raw)) == len(facts(tree))
    assert done.members == len(members_of(tmp_path / "t.tar.gz"))


def test_times_are_clamped(tree: Path, tmp_path: Path) -> None:
    packed(tree, tmp_path / "t.tar.gz")
    with tarfile.open(tmp_path / "t.tar.gz", errors="surrogateescape") as file:
        times = {member.name: member.mtime for member in file}
    assert times["./etc/far"] == EPOCH
    assert times["./etc/zero-time"] == times["./etc/before-1970"] == 0
    assert times["./etc/over"] == EPOCH


def test_directories_bear_the_epoch(tree: Path, tmp_path: Path) -> None:
    assert os.lstat(tree / "usr").st_mtime == 1_000_000_000
    packed(tree, tmp_path / "t.tar.gz")
    with tarfile.open(tmp_path / "t.tar.gz", errors="surrogateescape") as file:
        assert {member.mtime for member in file if member.isdir()} == {EPOCH}


def test_a_lock_that_came_and_went_does_not_show(small: Path, tmp_path: Path) -> None:
    os.utime(small / "etc", (1_000_000_000, 1_000_000_000))
    one = packed(small, tmp_path / "one.tar.gz")
    (small / "etc/.pwd.lock").write_text("")
    (small / "etc/.pwd.lock").unlink()
    assert packed(small, tmp_path / "two.tar.gz").sha256 == one.sha256


@pytest.mark.parametrize("jobs", [1, 3, 8])
def test_threads_and_place_do_not_show(tree: Path, tmp_path: Path, jobs: int) -> None:
    packed(tree, tmp_path / "one.tar.gz", jobs=2)
    (tmp_path / "another place").mkdir()
    plain_tree(tmp_path / "another place" / "tree")
    _same_times(tree, tmp_path / "another place" / "tree")
    packed(tmp_path / "another place" / "tree", tmp_path / "two.tar.gz", jobs=jobs)
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_a_members_head_tells_no_time_and_no_name(small: Path, tmp_path: Path) -> None:
    packed(small, tmp_path / "t.tar.gz")
    head = (tmp_path / "t.tar.gz").read_bytes()[:10]
    assert head[3:8] == bytes(5)  # no flags, mtime 0 (RFC 1952, 2.3)
    assert head[9] == 255  # system unknown


def test_a_tree_may_be_a_descriptor(small: Path, tmp_path: Path) -> None:
    packed(small, tmp_path / "by-path.tar.gz")
    fd = os.open(small, os.O_RDONLY | os.O_DIRECTORY)
    buffer = io.BytesIO()
    with Tree(fd) as tree:
        pack(tree, buffer, epoch=EPOCH, owners={}, level=6, members=None, jobs=1, emit=silent)
    assert buffer.getvalue() == (tmp_path / "by-path.tar.gz").read_bytes()


def test_a_path_longer_than_the_kernel_takes_is_packed(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(20):
        os.mkdir("d" * 240, dir_fd=fd)
        below = os.open("d" * 240, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("deep", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
    os.close(fd)
    packed(root, tmp_path / "t.tar.gz")
    assert "./" + ("d" * 240 + "/") * 20 + "deep" in names_in(tar_of(tmp_path / "t.tar.gz"))
    shutil.rmtree(root)


def test_sockets_are_left_out(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("etc/socket")
        packed(small, tmp_path / "t.tar.gz")
    assert "./etc/socket" not in names_in(tar_of(tmp_path / "t.tar.gz"))


def test_progress_is_told_to_its_end(tree: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    packed(tree, tmp_path / "t.tar.gz", emit=events.append)
    told = [event for event in events if isinstance(event, Bytes)]
    assert [event.ended for event in told[-2:]] == [False, True]
    assert told[-1].done == told[-1].total > 0
    assert [event.done for event in told] == sorted(event.done for event in told)


def test_an_error_of_the_output_is_the_outputs(small: Path) -> None:
    class Full(io.RawIOBase, BinaryIO):  # type: ignore[misc]
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    with Tree(small) as tree, pytest.raises(OSError, match="No space left") as caught:
        pack(tree, Full(), epoch=EPOCH, owners={}, level=6, members=None, jobs=2, emit=silent)
    assert not isinstance(caught.value, StoreError)


def entry(root: Path, name: str) -> Entry:
    return entry_of(name.encode(), os.lstat(root / name))


@pytest.mark.parametrize("change", ["grow", "shrink", "vanish", "fifo", "link", "replace"])
def test_a_file_that_changes_meanwhile_is_an_error(tmp_path: Path, change: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    listed = entry(tmp_path, "file")
    with Tree(tmp_path) as tree, Folders(tree.fd) as folders:
        if change == "grow":
            path.write_bytes(b"0123456789+")
        elif change == "shrink":
            path.write_bytes(b"01234")
        else:
            path.rename(tmp_path / "moved")
        if change == "fifo":
            os.mkfifo(path)
        elif change == "link":
            path.symlink_to("moved")
        elif change == "replace":
            path.write_bytes(b"0123456789")
        with pytest.raises(StoreError, match="changed while") as caught, Content(folders, listed):
            pass
    assert caught.value.where == "/file"


@pytest.mark.parametrize("size", [5, 15])
def test_a_file_that_changes_while_it_is_open_is_an_error(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with Tree(tmp_path) as tree, Folders(tree.fd) as folders:
        with Content(folders, entry(tmp_path, "file")) as content:
            os.truncate(path, size)
            with pytest.raises(StoreError, match="changed while"):
                content.into(memoryview(bytearray(10)))


def test_merged_usr_and_conffiles_are_seen_through_dpkgs_eyes(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    info = root / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (root / "usr/bin").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "bin").symlink_to("usr/bin")
    (root / "usr/bin/ls").write_text("ls")
    (root / "etc/ls.conf").write_text("edited")
    (root / "etc/local").write_text("nobody's")
    (root / "var/lib/dpkg/status").write_text(
        "Package: ls\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n"
        f"Conffiles:\n /etc/ls.conf {'0' * 32}\n"
    )
    (info / "ls.list").write_text("/.\n/bin\n/bin/ls\n/etc/ls.conf\n")
    with Tree(root) as tree:
        owners = listed_paths(tree)
    packed(root, tmp_path / "t.tar.gz", owners=owners)
    pieces = [names_in(raw) for raw in members_of(tmp_path / "t.tar.gz")]
    # /bin itself is a link that the package lists, hence in its member as well
    assert [name for name in pieces[1] if name != "./bin"] == ["./etc/ls.conf", "./usr/bin/ls"]
    assert "./etc/local" in [name for names in pieces[2:] for name in names]


contents = st.binary(max_size=3000)
some_names = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 200
)


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.tuples(some_names, some_names), contents, max_size=12),
    st.dictionaries(some_names, st.sampled_from(["a", "b", "c"]), max_size=12),
)
def test_any_tree_comes_back(
    tmp_path_factory: pytest.TempPathFactory, files: dict[tuple[str, str], bytes], claims: dict[str, str]
) -> None:
    root = tmp_path_factory.mktemp("any")
    tree = root / "tree"
    tree.mkdir()
    for (folder, name), data in files.items():
        (tree / folder).mkdir(exist_ok=True)
        (tree / folder / name).write_bytes(data)
    owners = {f"/{folder}/{name}": claims.get(name, "z") for folder, name in files}
    packed(tree, root / "t.tar.gz", owners=owners)
    with tarfile.open(root / "t.tar.gz", errors="surrogateescape") as file:
        file.extractall(root / "out", **AS_WRITTEN)
    assert facts(root / "out") == as_packed(tree)
    shutil.rmtree(root)


def _same_times(one: Path, other: Path) -> None:
    for path, _, names in os.walk(one, topdown=False):
        for name in [*names, "."]:
            source = os.path.join(path, name)
            target = os.path.join(other, os.path.relpath(source, one))
            state = os.lstat(source)
            os.utime(target, ns=(state.st_atime_ns, state.st_mtime_ns), follow_symlinks=False)
