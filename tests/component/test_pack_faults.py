"""Packing on a full disk, by a run that is killed, on another host: what is left and what comes out."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pack_trees import nasty_tree

ROOT = Path(__file__).parents[2]

PACK = """
import signal
import sys
from pathlib import Path
from tmplbuild.core.tree import Tree
from tmplbuild.errors import StoreError
from tmplbuild.events import silent
from tmplbuild.artifact.atomic import atomic_file
from tmplbuild.artifact.members import MemberCache
from tmplbuild.artifact.pack import pack

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to it
tree, target, members, jobs = sys.argv[1:5]
def told(event):
    if len(sys.argv) > 5:
        print(event, flush=True)
        sys.stdin.readline()
try:
    with Tree(Path(tree)) as opened, atomic_file(Path(target)) as out:
        pack(opened, out, epoch=1_700_000_000, owners={}, level=6, jobs=int(jobs), emit=told,
             members=MemberCache(Path(members)) if members else None)
except StoreError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def argv(tree: Path, target: Path, *, members: str = "", jobs: int = 2) -> list[str]:
    return [sys.executable, "-c", PACK, str(tree), str(target), members, str(jobs)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """About 12 MiB that do not compress."""
    root = tmp_path / "tree"
    root.mkdir()
    (root / "noise").write_bytes(os.urandom(12 << 20))
    return root


def in_small_place(
    place: Path, size_kib: int, script: str, *words: str | Path
) -> subprocess.CompletedProcess[str]:
    """Run a shell script with a tmpfs of that size mounted at `place`, in a mount namespace of its own."""
    place.mkdir(exist_ok=True)
    mount = f'mount -t tmpfs -o size={size_kib}k none "{place}" && {script}'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, "sh", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.root
def test_a_full_disk_names_path_and_bytes_and_spares_the_old_file(tree: Path, tmp_path: Path) -> None:
    place = tmp_path / "full"
    script = f'echo old > "{place}/t.tar.gz"; "$@"; echo "status $?"; ls -A "{place}"; cat "{place}/t.tar.gz"'
    done = in_small_place(place, 4096, script, *argv(tree, place / "t.tar.gz"))
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "There is no room for the file."
    assert f"where: {place}/t.tar.gz" in lines[1]
    assert "No space left on device; needed: at least " in lines[2]
    assert "free: " in lines[2]
    assert lines[-3:] == ["status 8", "t.tar.gz", "old"]


@pytest.mark.root
def test_a_full_member_cache_costs_only_time(tree: Path, tmp_path: Path) -> None:
    place = tmp_path / "full"
    script = f'"$@"; echo "status $?"; find "{place}" -name ".*" | wc -l'
    target = tmp_path / "t.tar.gz"
    done = in_small_place(place, 4096, script, *argv(tree, target, members=str(place / "members")))
    assert done.stdout.split() == ["status", "0", "0"], done.stderr
    subprocess.run(["gzip", "-t", target], check=True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_stopped_leaves_the_old_file(
    tree: Path, tmp_path: Path, number: signal.Signals
) -> None:
    place = tmp_path / "cache"
    place.mkdir()
    target = place / "t.tar.gz"
    target.write_text("old")
    process = subprocess.Popen(
        [*argv(tree, target), "wait"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline()  # it has written a member, and waits
    assert len(os.listdir(place)) == 2
    process.send_signal(number)
    process.communicate()
    assert process.returncode != 0
    assert target.read_text() == "old"
    assert len(os.listdir(place)) == (2 if number == signal.SIGKILL else 1)
    subprocess.run(argv(tree, target), cwd=ROOT, check=True)
    assert os.listdir(place) == ["t.tar.gz"]
    subprocess.run(["gzip", "-t", target], check=True)


@pytest.mark.root
def test_the_host_does_not_show(tmp_path: Path) -> None:
    """Another host name, time zone, locale, umask, directory, number of threads: the same bytes."""
    one, two = tmp_path / "one", tmp_path / "another place" / "two"
    nasty_tree(one)
    two.parent.mkdir()
    subprocess.run(["cp", "-a", one, two], check=True)
    subprocess.run(argv(one, tmp_path / "1.tar.gz", jobs=1), cwd=ROOT, check=True)
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare: apt-get install util-linux")
    script = 'hostname elsewhere && umask 077 && exec "$@"'
    subprocess.run(
        ["unshare", "--uts", "sh", "-c", script, "sh", *argv(two, tmp_path / "2.tar.gz", jobs=5)],
        cwd=ROOT,
        check=True,
        env={**os.environ, "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7"},
    )
    assert (tmp_path / "1.tar.gz").read_bytes() == (tmp_path / "2.tar.gz").read_bytes()
