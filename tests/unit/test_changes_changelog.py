"""Changelogs: what was mended between two versions, whatever else is in the file."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.deb_factory import package as make_deb
from tests.unit.changes_facts import package
from tmplbuild.archives.deb import version as debversion
from tmplbuild.changes import changelog
from tmplbuild.changes.changelog import Entry, between, decoded, most_urgent, parse, parse_rpm
from tmplbuild.changes.facts import Package
from tmplbuild.changes.sources import first_of, of_debs, of_tree
from tmplbuild.core.tree import Tree

OPENSSL = """\
openssl (3.0.15-1~deb12u1) bookworm; urgency=medium

  * Import 3.0.15
    - CVE-2023-5678 (Fix excessive time spent in DH check).
    - cve-2024-0727 (PKCS12 decoding crashes).
    - CVE-2023-5678 once more

 -- Sebastian <sebastian@example.org>  Sun, 01 Sep 2024 11:00:00 +0200

openssl (3.0.14-1~deb12u2) bookworm-security; urgency=HIGH, binary-only=yes

  [ Somebody ]
  * Nothing with a number.

 -- Sebastian <sebastian@example.org>  Sun, 01 Sep 2024 10:00:00 +0200

openssl (3.0.11-1~deb12u1) bookworm; urgency=low

  * CVE-2023-1111

 -- Old <old@example.org>  Sat, 01 Jan 2022 10:00:00 +0200
