"""Three versions of a text into one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tmplbuild.leftovers.merge import lines_of, merge

# few different lines, so that they repeat and matches are ambiguous
LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"\n", b"# x\n"]), max_size=12)
TEXTS = st.builds(lambda lines, end: b"".join(lines) + end, LINES, st.sampled_from([b"", b"end"]))


@given(TEXTS, TEXTS)
def test_one_side_alone_is_taken(base: bytes, text: bytes) -> None:
    assert merge(base, text, base).text == text
    assert merge(base, base, text).text == text


@given(TEXTS, TEXTS)
def test_the_same_change_is_taken_once(base: bytes, text: bytes) -> None:
    assert merge(base, text, text).text == text


@given(TEXTS, TEXTS, TEXTS)
def test_sides_are_equal(base: bytes, ours: bytes, theirs: bytes) -> None:
    one, other = merge(base, ours, theirs), merge(base, theirs, ours)
    assert one.text == other.text
    assert [(c.ours, c.theirs) for c in one.conflicts] == [(c.theirs, c.ours) for c in other.conflicts]
    assert bool(one.conflicts) == (one.text is None)


@given(TEXTS, TEXTS, TEXTS)
def test_no_line_of_either_side_is_lost_or_invented(base: bytes, ours: bytes, theirs: bytes) -> None:
    found = merge(base, ours, theirs)
    if found.text is not None:
        had = lines_of(base)
        for line in set(lines_of(found.text)):
            assert line in lines_of(ours) + lines_of(theirs)
        for side in (ours, theirs):
            new = set(lines_of(side)) - set(had)
            assert new <= set(lines_of(found.text))


@given(st.lists(st.sampled_from([b"a\n", b"b\n"]), min_size=1), TEXTS, TEXTS)
def test_changes_apart_from_each_other_merge(middle: list[bytes], head: bytes, tail: bytes) -> None:
    fence = [b"fence %d\n" % number for number in range(3)]
    core = b"".join(fence + middle + fence[::-1])
    base = b"old head\n" + core + b"old tail\n"
    ours = head + b"\n" + core + b"old tail\n"
    theirs = b"old head\n" + core + tail
    assert merge(base, ours, theirs).text == head + b"\n" + core + tail


@given(TEXTS, TEXTS, TEXTS)
def test_a_conflict_shows_what_each_side_has(base: bytes, ours: bytes, theirs: bytes) -> None:
    for conflict in merge(base, ours, theirs).conflicts:
        assert b"".join(conflict.base) in base
        assert b"".join(conflict.ours) in ours
        assert b"".join(conflict.theirs) in theirs


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "wanted"),
    [
        ("1\n2\n3\n", "1\nX\n3\n", "1\n2\n3\n4\n", "1\nX\n3\n4\n"),
        ("1\n2\n3\n", "1\n3\n", "0\n1\n2\n3\n", "0\n1\n3\n"),
        ("1\n2\n3\n", "1\nX\n3\n", "1\nY\n3\n", None),
        ("1\n2\n", "1\nX\n", "1\n2\n3\n", None),  # they touch: nobody knows which belongs to which
        ("1\n", "1\nours\n", "1\ntheirs\n", None),
        ("a\n", "a", "a\nb\n", None),
        ("", "x\n", "y\n", None),
        ("a\r\nb\r\n", "a\r\nB\r\n", "a\r\nb\r\n", "a\r\nB\r\n"),
    ],
)
def test_examples(base: str, ours: str, theirs: str, wanted: str | None) -> None:
    found = merge(base.encode(), ours.encode(), theirs.encode())
    assert found.text == (wanted.encode() if wanted is not None else None)
    assert bool(found.conflicts) == (wanted is None)


def test_what_is_no_text_is_not_merged() -> None:
    assert merge(b"a\0\n1\n2\n3\n", b"b\0\n1\n2\n3\n", b"a\0\n1\n2\n4\n").text is None
    assert merge(b"\0", b"\0", b"\1").text == b"\1"


def test_long_texts_of_equal_lines_are_not_compared_pair_by_pair() -> None:
    base = b"same\n" * 20_000
    assert merge(base, b"x\n" + base, base + b"y\n").text == b"x\n" + base + b"y\n"
    shuffled = b"a\nb\n" * 10_000
    assert merge(shuffled, b"x\n" + b"b\na\n" * 10_000, b"b\n" + shuffled + b"y\n").text is None


@st.composite
def edited_texts(draw: st.DrawFn) -> tuple[bytes, bytes, bytes]:
    """A text of different lines, and two sides in which some went, changed, or came: so that there is
    one way only to see what stands still."""
    count = draw(st.integers(1, 8))
    sides = []
    for side in ("ours", "theirs"):
        lines = []
        for number in range(count):
            what = draw(st.sampled_from(["keep", "keep", "keep", "drop", "change", "insert"]))
            lines += [f"{side} {number}\n"] if what in ("change", "insert") else []
            lines += [f"line {number}\n"] if what in ("keep", "insert") else []
        sides.append("".join(lines).encode())
    base = "".join(f"line {number}\n" for number in range(count)).encode()
    return base, sides[0], sides[1]


@pytest.mark.skipif(not shutil.which("diff3"), reason="needs diff3: install the package diffutils")
@given(texts=edited_texts())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_diff3_merges_the_same(tmp_path: Path, texts: tuple[bytes, bytes, bytes]) -> None:
    base, ours, theirs = texts
    for name, text in (("base", base), ("ours", ours), ("theirs", theirs)):
        (tmp_path / name).write_bytes(text)
    done = subprocess.run(
        ["diff3", "-E", "-m", "ours", "base", "theirs"], cwd=tmp_path, capture_output=True, check=False
    )
    found = merge(base, ours, theirs)
    assert done.returncode == (0 if found.text is not None else 1)
    if found.text is not None:
        assert done.stdout == found.text
