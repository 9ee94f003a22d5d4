"""passwd and its kin: the union by key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmplbuild.errors import StageError
from tmplbuild.leftovers import keyed

NAMES = st.sampled_from([f"user{number}" for number in range(8)])


@st.composite
def passwds(draw: st.DrawFn) -> bytes:
    """Users with numbers that their names give, so that none clash."""
    names = draw(st.lists(NAMES, unique=True))
    rows = [f"{name}:x:{name[4:]}:{name[4:]}:{draw(st.sampled_from('ab'))}:/:/bin/sh\n" for name in names]
    return "".join(rows).encode()


def users(text: bytes) -> list[str]:
    return [line.split(":")[0] for line in text.decode().splitlines()]


@given(passwds(), passwds())
def test_nothing_in_use_is_lost_or_moved(ours: bytes, theirs: bytes) -> None:
    found = keyed.union("/etc/passwd", ours, theirs)
    assert found.text.startswith(ours)
    assert users(found.text) == users(ours) + list(found.added)
    assert set(users(found.text)) == set(users(ours)) | set(users(theirs))


@given(passwds(), passwds())
def test_doing_it_again_changes_nothing(ours: bytes, theirs: bytes) -> None:
    found = keyed.union("/etc/passwd", ours, theirs)
    assert keyed.union("/etc/passwd", found.text, theirs) == keyed.Union(found.text, ())
    assert keyed.union("/etc/passwd", ours, ours) == keyed.Union(ours, ())


@given(passwds(), passwds(), passwds())
def test_what_was_taken_out_stays_out(ours: bytes, theirs: bytes, base: bytes) -> None:
    found = keyed.union("/etc/passwd", ours, theirs, base)
    assert set(found.added) == set(users(theirs)) - set(users(ours)) - set(users(base))


def union(path: str, ours: str, theirs: str, base: str | None = None) -> str:
    raw = base.encode() if base is not None else None
    return keyed.union(path, ours.encode(), theirs.encode(), raw).text.decode()


@pytest.mark.parametrize(
    ("path", "ours", "theirs", "wanted"),
    [
        ("/etc/group", "a:x:1:\n", "a:x:1:u\nb:x:2:\n", "a:x:1:u\nb:x:2:\n"),
        ("/etc/group", "a:x:1:me\n", "a:x:9:u,me\n", "a:x:1:me,u\n"),
        ("/etc/gshadow", "a:!:x:m\n", "a:*:y:n\n", "a:!:x,y:m,n\n"),
        ("/etc/shadow", "root:*:1::::::\n", "root:$y$:2::::::\nd:*:::::::\n", "root:*:1::::::\nd:*:::::::\n"),
        ("/etc/subuid", "a:100000:65536\n", "a:1:1\nb:165536:65536\n", "a:100000:65536\nb:165536:65536\n"),
        ("/etc/shells", "# c\n/bin/sh\n", "/bin/sh\n/bin/zsh\n", "# c\n/bin/sh\n/bin/zsh\n"),
        (
            "/etc/services",
            "ssh 22/tcp # mine\nown  9999/tcp\n",
            "# theirs\nssh  2222/tcp\nssh 22/udp\n\n",
            "ssh 22/tcp # mine\nown  9999/tcp\nssh 22/udp\n",
        ),
        ("/etc/tcb/root/shadow", "root:!*:1::::::\n", "root:*:::::::\n", "root:!*:1::::::\n"),
        ("/etc/passwd", "a:x:1:1::/:\n+::::::\n", "b:x:2:2::/:\n", "a:x:1:1::/:\nb:x:2:2::/:\n+::::::\n"),
        ("/etc/passwd", "a:x:1:1::/:", "b:x:2:2::/:", "a:x:1:1::/:\nb:x:2:2::/:\n"),
        ("/etc/passwd", "a:x:1:1::/:\n", "broken\n:x:3:3::/:\nc:x:y:3::/:\n", "a:x:1:1::/:\n"),
    ],
)
def test_examples(path: str, ours: str, theirs: str, wanted: str) -> None:
    assert union(path, ours, theirs) == wanted


def test_a_member_that_the_recipe_took_out_stays_out() -> None:
    base, theirs = "audio:x:29:pulse\n", "audio:x:29:pulse,speech\n"
    assert union("/etc/group", "audio:x:29:\n", theirs, base) == "audio:x:29:speech\n"


@pytest.mark.parametrize(
    ("path", "ours", "theirs", "words"),
    [
        ("/etc/passwd", "a:x:90:1::/:\n", "b:x:90:2::/:\n", "b and a both have the number 90"),
        ("/etc/group", "a:x:90:\n", "b:x:90:\n", "b and a both have the number 90"),
        ("/etc/subgid", "a:100:50\n", "b:149:5\n", "the ranges of b and a overlap"),
    ],
)
def test_a_clash_of_numbers_is_an_error(path: str, ours: str, theirs: str, words: str) -> None:
    with pytest.raises(StageError) as caught:
        union(path, ours, theirs)
    assert words in caught.value.why
    assert caught.value.where == path
    assert caught.value.hint


def test_two_names_that_the_package_gives_one_number_are_meant_so() -> None:
    root = "root:x:0:0::/root:/bin/sh\n"
    toor = "toor:x:0:0::/root:/bin/csh\n"
    assert union("/etc/passwd", root, root + toor) == root + toor
