"""Set-versions: the encoding, and what holds what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmplbuild.archives.aptrpm.setversion import compare, decode, encode, is_set, lacking, of_symbols

KNOWN = "set:hdf7q2P5VZwtLGr9TKxhrEM1"  # the example in the self-test of rpm's set.c
KNOWN_VALUES = {231, 2317, 2502, 4546, 5010, 5353, 5956, 8479, 8576, 8630, 9080}

BPP = st.integers(10, 32)


@st.composite
def sets(draw: st.DrawFn, bpp: int | None = None) -> tuple[int, frozenset[int]]:
    """Bits a value has, and some values."""
    bits = draw(BPP) if bpp is None else bpp
    return bits, draw(st.frozensets(st.integers(0, (1 << bits) - 1), min_size=1, max_size=40))


def test_the_example_of_rpm_is_read_and_written() -> None:
    assert decode(KNOWN) == (14, frozenset(KNOWN_VALUES))
    assert encode(KNOWN_VALUES, 14) == KNOWN


@given(sets())
def test_what_is_encoded_is_decoded(made: tuple[int, frozenset[int]]) -> None:
    bpp, values = made
    text = encode(values, bpp)
    assert is_set(text)
    assert text[4:].isalnum()
    assert decode(text) == (bpp, values)
    assert compare(text, text) == 0


@given(sets(), st.data())
def test_comparison_is_that_of_sets(made: tuple[int, frozenset[int]], data: st.DataObject) -> None:
    bpp, values = made
    _, others = data.draw(sets(bpp))
    one, two = encode(values, bpp), encode(others, bpp)
    both = encode(values | others, bpp)
    expected = 0 if values == others else 1 if values > others else -1 if values < others else None
    assert compare(one, two) == expected
    assert compare(both, one) in (0, 1)
    assert compare(one, both) in (0, -1)
    assert lacking(both, two) == 0
    assert lacking(one, two) == len(others - values)


@given(sets(), st.data())
def test_holding_is_antisymmetric_and_transitive(
    made: tuple[int, frozenset[int]], data: st.DataObject
) -> None:
    bpp, values = made
    more = values | data.draw(sets(bpp))[1]
    most = more | data.draw(sets(bpp))[1]
    small, middle, large = (encode(held, bpp) for held in (values, more, most))
    assert compare(large, small) in (0, 1)
    assert compare(middle, small) in (0, 1)
    forward, back = compare(small, large), compare(large, small)
    assert forward is not None
    assert back is not None
    assert forward == -back


@given(sets(), BPP)
def test_sets_of_different_bits_compare_by_the_bits_both_have(
    made: tuple[int, frozenset[int]], bits: int
) -> None:
    bpp, values = made
    low = min(bpp, bits)
    reduced = {value & ((1 << low) - 1) for value in values}
    assert compare(encode(values, bpp), encode(reduced, low)) == 0
    assert compare(encode(reduced, low), encode(values, bpp)) == 0


def test_symbols_that_are_there_satisfy() -> None:
    library = of_symbols((f"symbol_{number}" for number in range(3000)), 24)
    program = of_symbols(("symbol_1", "symbol_2999"), 20)
    assert compare(library, program) == 1
    assert compare(library, of_symbols(("symbol_1", "other"), 20)) is None


@pytest.mark.parametrize(
    "text",
    [
        "set:",
        "set:h",
        "set:hd",
        "set:cd0",  # 9 bits a value
        "set:aaaa",
        "set:hh1",  # the parameter is not below the bits
        "set:hd!",
        "set:hdZ",
        "set:hdZZ",
        "set:hd0",  # zeros that fill up nothing
        "set:hd00000",
        "set:hd1",  # the low bits are missing
        "set:Zd11",
        "set:hd1é",
    ],
)
def test_what_no_encoder_makes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="set-version"):
        decode(text)
    assert compare(text, KNOWN) is None
    assert compare(KNOWN, text) is None


@given(st.text(alphabet="0123ZYabcdefghijz", max_size=60))
def test_any_text_is_a_set_or_an_error(text: str) -> None:
    try:
        bpp, values = decode(f"set:{text}")
    except ValueError:
        return
    assert values
    assert max(values) < 1 << bpp


@pytest.mark.parametrize(("values", "bpp"), [((), 16), ((1 << 16,), 16), ((-1,), 16), ((1,), 9), ((1,), 33)])
def test_what_cannot_be_written_is_an_error(values: tuple[int, ...], bpp: int) -> None:
    with pytest.raises(ValueError):
        encode(values, bpp)
