"""ALT's order of versions, and what satisfies a versioned dependency."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tmplbuild.archives.aptrpm import setversion
from tmplbuild.archives.aptrpm.evr import EQUAL, GREATER, LESS, Build, Evr, newer, overlaps, split, vercmp

VERSIONS = st.text(alphabet="0019aAbz~.-_+", max_size=8)
TAGS = st.sampled_from(["p9+1.1", "p10+415595.100.2.1", "p11+3.1", "sisyphus+2.1", "pad:p10+7.1", "bare"])


def walk(one: str, two: str) -> int:
    """The comparison as rpm's manual tells it: segment by segment, both texts at once. With ALT's
    twist: letters are newer than digits."""
    while one or two:
        one, two = one.lstrip("._-+"), two.lstrip("._-+")
        if one[:1] == "~" or two[:1] == "~":
            if one[:1] != "~":
                return 1
            if two[:1] != "~":
                return -1
            one, two = one[1:], two[1:]
            continue
        if not one or not two:
            break
        kind = str.isdigit if one[0].isdigit() else str.isalpha
        first = "".join(itertools.takewhile(kind, one))
        second = "".join(itertools.takewhile(kind, two))
        if not second:
            return -1 if one[0].isdigit() else 1
        one, two = one[len(first) :], two[len(second) :]
        if first[0].isdigit():
            pair = int(first), int(second)
            if pair[0] != pair[1]:
                return 1 if pair[0] > pair[1] else -1
        elif first != second:
            return 1 if first > second else -1
    return bool(one) - bool(two)


@pytest.mark.parametrize(
    ("older", "later"),
    [
        ("1.0", "1.1"),
        ("1.9", "1.10"),
        ("1.0.0", "1.0a"),  # letters are newer than digits: rpm elsewhere has it the other way
        ("1.0", "1.0a"),
        ("1.0", "1.0.0"),
        ("1.0~rc1", "1.0"),
        ("1.0~rc1", "1.0~rc2"),
        ("1.0~~", "1.0~"),
        ("alt1", "alt2"),
        ("alt1", "alt1.1"),
        ("alt0.M80P.1", "alt1"),
        ("2", "10"),
        ("", "1"),
        ("~", ""),
        ("a", "b"),
        ("B", "a"),
    ],
)
def test_the_later_version_is_newer(older: str, later: str) -> None:
    assert vercmp(older, later) == -1
    assert vercmp(later, older) == 1


@pytest.mark.parametrize(
    ("one", "two"), [("1.0", "1.0"), ("1.0", "1_0"), ("1.0", "1.00"), ("1.", "1"), ("1a", "1.a")]
)
def test_versions_that_are_the_same(one: str, two: str) -> None:
    assert vercmp(one, two) == 0


@given(VERSIONS, VERSIONS)
def test_keys_order_as_the_walk_does(one: str, two: str) -> None:
    assert vercmp(one, two) == walk(one, two)


@given(VERSIONS, VERSIONS, VERSIONS)
def test_the_order_of_versions_is_total(one: str, two: str, three: str) -> None:
    assert vercmp(one, one) == 0
    assert vercmp(one, two) == -vercmp(two, one)
    if vercmp(one, two) <= 0 and vercmp(two, three) <= 0:
        assert vercmp(one, three) <= 0


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1.0", Evr("", "1.0", "", "")),
        ("1.0-alt1", Evr("", "1.0", "alt1", "")),
        ("2:1.0-alt1", Evr("2", "1.0", "alt1", "")),
        (":1.0", Evr("0", "1.0", "", "")),
        ("2:5.10.253-alt1:p10+415595.100.2.1", Evr("2", "5.10.253", "alt1", "p10+415595.100.2.1")),
        ("1-2-3", Evr("", "1-2", "3", "")),
        ("a:1-2:t", Evr("", "a:1", "2", "t")),
        ("1:2:3", Evr("1", "2:3", "", "")),
        ("", Evr("", "", "", "")),
    ],
)
def test_a_version_is_split_as_rpm_does(text: str, parts: Evr) -> None:
    assert split(text) == parts


@pytest.mark.parametrize(
    ("provided", "have", "wanted", "want", "met"),
    [
        ("1.0-alt1", "=", "1.0", "=", True),  # what the require leaves open is passed over...
        ("1.0", "=", "1.0-alt1", "=", False),  # ...what the provide leaves open is not met
        ("1.0-alt1:p10+1", "=", "1.0-alt1", "=", True),
        ("1.0-alt1", "=", "1.0-alt1:p10+1", "=", False),
        ("1.0-alt1:p10+1", "=", "1.0-alt1:p10+2", "=", False),
        ("1.0-alt1:p10+1", "=", "1.0-alt1:p10+1", "=", True),
        ("1.0-alt1:p10+1", "=", "1.0-alt1:p10+2", ">=", False),
        ("1.1-alt1:p10+1", "=", "1.0-alt1:p10+2", ">=", True),
        ("2:1.0", "=", "1.0", "=", True),  # an epoch that is not asked for
        ("1.0", "=", "2:1.0", ">=", False),
        ("1.0", "=", "0:1.0", "=", True),
        ("1.0", "=", "1.1", ">=", False),
        ("1.2", "=", "1.1", ">=", True),
        ("1.1", "=", "1.1", ">", False),
        ("1.1", "=", "1.1", "<=", True),
        ("1.0", ">=", "2.0", "=", True),
        ("1.0", "<", "0.5", ">", True),
        ("", "", "1.0", "=", True),  # no sense on one side: only that it is there is asked
        ("1.0", "=", "", "", True),
        ("", "=", "1.0", ">=", False),
        ("", "=", "", "=", True),
    ],
)
def test_what_satisfies_a_dependency(provided: str, have: str, wanted: str, want: str, met: bool) -> None:
    bits = {"<": LESS, ">": GREATER, "=": EQUAL}
    flags = [sum(bits[sign] for sign in signs) for signs in (have, want)]
    assert overlaps(provided, flags[0], wanted, flags[1]) is met


@given(VERSIONS, st.sampled_from([0, EQUAL, LESS, GREATER, EQUAL | LESS, EQUAL | GREATER]))
def test_a_version_satisfies_itself_where_it_is_wanted(version: str, sense: int) -> None:
    if sense & EQUAL or not sense:
        assert overlaps(version, EQUAL, version, sense)


def test_set_versions_match_only_each_other() -> None:
    more = setversion.of_symbols(["a", "b", "c"], 16)
    some = setversion.of_symbols(["a", "c"], 16)
    other = setversion.of_symbols(["d"], 16)
    at_least = EQUAL | GREATER
    assert overlaps(more, EQUAL, some, at_least)
    assert overlaps(more, EQUAL, more, at_least)
    assert not overlaps(some, EQUAL, more, at_least)
    assert not overlaps(more, EQUAL, other, at_least)
    assert not overlaps("1.0", EQUAL, some, at_least)
    assert not overlaps(more, EQUAL, "1.0", at_least)
    assert not overlaps("set:", EQUAL, some, at_least)


# -- which build is newer ----------------------------------------------------------------------------

BUILDS = st.builds(
    Build,
    epoch=st.none() | st.integers(0, 3),
    version=VERSIONS,
    release=VERSIONS,
    disttag=TAGS,
    built=st.none() | st.integers(0, 3),
)


@pytest.mark.parametrize(
    ("older", "later"),
    [
        (Build(None, "9", "alt1"), Build(1, "1", "alt1")),
        (Build(0, "1", "alt1"), Build(None, "2", "alt1")),
        (Build(None, "1", "alt1", "p10+9.1", 9), Build(None, "1", "alt1", "p11+1.1", 1)),
        (Build(None, "1", "alt1", "p11+1.1", 9), Build(None, "1", "alt1", "sisyphus+1.1", 1)),
        (Build(None, "1", "alt1", "p10+1.1", 1), Build(None, "1", "alt1", "p10+0.1", 2)),
        (Build(None, "1", "alt1", "p11+1.1", 1), Build(None, "1", "alt1", "", 2)),
        (Build(None, "1", "alt1"), Build(None, "1", "alt1", "", 0)),
    ],
)
def test_the_later_build_is_newer(older: Build, later: Build) -> None:
    assert newer(older, later) == -1
    assert newer(later, older) == 1


def test_the_branchs_own_builds_win() -> None:
    ours, theirs = Build(None, "1", "alt1", "p11+1.1"), Build(None, "1", "alt1", "sisyphus+9.1")
    assert newer(ours, theirs) == -1
    assert newer(ours, theirs, branch="p11") == 1
    assert newer(theirs, ours, branch="p11") == -1


@given(BUILDS, BUILDS, BUILDS, st.sampled_from(["", "p10", "p11"]))
@example(
    Build(None, "1", "1", "p10+1", 3),
    Build(None, "1", "1", "p11+1", 2),
    Build(None, "1", "1", "p9+1", 1),
    "p9",
)
def test_the_order_of_builds_is_total_where_all_have_disttags(
    one: Build, two: Build, three: Build, branch: str
) -> None:
    assert newer(one, one, branch=branch) == 0
    assert newer(one, two, branch=branch) == -newer(two, one, branch=branch)
    if newer(one, two, branch=branch) <= 0 and newer(two, three, branch=branch) <= 0:
        assert newer(one, three, branch=branch) <= 0
