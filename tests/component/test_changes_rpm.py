"""rpm's database read without rpm: as real rpm and real Berkeley DB wrote it; templates compared by it."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.conftest import Places
from tests.rpm_factory import WHEN, File, Rpm, build_rpm
from tmplbuild.changes.compare import compare
from tmplbuild.changes.comparison import Comparison, Side
from tmplbuild.changes.facts import Facts
from tmplbuild.changes.gather import gather
from tmplbuild.changes.sources import of_tree
from tmplbuild.checks.subject import Subject
from tmplbuild.checks.tarball import tarball_view
from tmplbuild.core.tree import Tree
from tmplbuild.errors import VerifyError
from tmplbuild.managers import bdb, rpmdb

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        not (shutil.which("rpm") and shutil.which("db5.3_load")),
        reason="needs rpm and db5.3_load: run `make test`, which installs them",
    ),
]

QUERY = r"%{NAME}\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\t%{ARCH}\n"
LATER = WHEN + 86400 * 30
OLD_LOG = ((WHEN, "A <a@example.org> 3.0-alt1", "- old, CVE-2020-1111"),)
NEW_LOG = (
    (LATER, "A <a@example.org> 3.0-alt3", "- (fixes: CVE-2024-2222)"),
    (WHEN, "A <a@example.org> 3.0-alt2", "- the same day\n- CVE-2023-3333"),
    *OLD_LOG,
)
MANY = tuple(
    Rpm(f"pack-{number:03}", files=(File(f"/usr/share/{number}", b"x" * number),)) for number in range(60)
)
COMMON = (
    Rpm("bash", epoch=1, version="5.2", files=(File("/bin/bash", b"\x7fELF" + b"b" * 5000, mode=0o100755),)),
    # longer than a page of any database
    Rpm("big", files=tuple(File(f"/usr/share/big/{number:05}", b"") for number in range(3000))),
    Rpm("both", arch="x86_64"),
    *MANY,
)
BEFORE = (
    *COMMON,
    Rpm("openssl", "3.0", "alt1", changelog=OLD_LOG),
    Rpm("old", files=(File("/etc/old.conf", b"1"),)),
)
AFTER = (
    *COMMON,
    Rpm("openssl", "3.0", "alt3", changelog=NEW_LOG),
    Rpm("new", files=(File("/etc/new.conf", b"2"),)),
)


def rpm(root: Path, *argv: str) -> str:
    common = ("--root", str(root), "--dbpath", "/var/lib/rpm", "--nosignature")
    done = subprocess.run(["rpm", *common, *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def made(place: Path, packages: tuple[Rpm, ...]) -> Path:
    """A tree into which rpm installed packages."""
    root, files = place / "root", place / "rpms"
    root.mkdir(parents=True)
    files.mkdir()
    for one in packages:
        (files / one.filename).write_bytes(build_rpm(one))
    rpm(root, "--nodeps", "--noscripts", "-i", *map(str, sorted(files.iterdir())))
    return root


@pytest.fixture(scope="module")
def trees(places: Places) -> tuple[Path, Path]:
    """The same template before and after."""
    place = places("rpm")
    patch = pytest.MonkeyPatch()
    patch.setenv("HOME", str(place))  # where rpm looks for macros
    try:
        return made(place / "before", BEFORE), made(place / "after", AFTER)
    finally:
        patch.undo()


def listed(root: Path) -> list[str]:
    """What our reader finds, in the form of QUERY."""
    with Tree(root) as tree:
        return [f"{one.name}\t{one.version}\t{one.arch}" for one in rpmdb.packages(tree)]


def by_rpm(root: Path, *more: str) -> list[str]:
    return sorted(line for line in rpm(root, *more, "-qa", "--qf", QUERY).splitlines() if line)


def test_sqlite_as_rpm_writes_it(trees: tuple[Path, Path]) -> None:
    for root in trees:
        assert (root / "var/lib/rpm/rpmdb.sqlite").is_file()
        assert sorted(listed(root)) == by_rpm(root)
        assert "bash\t1:5.2-alt1\tx86_64" in listed(root)


@pytest.mark.parametrize("pagesize", [512, 4096, 65536])
@pytest.mark.parametrize("order", [1234, 4321])
def test_berkeley_db_as_its_own_tools_write_it(
    trees: tuple[Path, Path], tmp_path: Path, pagesize: int, order: int
) -> None:
    """rpm writes it no more, but for ALT's; Debian's can still read it."""
    folder = tmp_path / "var/lib/rpm"
    folder.mkdir(parents=True)
    with sqlite3.connect(trees[0] / "var/lib/rpm/rpmdb.sqlite") as database:
        rows = database.execute("SELECT hnum, blob FROM Packages").fetchall()
    ends = "little" if order == 1234 else "big"
    records = [(0, (len(rows)).to_bytes(4, ends)), *rows]
    text = f"VERSION=3\nformat=bytevalue\ntype=hash\ndb_lorder={order}\ndb_pagesize={pagesize}\nHEADER=END\n"
    text += (
        "".join(f" {number.to_bytes(4, ends).hex()}\n {blob.hex()}\n" for number, blob in records)
        + "DATA=END\n"
    )
    subprocess.run(
        ["db5.3_load", str(folder / "Packages")], input=text.encode(), check=True, capture_output=True
    )
    assert listed(tmp_path) == listed(trees[0])
    if order == 1234:
        assert sorted(listed(tmp_path)) == by_rpm(tmp_path, "--define", "_db_backend bdb_ro")


def test_a_damaged_berkeley_db_is_told_or_does_no_harm(trees: tuple[Path, Path], tmp_path: Path) -> None:
    with sqlite3.connect(trees[0] / "var/lib/rpm/rpmdb.sqlite") as database:
        rows = database.execute("SELECT hnum, blob FROM Packages").fetchall()[:20]
    text = "VERSION=3\nformat=bytevalue\ntype=hash\ndb_pagesize=512\nHEADER=END\n"
    text += "".join(f" {number.to_bytes(4, 'little').hex()}\n {blob.hex()}\n" for number, blob in rows)
    file = tmp_path / "Packages"
    subprocess.run(["db5.3_load", str(file)], input=f"{text}DATA=END\n".encode(), check=True)
    whole = file.read_bytes()
    assert len(list(bdb.records(whole, "whole"))) == len(rows)
    told = 0
    for seed in range(300):
        rng = random.Random(seed)
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 40)):
            # most harm lies where pages begin
            page = rng.randrange(len(data) // 512) * 512
            data[page + rng.choice([rng.randrange(32), rng.randrange(512)])] = rng.randrange(256)
        del data[rng.choice([len(data), rng.randrange(len(data))]) :]
        try:
            assert len(list(bdb.records(bytes(data), "damaged"))) <= 2 * len(rows)
        except VerifyError:
            told += 1
    assert told > 100


def facts_of(root: Path, place: Path) -> Facts:
    """Out of a tarball, as of a template of others."""
    file = place / f"{root.parent.name}.tar.gz"
    with tarfile.open(file, "w:gz", compresslevel=1) as tar:
        tar.add(root, ".")
    with tarball_view(file) as view:
        return gather(Subject(view))


@pytest.fixture(scope="module")
def found(trees: tuple[Path, Path], places: Places) -> Comparison:
    place = places("packed")
    before, after = (facts_of(root, place) for root in trees)
    with Tree(trees[1]) as tree:
        return compare(before, after, sides=(Side("before"), Side("after")), changelogs=of_tree(tree))


def test_templates_of_others_are_compared(found: Comparison) -> None:
    assert [(one.name, one.change, one.before, one.after) for one in found.packages] == [
        ("new", "added", "", "1.0-alt1"),
        ("old", "removed", "1.0-alt1", ""),
        ("openssl", "upgraded", "3.0-alt1", "3.0-alt3"),
    ]
    assert [(one.path, one.change) for one in found.files] == [
        ("/etc/new.conf", "added"),
        ("/etc/old.conf", "removed"),
    ]
    assert found.breaking == ("packages removed: old",)


def test_what_an_rpm_mended_stands_in_its_header(found: Comparison) -> None:
    (openssl,) = found.of("upgraded")
    assert (openssl.security, openssl.cves) == (True, ("CVE-2023-3333", "CVE-2024-2222"))


def test_sizes_are_those_of_the_files_that_are_there(trees: tuple[Path, Path], tmp_path: Path) -> None:
    facts = facts_of(trees[0], tmp_path)
    sizes = {one.name: one.size for one in facts.packages}
    assert (sizes["bash"], sizes["pack-007"], sizes["big"]) == (5004, 7, 0)
    assert facts.unowned > 0  # the database itself
