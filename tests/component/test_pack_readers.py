"""A packed tree comes back the same by every reader that templates meet."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.conftest import Places
from tests.pack_trees import (
    AS_WRITTEN,
    CAPABILITY_2,
    CAPABILITY_3,
    EPOCH,
    as_packed,
    differences,
    facts,
    nasty_tree,
    packed,
)

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def source(places: Places) -> Path:
    root = places("source") / "tree"
    nasty_tree(root)
    return root


@pytest.fixture(scope="module")
def archive(source: Path, places: Places) -> Path:
    path = places("packed") / "t.tar.gz"
    packed(source, path)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "out"
    path.mkdir()
    return path


def tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}: apt-get install {package}")
    return found


def run(*argv: str | Path) -> bytes:
    done = subprocess.run(argv, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"})
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert done.stderr == b""
    return done.stdout


def test_gzip_finds_every_member_whole(archive: Path) -> None:
    run(tool("gzip", "gzip"), "-t", archive)


def test_gnu_tar_restores_everything(source: Path, archive: Path, target: Path) -> None:
    options = ("--numeric-owner", "--acls", "--xattrs", "--xattrs-include=*", "--delay-directory-restore")
    run(tool("tar", "tar"), *options, "-xpzf", archive, "-C", target)
    assert differences(as_packed(source), facts(target)) == []


def test_gnu_tar_as_vzctl_calls_it(source: Path, archive: Path, target: Path) -> None:
    run(tool("tar", "tar"), "--numeric-owner", "-Sp", "-xzf", archive, "-C", target)
    wanted = facts(source, xattrs=False, folder_times=False)
    assert differences(wanted, facts(target, xattrs=False, folder_times=False)) == []


def test_gnu_tar_left_to_itself_gives_directories_a_time_of_no_surprise(archive: Path, target: Path) -> None:
    """Directories stand first, so tar fills them after it set their times: the epoch's or today's."""
    run(tool("tar", "tar"), "-xzf", archive, "-C", target)
    times = {
        path: fact.mtime for path, fact in facts(target, xattrs=False).items() if fact.kind == stat.S_IFDIR
    }
    assert set(times.values()) == {EPOCH}  # as `facts` clamps: no earlier than the epoch


def test_gnu_tar_lists_the_root_first_and_no_user_names(archive: Path) -> None:
    lines = run(tool("tar", "tar"), "-tvzf", archive).splitlines()
    assert lines[0].endswith(b" ./")
    assert b" 0/0 " in lines[0]
    names = run(tool("tar", "tar"), "-tzf", archive).splitlines()
    assert all(name.startswith(b"./") for name in names)


def test_bsdtar_restores_everything(source: Path, archive: Path, target: Path) -> None:
    options = ("--numeric-owner", "--acls", "--xattrs")
    run(tool("bsdtar", "libarchive-tools"), *options, "-xpf", archive, "-C", target)
    assert differences(as_packed(source), facts(target)) == []


def test_busybox_restores_all_but_attributes(source: Path, archive: Path, target: Path) -> None:
    run(tool("busybox", "busybox"), "tar", "-xpzf", archive, "-C", target)
    wanted = facts(source, xattrs=False, folder_times=False)
    found = differences(wanted, facts(target, xattrs=False, folder_times=False))
    assert found == ["b'bin': [('owner', (5, 6), (0, 0))]"]  # busybox leaves links to whoever extracts


def test_python_restores_all_but_attributes(source: Path, archive: Path, target: Path) -> None:
    with tarfile.open(archive) as file:
        file.extractall(target, numeric_owner=True, **AS_WRITTEN)
    assert differences(as_packed(source, xattrs=False), facts(target, xattrs=False)) == []


def test_a_capability_loses_the_namespace_it_was_made_in(tmp_path: Path, target: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "ping").write_bytes(b"ping")
    os.setxattr(root / "ping", "security.capability", CAPABILITY_3)
    packed(root, tmp_path / "t.tar.gz")
    run("tar", "--xattrs", "--xattrs-include=*", "-xpzf", tmp_path / "t.tar.gz", "-C", target)
    assert os.getxattr(target / "ping", "security.capability") == CAPABILITY_2


def test_what_overlay_and_security_modules_wrote_stays_out(archive: Path) -> None:
    with tarfile.open(archive) as file:
        keys = {key for member in file for key in member.pax_headers}
    assert keys == {
        "SCHILY.xattr.security.capability",
        "SCHILY.xattr.user.note",
        "SCHILY.acl.access",
        "SCHILY.acl.default",
    }
