"""Debian's version order, against dpkg itself."""

from __future__ import annotations

import itertools
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmplbuild.archives.deb import version

KNOWN = ["0", "1", "1.0", "1.00", "1~rc1", "1~~", "1a", "1a0", "1+b1", "1-1", "1-0", "1-1~bpo1", "0:1", "1:0"]


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1~rc1", "1"),
        ("1~~", "1~"),
        ("1", "1a"),
        ("1a", "1+"),
        ("9", "10"),
        ("1.2", "1.10"),
        ("2.36-9", "2.36-9+deb12u1"),
        ("9", "1:0"),
        ("1-1~bpo12+1", "1-1"),
        ("1.0-1", "1.0-1.1"),
        ("1-0~", "1"),
        ("1", "1-0a"),
    ],
)
def test_known_pairs(older: str, newer: str) -> None:
    assert version.compare(older, newer) == -1
    assert version.compare(newer, older) == 1


@pytest.mark.parametrize(
    ("left", "right"), [("1", "1-0"), ("0:1", "1"), ("1.0", "1.00"), ("1a", "1a0"), ("", "0")]
)
def test_equal_versions(left: str, right: str) -> None:
    assert version.compare(left, right) == 0


def test_very_long_numbers() -> None:
    assert version.compare("9" * 9000, "1" + "0" * 9000) == -1


def test_relations() -> None:
    for relation, truth in {"<<": False, "<=": True, "=": True, ">=": True, ">>": False, "": True}.items():
        assert version.satisfies("1.0", relation, "1.0") is truth


UPSTREAM = st.text("019.+~abzZ-", max_size=9).map(lambda text: f"1{text}")
VERSION = st.tuples(st.sampled_from(["", "", "0:", "1:", "10:"]), UPSTREAM).map("".join)


def valid(text: str) -> bool:
    return not text.endswith("-")


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="the oracle is missing: apt-get install dpkg")
@settings(max_examples=25, deadline=None)
@given(st.lists(VERSION.filter(valid), min_size=2, max_size=12))
def test_same_order_as_dpkg(found: list[str]) -> None:
    pairs = list(itertools.pairwise([*found, *KNOWN[:3]]))
    script = "".join(
        f'dpkg --compare-versions "{a}" lt "{b}" && echo "-1" || {{ dpkg --compare-versions "{a}" eq "{b}" '
        f"&& echo 0 || echo 1; }}\n"
        for a, b in pairs
    )
    done = subprocess.run(["sh"], input=script, capture_output=True, text=True, check=True)
    assert not done.stderr
    assert [version.compare(a, b) for a, b in pairs] == [int(word) for word in done.stdout.split()]


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_any_text_is_ordered(a: str, b: str, c: str) -> None:
    assert version.compare(a, b) == -version.compare(b, a)
    low, middle, high = sorted((a, b, c), key=version.key)
    assert version.compare(low, high) <= 0
    assert version.compare(low, middle) <= 0
