"""Figures, and foreign text that must not drive the terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmplbuild.ui.screen import Lines
from tmplbuild.ui.words import plural, printable, rate, seconds, size


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.0 s"),
        (-0.001, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (3720, "1 h 02 min"),
    ],
)
def test_seconds(value: float, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (104_300_000, "104 MB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (58_140_000, "58.1 MB"),
        (5 * 10**12, "5.00 TB"),
        (10**18, "1000000 TB"),
    ],
)
def test_size(value: int, text: str) -> None:
    assert size(value) == text


def test_rate_without_time_is_nothing() -> None:
    assert rate(1000, 0) == ""
    assert rate(1000, 2) == "500 B/s"


def test_plural() -> None:
    assert plural(1, "stage") == "1 stage"
    assert plural(0, "stage") == "0 stages"
    assert plural(2, "entry", "entries") == "2 entries"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Grüße 漢字", "Grüße 漢字"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("two\nlines", "two\\x0alines"),
        ("rtl\u202etxt", "rtl\\u202etxt"),
        ("byte\udcff", "byte\\xff"),
        ("\x9b31m", "\\x9b31m"),
        ("a\tb", "a       b"),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_printable_text_is_one_line_without_controls(text: str) -> None:
    shown = printable(text)
    assert "\x1b" not in shown
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")  # no surrogate is left


@given(st.binary(max_size=300), st.integers(min_value=1, max_value=7))
def test_lines_do_not_depend_on_how_the_bytes_are_cut(data: bytes, step: int) -> None:
    whole, pieces = Lines(), Lines()
    expected = whole.feed(data) + whole.flush()
    found: list[str] = []
    for at in range(0, len(data), step):
        found += pieces.feed(data[at : at + step])
    assert found + pieces.flush() == expected


def test_a_carriage_return_starts_the_line_anew() -> None:
    lines = Lines()
    assert lines.feed(b"10%\r50%\r100%\r\nnext") == ["100%"]
    assert lines.flush() == ["next"]


def test_an_endless_line_is_shown_in_pieces() -> None:
    lines = Lines()
    assert len(lines.feed(b"x" * (Lines.LIMIT + 1))) == 1
    assert lines.flush() == []
