"""Control data, relations, Release files, sources lists: what is read from text."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmplbuild.archives import clock, mirrors
from tmplbuild.archives.deb import depends, release
from tmplbuild.archives.deb822 import pairs, stanza, stanzas
from tmplbuild.archives.model import Listed
from tmplbuild.errors import FetchError, UsageError, VerifyError

# -- dates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", [" -0000", " +0000", " GMT", " UTC", ""])
def test_a_date_is_of_no_zone_of_this_machine(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        assert clock.seconds(f"Tue, 14 Nov 2023 22:13:20{zone}", "Date", "x") == 1_700_000_000
    finally:
        monkeypatch.undo()
        time.tzset()


# -- control data --------------------------------------------------------------------------------


def test_continuation_lines_and_case() -> None:
    fields = stanza("Package: a\nDESCRIPTION: short\n long\n .\n more\nEmpty:\n")
    assert fields == {"package": "a", "description": "short\nlong\n.\nmore", "empty": ""}


def test_first_of_a_doubled_field_stays() -> None:
    assert pairs("A: 1\nB: 2\na: 3\n x\nC: 4") == [("A", "1"), ("B", "2"), ("C", "4")]


def test_several_stanzas_and_comments() -> None:
    assert stanzas("# hi\nA: 1\n\n\n\nA: 2\n# no\nB: 3\n") == [{"a": "1"}, {"a": "2", "b": "3"}]


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    stanzas(text)
    pairs(text)


# -- relations -----------------------------------------------------------------------------------


def test_groups_alternatives_versions_and_architectures() -> None:
    groups = depends.parse("libc6 (>= 2.36), awk | mawk(<<2) , python3:any, foo:native (= 1:2-3)")
    assert [depends.text(group) for group in groups] == [
        "libc6 (>= 2.36)",
        "awk | mawk (<< 2)",
        "python3:any",
        "foo:native (= 1:2-3)",
    ]
    assert depends.parse("a (< 1)")[0][0].op == "<="


@pytest.mark.parametrize("bad", ["a (", "a b", "(>= 1)", "a | ", "a (>= )", "a (== 1)"])
def test_what_is_no_relation(bad: str) -> None:
    with pytest.raises(ValueError, match="relation"):
        depends.parse(bad)


@given(st.text(max_size=60))
def test_any_text_is_a_relation_or_refused(text: str) -> None:
    try:
        depends.parse(text)
    except ValueError:
        return


# -- Release -------------------------------------------------------------------------------------

HASH = "ab" * 32
HEAD = b"Origin: Debian\nSuite: stable\nCodename: bookworm\nDate: Sat, 11 Jul 2026 10:16:37 UTC\n"
GOOD = HEAD + b"Components: main updates/contrib\nArchitectures: all amd64\nMD5Sum:\n 00 1 evil\nSHA256:\n"
GOOD += f" {HASH}  12 main/binary-amd64/Packages.xz\n".encode()
DATE = 1783764997


def test_release_fields_and_files() -> None:
    found = release.parse(GOOD, where="x")
    assert found.date == DATE
    assert found.valid_until == 0
    assert found.all_apart
    assert found.files == {"main/binary-amd64/Packages.xz": Listed(HASH, 12)}
    assert found.component("main")
    assert found.component("contrib")
    assert not found.component("non-free")
    assert found.identity == "Debian//bookworm"


@pytest.mark.parametrize(
    ("suite", "codename", "name"),
    [
        ("stable", "bookworm", "bookworm"),
        ("stable-updates", "bookworm-updates", "bookworm-updates"),
        ("noble", "noble", "noble"),
        ("noble-updates", "noble", "noble-updates"),  # Ubuntu's pockets share the code name
        ("noble-security", "noble", "noble-security"),
    ],
)
def test_a_pocket_is_a_suite_of_its_own(suite: str, codename: str, name: str) -> None:
    text = GOOD.replace(
        b"Suite: stable\nCodename: bookworm", f"Suite: {suite}\nCodename: {codename}".encode()
    )
    assert release.parse(text, where="x").identity == f"Debian//{name}"


def test_all_is_not_apart_where_the_release_says_so() -> None:
    text = GOOD.replace(b"SHA256:", b"No-Support-for-Architecture-all: Packages\nSHA256:")
    assert not release.parse(text, where="x").all_apart


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (HEAD, "no SHA256"),
        (HEAD + b"SHA256:\n", "no file"),
        (GOOD.replace(b"main/bin", b"../../bin"), "outside"),
        (GOOD.replace(b"main/bin", b"/main/bin"), "outside"),
        (GOOD.replace(b"Sat, 11 Jul 2026 10:16:37 UTC", b"yesterday"), "no date"),
        (GOOD.replace(b"2026", b"99999999999"), "no date"),
    ],
)
def test_a_release_that_cannot_be_used(text: bytes, word: str) -> None:
    with pytest.raises(VerifyError, match=word):
        release.parse(text, where="x")


@given(st.binary(max_size=400))
def test_hostile_releases_end_in_one_error(data: bytes) -> None:
    for text in (data, GOOD + data, HEAD + data + b"\nSHA256:\n" + data):
        try:
            release.parse(text, where="x")
        except VerifyError:
            continue


def checked(asked: str, now: float, extra: bytes = b"") -> None:
    release.check(release.parse(extra + GOOD, where="x"), asked=asked, now=now, where="x")


def test_dates_and_names() -> None:
    until = b"Valid-Until: Sat, 18 Jul 2026 10:16:37 UTC\n"
    checked("bookworm", DATE + 10)
    checked("stable", DATE - clock.SKEW_S + 1)
    checked("stable", DATE + 7 * 86400 + clock.SKEW_S - 1, until)
    with pytest.raises(VerifyError, match="'trixie' was asked"):
        checked("trixie", DATE)
    with pytest.raises(VerifyError, match="future"):
        checked("stable", DATE - clock.SKEW_S - 1)
    with pytest.raises(VerifyError, match="expired") as caught:
        checked("stable", DATE + 7 * 86400 + clock.SKEW_S + 1, until)
    assert "2026-07-18 10:16 UTC" in caught.value.why


# -- mirrors -------------------------------------------------------------------------------------


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    folder = tmp_path / "apt"
    (folder / "sources.list.d").mkdir(parents=True)
    return folder


def test_one_line_sources(etc: Path) -> None:
    (etc / "sources.list").write_text(
        "# deb http://no/debian x main\n"
        "deb-src http://src/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/x] http://near/debian/ bookworm main\n"
        "deb http://near/debian-security bookworm-security main # mine\n"
        "deb cdrom:[x]/debian bookworm main\n"
    )
    assert mirrors.host_mirror("debian", etc=etc) == "http://near/debian"
    assert mirrors.host_mirror("debian-security", etc=etc) == "http://near/debian-security"
    assert mirrors.host_mirror("ubuntu", etc=etc) is None


def test_deb822_sources(etc: Path) -> None:
    (etc / "sources.list.d/a.sources").write_text(
        "Enabled: no\nTypes: deb\nURIs: http://off/debian\nSuites: x\n\n"
        "Types: deb-src\nURIs: http://src/debian\nSuites: x\n\n"
        "Types: deb\n# a comment\nURIs: http://one/debian http://two/debian\nSuites: bookworm\n"
    )
    (etc / "sources.list.d/b.list.disabled").write_text("deb http://no/ubuntu noble main\n")
    assert mirrors.host_mirror("debian", etc=etc) == "http://one/debian"
    assert mirrors.host_mirror("ubuntu", etc=etc) is None


def test_security_is_found_by_its_suite(etc: Path) -> None:
    (etc / "sources.list").write_text("deb http://near/security bookworm-security main\n")
    assert mirrors.host_mirror("debian-security", ["bookworm-security"], etc) == "http://near/security"
    assert mirrors.host_mirror("debian-security", ["trixie-security"], etc) is None


def test_host_is_left_out_where_there_is_none(etc: Path) -> None:
    assert mirrors.mirrors_for("debian", ["host", "http://far/debian/"], etc=etc) == ("http://far/debian",)
    with pytest.raises(FetchError, match="no mirror is known"):
        mirrors.mirrors_for("debian", ["host"], etc=etc)


@pytest.mark.parametrize(
    ("override", "role", "wanted"),
    [
        ("http://m/debian", "debian", "http://m/debian"),
        ("http://m/debian/", "debian-security", "http://m/debian-security"),
        ("http://m/debian-security", "debian", "http://m/debian"),
        ("http://m", "debian", "http://m/debian"),
        ("http://m/pub/", "ubuntu", "http://m/pub/ubuntu"),
        ("debian=http://a/x debian-security=file:///y", "debian-security", "file:///y"),
        ("http://m debian=http://a/x", "debian", "http://a/x"),
        ("debian=http://a/x", "debian-security", "http://far/debian-security"),
    ],
)
def test_overrides(override: str, role: str, wanted: str, etc: Path) -> None:
    found = mirrors.mirrors_for(role, [f"http://far/{role}"], override=override, etc=etc)
    assert found == (wanted,)


@pytest.mark.parametrize("override", ["m/debian", "debian=ftp://x", "other=x"])
def test_overrides_that_are_no_address(override: str, etc: Path) -> None:
    with pytest.raises(UsageError, match="address"):
        mirrors.mirrors_for("debian", ["http://far"], override=override, etc=etc)