"""


def test_entries_are_read_as_they_stand() -> None:
    first, second, third = parse(OPENSSL)
    assert (first.version, first.suites, first.urgency) == ("3.0.15-1~deb12u1", ("bookworm",), "medium")
    assert first.date == "Sun, 01 Sep 2024 11:00:00 +0200"
    assert first.cves == ("CVE-2023-5678", "CVE-2024-0727")
    assert (second.urgency, second.cves, second.is_security) == ("high", (), True)
    assert second.text == "[ Somebody ]\n* Nothing with a number."
    assert third.is_security


def versions(before: str, after: str) -> list[str]:
    return [one.version for one in between(parse(OPENSSL), before, after, debversion.compare)]


def test_only_what_lies_between_counts() -> None:
    assert versions("3.0.11-1~deb12u1", "3.0.15-1~deb12u1") == ["3.0.15-1~deb12u1", "3.0.14-1~deb12u2"]
    assert versions("3.0.11-1~deb12u1", "3.0.14-1~deb12u2") == ["3.0.14-1~deb12u2"]
    assert versions("3.0.15-1~deb12u1", "3.0.15-1~deb12u1") == []
    assert len(versions("1", "9")) == 3


def test_reading_ends_at_the_old_version() -> None:
    def entries() -> object:
        yield Entry("2")
        yield Entry("1")
        raise AssertionError("read on")

    assert between(entries(), "1", "2", debversion.compare) == (Entry("2"),)  # type: ignore[arg-type]


def test_urgencies() -> None:
    assert most_urgent(["low", "critical", "medium"]) == "critical"
    assert most_urgent(["odd", "low"]) == "low"
    assert most_urgent([]) == ""


def test_cves_are_ordered_by_number() -> None:
    text = "CVE-2024-10000 CVE-2024-9999 CVE-2009-12345678 CVE-2024-99 CVE-1998-0001 xCVE-2020-1111"
    expected = ("CVE-1998-0001", "CVE-2009-12345678", "CVE-2024-9999", "CVE-2024-10000")
    assert Entry("1", text=text).cves == expected


NAMES = st.from_regex(r"[a-z0-9][a-z0-9.+-]{1,12}", fullmatch=True)
VERSIONS = st.from_regex(r"[0-9][0-9a-z.+~-]{0,8}", fullmatch=True)
LINES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=30)


@given(
    st.lists(
        st.tuples(
            NAMES,
            VERSIONS,
            st.lists(NAMES, min_size=1, max_size=3),
            st.sampled_from(["low", "high"]),
            st.lists(LINES),
        ),
        max_size=5,
    )
)
def test_what_is_written_in_the_form_is_read_back(
    rows: list[tuple[str, str, list[str], str, list[str]]],
) -> None:
    text = "".join(
        f"{source} ({version}) {' '.join(suites)}; urgency={urgency}\n\n"
        + "".join(f"  * {line}\n" for line in body)
        + "\n -- A B <a@example.org>  Mon, 01 Jan 2024 00:00:00 +0000\n\n"
        for source, version, suites, urgency, body in rows
    )
    found = list(parse(text))
    assert [(one.version, list(one.suites), one.urgency) for one in found] == [
        (version, suites, urgency) for _, version, suites, urgency, _ in rows
    ]
    assert [one.text.split("\n") if one.text else [] for one in found] == [
        [f"* {line}".strip() for line in body] for *_, body in rows
    ]


@given(st.text())
def test_nothing_in_a_changelog_is_an_error(text: str) -> None:
    assert all(entry.version for entry in parse(text))


@given(st.binary(max_size=60), st.booleans(), st.integers(0, 60))
def test_damaged_files_give_what_can_be_read(data: bytes, packed: bool, cut: int) -> None:
    whole = gzip.compress(data) if packed else data
    assert isinstance(decoded(whole), str)
    assert isinstance(decoded(whole[:cut]), str)


def test_a_file_that_is_cut_short_still_tells_of_the_newest() -> None:
    text = OPENSSL + "".join(f"openssl (0.{n}) old; urgency=low\n\n  * {n * 7919}\n\n" for n in range(4000))
    whole = gzip.compress(text.encode())
    assert next(parse(decoded(whole[: len(whole) // 2]))).version == "3.0.15-1~deb12u1"


def test_rpm_entries() -> None:
    rows = [
        (1_700_000_000, "Gleb F <gleb@altlinux> 3.0.12-alt1", "- New version (fixes CVE-2023-5363)."),
        (1_600_000_000, "Red H <red@example.com> - 1:1.1-2", "- text"),
        (0, "No version <x@example.com>", ""),
        (1 << 63, "odd", ""),
    ]
    found = list(parse_rpm(rows))
    assert [one.version for one in found] == ["3.0.12-alt1", "1:1.1-2", "", "odd"]
    assert (found[0].date, found[0].cves) == ("2023-11-14", ("CVE-2023-5363",))


# -- where they come from -----------------------------------------------------------------------------

OLD = package("libssl3", "3.0.11-1~deb12u1", source="openssl")
NEW = package("libssl3", "3.0.15-1~deb12u1", source="openssl")


def look(tree: Path) -> list[str]:
    with Tree(tree) as files:
        return [one.version for one in of_tree(files)(OLD, NEW)]


@pytest.mark.parametrize("name", ["changelog.Debian.gz", "changelog.gz", "changelog.Debian.amd64.gz"])
def test_a_tree_has_them_with_its_documentation(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "usr/share/doc/libssl3"
    folder.mkdir(parents=True)
    assert look(tmp_path) == []
    (folder / name).write_bytes(gzip.compress(OPENSSL.encode()))
    assert look(tmp_path) == ["3.0.15-1~deb12u1", "3.0.14-1~deb12u2"]


def test_a_link_to_another_packages_documentation_is_followed_inside_the_tree(tmp_path: Path) -> None:
    doc = tmp_path / "usr/share/doc"
    (doc / "openssl").mkdir(parents=True)
    (doc / "openssl/changelog.Debian.gz").write_bytes(gzip.compress(OPENSSL.encode()))
    (doc / "libssl3").symlink_to("openssl")
    assert len(look(tmp_path)) == 2
    (doc / "libssl3").unlink()
    (doc / "libssl3").symlink_to("libssl3")  # a loop
    assert look(tmp_path) == []


def test_else_the_package_itself_has_them(tmp_path: Path) -> None:
    files: dict[str, bytes | tuple[str, str] | None] = {
        "usr/share/doc/libssl3/copyright": b"x",
        "usr/share/doc/libssl3/changelog.Debian.gz": gzip.compress(OPENSSL.encode()),
    }
    _, path = make_deb(tmp_path, "libssl3", files)
    found = of_debs(lambda one: path if one.name == "libssl3" else None)
    assert [one.version for one in found(OLD, NEW)] == ["3.0.15-1~deb12u1", "3.0.14-1~deb12u2"]
    assert found(package("other"), package("other", "2")) == ()
    path.write_bytes(path.read_bytes()[:200])
    assert found(OLD, NEW) == ()
    path.unlink()
    assert found(OLD, NEW) == ()


def test_the_changelog_of_a_source_is_read_once() -> None:
    asked = []

    def nothing(old: Package, new: Package) -> tuple[Entry, ...]:
        return ()

    def source(old: Package, new: Package) -> tuple[Entry, ...]:
        asked.append(new.name)
        return (Entry("2"),)

    look_ = first_of(nothing, source)
    for name in ("openssl", "libssl3", "libssl-dev"):
        old, new = (package(name, version, source="openssl") for version in "12")
        assert look_(old, new) == (Entry("2"),)
    assert asked == ["openssl"]


def test_the_names_that_policy_gives_them() -> None:
    assert changelog.paths("x", "amd64")[0] == "/usr/share/doc/x/changelog.Debian.gz"
