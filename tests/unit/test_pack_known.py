"""What did not change since the last pack is not read again, and what is new is read back and compared."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pack_trees import EPOCH, plain_tree
from tmplbuild.artifact.gunzipped import open_members
from tmplbuild.artifact.gzipped import Gone
from tmplbuild.artifact.known import Known
from tmplbuild.artifact.members import MemberCache
from tmplbuild.artifact.pack import Packed, pack
from tmplbuild.artifact.readback import compare, read_back
from tmplbuild.core.tree import Tree
from tmplbuild.errors import StoreError
from tmplbuild.events import silent

OWNERS = {"/usr/bin/one": "a", "/usr/bin/big": "a", "/usr/bin/two": "b", "/usr/bin/uno": "b"}
"""`uno` is another name of `one`: a link from one package's group into another's."""


@dataclass
class Place:
    """A tree, and what packing it again and again needs."""

    root: Path
    members: MemberCache
    place: Path
    count: int = 0

    @property
    def file(self) -> Path:
        return self.place / f"{self.count}.tar.gz"

    def pack(self, *, known: bool = True, save: bool = True) -> Packed:
        """Pack into a new file, which is read back."""
        self.count += 1
        memory = Known(self.place / "known.json") if known else None
        with Tree(self.root) as tree, self.file.open("wb") as out:
            done = pack(
                tree,
                out,
                epoch=EPOCH,
                owners=OWNERS,
                level=1,
                members=self.members,
                jobs=2,
                emit=silent,
                known=memory,
            )
        self.read_back(done)
        if memory is not None and save:
            memory.save()
        return done

    def read_back(self, done: Packed) -> int:
        with Tree(self.root) as tree:
            return read_back(self.file, tree.fd, done.fresh, epoch=EPOCH, jobs=2)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    root = tmp_path / "tree"
    plain_tree(root)
    (root / "etc/passwd").unlink(missing_ok=True)
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/local").write_text("local\n")
    return Place(root, MemberCache(tmp_path / "members"), tmp_path)


def paths(done: Packed) -> set[bytes]:
    """The files that were taken from the tree."""
    return {entry.path for part in done.fresh for entry in part.entries}


def test_the_second_time_only_directories_are_looked_into(place: Place) -> None:
    first, second = place.pack(), place.pack()
    assert first.sha256 == second.sha256 == place.pack(known=False).sha256
    assert (first.tar_size, first.entries) == (second.tar_size, second.entries)
    assert b"usr/bin/one" in paths(first)
    assert not {path for path in paths(second) if (place.root / os.fsdecode(path)).is_file()}


@pytest.mark.parametrize("what", ["content", "mode", "time", "name", "link"])
def test_a_group_that_changed_is_read_again_and_no_other(place: Place, what: str) -> None:
    place.pack()
    two = place.root / "usr/bin/two"
    state = two.stat()
    if what == "content":
        two.write_bytes(b"t00 program\n")  # as long, and as old
        os.utime(two, ns=(state.st_atime_ns, state.st_mtime_ns))
    elif what == "mode":
        two.chmod(0o700)
    elif what == "time":
        os.utime(two, (0, 5))
    elif what == "name":
        two.rename(place.root / "usr/bin/Two")
    else:
        os.link(two, place.root / "usr/bin/another")
    done = place.pack()
    assert done.sha256 == place.pack(known=False).sha256
    assert b"usr/bin/one" not in paths(done)


def test_a_link_into_a_known_group_stays_one(place: Place) -> None:
    place.pack()
    (place.root / "usr/bin/two").write_bytes(b"another\n")
    done = place.pack()
    assert b"usr/bin/uno" in paths(done)  # of the changed group
    assert b"usr/bin/one" not in paths(done)
    assert done.sha256 == place.pack(known=False).sha256


def test_a_member_that_is_gone_or_damaged_is_told_of(place: Place) -> None:
    wanted = place.pack()
    for path in MemberCache.files(place.members.directory):
        path.unlink()
    assert place.pack().sha256 == wanted.sha256  # nothing is known without its members
    for path in MemberCache.files(place.members.directory):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(Gone):
        place.pack()


@pytest.mark.parametrize("damage", ["{", '{"form": 9}', "[]", '{"form": 1, "sum": "0", "groups": "{}"}'])
def test_a_file_that_was_not_written_by_us_is_no_knowledge(place: Place, damage: str) -> None:
    wanted = place.pack()
    (place.place / "known.json").write_text(damage)
    assert paths(place.pack()) == paths(wanted)


def change(path: str, how: Callable[[Path], object]) -> Callable[[Path], None]:
    def do(root: Path) -> None:
        at = root / path
        state = at.lstat()
        how(at)
        if path != "etc":
            os.utime(at, ns=(state.st_atime_ns, state.st_mtime_ns), follow_symlinks=False)

    return do


def relink(path: Path) -> None:
    path.unlink()
    path.symlink_to("usr/sbin")


CHANGES = {
    "content": change("usr/bin/two", lambda path: path.write_bytes(b"t00 program\n")),
    "size": change("usr/bin/two", lambda path: path.write_bytes(b"two\n")),
    "mode": change("usr/bin/two", lambda path: path.chmod(0o711)),
    "folder": change("etc", lambda path: path.chmod(0o700)),
    "target": change("bin", relink),
    "attribute": change("usr/bin/two", lambda path: os.setxattr(path, "user.note", b"x")),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_differs_from_the_tree_is_found(place: Place, what: str) -> None:
    done = place.pack(save=False)
    assert place.read_back(done) == done.entries
    try:
        CHANGES[what](place.root)
    except OSError as error:
        pytest.skip(f"not on this file system: {error}")
    if what not in ("mode", "folder"):  # these are compared with what was listed when it was packed
        with pytest.raises(StoreError):
            place.read_back(done)
    with Tree(place.root) as tree, open_members(place.file, 1) as stream:
        (found,) = compare(stream, tree, epoch=EPOCH)
    assert found.where in ("/usr/bin/two", "/etc", "/bin")


def test_what_is_more_and_what_is_less_is_found(place: Place) -> None:
    place.pack(save=False)
    (place.root / "etc/more").write_text("")
    (place.root / "usr/bin/two").unlink()
    with Tree(place.root) as tree, open_members(place.file, 1) as stream:
        found = {error.where: str(error) for error in compare(stream, tree, epoch=EPOCH)}
    assert set(found) == {"/etc/more", "/usr/bin/two"}
    assert "lost" in found["/usr/bin/two"]


def test_a_changed_byte_in_the_file_is_found(place: Place) -> None:
    done = place.pack(save=False)
    data = bytearray(place.file.read_bytes())
    data[len(data) // 2] ^= 1
    place.file.write_bytes(data)
    with pytest.raises(StoreError, match="cannot be read back"):
        place.read_back(done)
