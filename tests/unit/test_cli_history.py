"""history, diff and log, as people type them: on builds of the history, and on files of any origin."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.unit.changes_facts import facts, file, package
from tests.unit.checks_trees import Node, debian, packed
from tests.unit.checks_trees import file as node
from tests.unit.conftest import Run
from tmplbuild.changes.changelog import Entry
from tmplbuild.changes.compare import compare
from tmplbuild.changes.comparison import Side
from tmplbuild.changes.history import FAILED, GOOD, Build, History
from tmplbuild.changes.text import headline

T = "debian-12-x86_64"
NOON = 1_800_000_000
ATOM = "{http://www.w3.org/2005/Atom}"
STEPS = ("1.0-1", "1.0-2", "1.1-1")


@pytest.fixture
def history(tmp_path: Path) -> History:
    """Three good builds, each of which mends something in openssl, and one that failed."""
    made = History(tmp_path / "state_dir")
    last = None
    for number, version in enumerate(STEPS):
        new = facts(packages=(package("openssl", version),), files=(file("/etc/motd", f"{version}\n"),))
        sha256 = hashlib.sha256(f"file {number}".encode()).hexdigest()
        build_id = made.new_id(T, NOON + 86400 * number, sha256)
        changes = None
        if last is not None:
            entry = Entry(version, ("bookworm-security",), "high", text=f"CVE-2024-{1000 + number}")
            changes = compare(
                made.facts(last),
                new,
                sides=(Side(T, last.id), Side(T, build_id)),
                changelogs=lambda old, new, entry=entry: (entry,),  # type: ignore[misc]
            )
        last = Build(
            build_id,
            T,
            "debian-12",
            GOOD,
            NOON + 86400 * number,
            60.0 + number,
            "packages moved in the archives" if number else "first build",
            sha256,
            1_000_000,
            1,
            len(changes.packages) if changes else 0,
            changes.before.build if changes else "",
            headline(changes) if changes else "",
        )
        log = tmp_path / "06-upgrade.log"
        log.unlink(missing_ok=True)
        log.write_text(f"upgrade to {version}\n")
        made.stage(last, facts=new, changes=changes, logs=(log,))
        made.reveal(T, build_id)
    failed = Build(
        made.new_id(T, NOON + 300_000, ""),
        T,
        "debian-12",
        FAILED,
        NOON + 300_000,
        3.0,
        stage="check",
        error="it\x1b",
    )
    made.stage(failed)
    made.reveal(T, failed.id)
    return made


def tarball(path: Path, changes: Mapping[str, Node | None] | None = None) -> str:
    path.write_bytes(packed(debian(changes or {})))
    return str(path)


# -- history ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["debian-12", T])
def test_the_history_as_a_table(history: History, run: Run, name: str) -> None:
    done = run("history", name)
    assert done.status == 0, done.err
    head, failed, third, second, first = done.out.splitlines()
    assert head.split()[:6] == ["build", "made", "result", "took", "size", "packages"]
    assert "failed" in failed
    assert failed.endswith("it\\x1b")
    assert third.endswith(
        "1 upgraded (1 security: CVE-2024-1002); /etc: 1 file (packages moved in the archives)"
    )
    assert second.split()[0] == history.ids(T)[1]
    assert first.split()[-3:] == ["all", "first", "build"]


def test_the_newest_with_the_whole_digest(history: History, run: Run) -> None:
    lines = run("history", T, "-n", "2", "-v").out.splitlines()
    assert len(lines) == 3
    assert history.builds(T)[2].sha256 in lines[2]


def test_the_history_as_json(history: History, run: Run) -> None:
    rows = json.loads(run("history", "debian-12", "--json").out)
    assert [row["result"] for row in rows] == ["failed", "good", "good", "good"]
    assert rows[1]["headline"] == "1 upgraded (1 security: CVE-2024-1002); /etc: 1 file"


def test_the_history_as_a_feed(history: History, run: Run) -> None:
    root = ElementTree.fromstring(run("history", T, "--atom").out)
    assert [one.text for one in root.iter(f"{ATOM}summary")] == [
        "1 upgraded (1 security: CVE-2024-1002); /etc: 1 file",
        "1 upgraded (1 security: CVE-2024-1001); /etc: 1 file",
        "first build",
    ]


def test_there_may_be_no_history(run: Run) -> None:
    done = run("history", "debian-12")
    assert done.status == 2
    assert "tmplbuild build debian-12" in done.err
    assert run("history", "debian-12", "--json").out == "[]\n"
    assert run("history", "debian-99").status == 2
    assert run("history", "debian-12", "--json", "--atom").status == 2
    assert run("history", "debian-12", "-n", "0").status == 2


# -- diff ---------------------------------------------------------------------------------------------


def test_one_name_is_its_last_change(history: History, run: Run) -> None:
    done = run("diff", "debian-12")
    assert done.status == 1, done.err
    first, _, *rest = done.out.splitlines()
    ids = history.ids(T)
    assert first == (f"{T}@{ids[1]} -> {T}@{ids[2]}: 1 upgraded (1 security: CVE-2024-1002); /etc: 1 file")
    assert rest[:2] == ["security fixes", "  openssl: CVE-2024-1002; urgency high"]
    assert "      +1.1-1" in rest


def test_builds_far_apart_tell_what_all_those_between_mended(history: History, run: Run) -> None:
    found = json.loads(run("diff", "debian-12@-2", "debian-12", "--json").out)
    assert found["packages"][0]["cves"] == ["CVE-2024-1001", "CVE-2024-1002"]
    assert (found["packages"][0]["before"], found["packages"][0]["after"]) == ("1.0-1", "1.1-1")
    same = run("diff", "debian-12@-2", "--json")
    assert json.loads(same.out) == found


def test_builds_by_id(history: History, run: Run) -> None:
    first, second, *_ = history.ids(T)
    assert run("diff", first, f"debian-12@{first[:8]}").status == 0
    assert "-> debian-12-x86_64@" + second in run("diff", first, second, "--brief").out
    back = run("diff", second, first)
    assert "packages downgraded" in back.out
    assert "CVE" not in back.out


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("debian-12@-9", "there are 3 good builds"),
        ("debian-12@2", "3 builds begin so"),
        ("debian-12@1999", "there is no build debian-12@1999"),
        ("debian-12@", "there is no build debian-12@"),
        ("20990101T000000Z-00000000", "there is no build 20990101T000000Z-00000000"),
        ("./nothing.tar.gz", "there is no file"),
        ("debian-99", "debian-99"),
    ],
)
def test_what_is_not_there(history: History, run: Run, word: str, told: str) -> None:
    done = run("diff", word, "debian-12")
    assert done.status == 2
    assert told in done.err


def test_templates_of_others(run: Run, tmp_path: Path) -> None:
    one = tarball(tmp_path / "one.tar")
    other = tarball(tmp_path / "other.tar", {"/etc/motd": node("hello\n"), "/etc/apt/sources.list": None})
    done = run("diff", one, other)
    assert done.status == 1
    assert "  + /etc/motd: file, 0644, 0:0" in done.out.splitlines()
    assert "  - /etc/apt/sources.list: file, 0644, 0:0" in done.out.splitlines()
    same = run("diff", one, one)
    assert (same.status, same.out) == (0, f"{one} -> {one}: nothing\n")
    assert run("diff", one, one, "-q").out == ""
    root = ElementTree.fromstring(run("diff", one, other, "--atom").out)
    assert len(root.findall(f"{ATOM}entry")) == 1


def test_a_file_that_is_one_of_our_builds_is_known_by_its_digest(
    history: History, run: Run, tmp_path: Path
) -> None:
    cache = tmp_path / "template_cache"
    cache.mkdir()
    (cache / f"{T}.tar.gz").write_bytes(b"file 2")  # no tarball: it must not be looked into
    assert f"-> {T}@{history.ids(T)[2]}" in run("diff", "debian-12@-1", T).out
    (cache / f"{T}.tar.gz").write_bytes(b"another")
    assert run("diff", "debian-12@-1", T).status == 6


def test_a_directory(run: Run, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "etc").mkdir(parents=True)
        (tmp_path / name / "etc/motd").write_text(name)
    done = run("diff", str(tmp_path / "one"), str(tmp_path / "two"), "--no-files")
    assert "    /etc/motd: content" in done.out.splitlines()
    assert "+two" not in done.out


def test_colours(history: History, run: Run) -> None:
    assert "\x1b[32m      +1.1-1\x1b[0m" in run("diff", "debian-12", "--color", "always").out


# -- log ----------------------------------------------------------------------------------------------


def test_logs_of_earlier_runs(history: History, run: Run) -> None:
    assert run("log", "debian-12@-1", "upgrade").out == "upgrade to 1.1-1\n"
    assert run("log", f"debian-12@{history.ids(T)[0]}", "upgrade").out == "upgrade to 1.0-1\n"
    assert list(json.loads(run("log", "debian-12@-2", "--json").out)) == ["upgrade"]
    none = run("log", "debian-12@0")  # the one that failed before any stage
    assert none.status == 2
    assert history.ids(T)[3] in none.err
