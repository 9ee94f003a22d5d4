"""TOML with places: every key and item knows its line."""

from __future__ import annotations

import datetime
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmplbuild.tomlfile import Unreadable, did_you_mean, quote, quote_key, read, spell

TEXT = '''# a comment
top = 1
[a.b]  # another
x = "]["
"q.k".y = """
several
lines"""
add.l = [
  "one", # ]
  "two", {z = 1, y = 'q'},
]
[[a.e]]
p = 1
[[a.e]]
p = 2
d = 2020-01-02
[a.e.sub]
k = \'\'\'it''s\'\'\'
'''


def lines(text: str, folder: Path) -> dict[str, int]:
    path = folder / "x.toml"
    path.write_text(text)
    return {spell(key): node.place.line for key, node in read(path).walk() if key}


def test_each_key_and_item_has_its_line(tmp_path: Path) -> None:
    found = lines(TEXT, tmp_path)
    assert found["top"] == 2
    assert found["a.b"] == 3
    assert found["a.b.x"] == 4
    assert found['a.b."q.k".y'] == 5
    assert found["a.b.add.l"] == 8
    assert (found["a.b.add.l[0]"], found["a.b.add.l[1]"], found["a.b.add.l[2].y"]) == (9, 10, 10)
    assert (found["a.e[0].p"], found["a.e[1].p"], found["a.e[1].d"]) == (13, 15, 16)
    assert found["a.e[1].sub.k"] == 18


def test_values_are_those_of_tomllib(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(TEXT)
    assert read(path).plain() == tomllib.loads(TEXT)


def test_windows_line_ends_count_once(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"a = 1\r\nb = [\r\n  2,\r\n]\r\n")
    assert [node.place.line for _, node in read(path).walk()] == [1, 1, 2, 3]


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"a = 1\nb = = 2\n", 2, "not valid TOML: Invalid value"),
        (b"a = 1\nb = '\xff'\n", 2, "not UTF-8"),
        (b"a = 1\na = 2\n", 2, "Cannot overwrite"),
        (b"a = " + b"[" * 20000, 0, "nested too deep"),
        (b"a = " + b"1" * 5000, 0, "not valid TOML"),
    ],
)
def test_what_is_no_toml_is_a_fault_with_its_line(
    tmp_path: Path, content: bytes, line: int, words: str
) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(Unreadable) as caught:
        read(path)
    assert words in caught.value.fault.text
    assert caught.value.fault.place.line == line


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="No such file"):
        read(tmp_path / "absent.toml")


SCALARS = st.one_of(st.booleans(), st.integers(-(2**60), 2**60), st.text(), st.dates())
TREES = st.dictionaries(
    st.text(min_size=1, max_size=6),
    st.recursive(
        SCALARS,
        lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=5), below, max_size=4),
        max_leaves=12,
    ),
    max_size=6,
)


def written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, list):
        return "[" + ", ".join(f"\n {written(item)}" for item in value) + "\n]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quote_key(key)} = {written(item)}" for key, item in value.items()) + "}"
    return value.isoformat() if isinstance(value, datetime.date) else str(value)


@given(TREES)
def test_any_table_is_read_and_all_of_it_is_placed(
    tmp_path_factory: pytest.TempPathFactory, tree: dict
) -> None:
    path = tmp_path_factory.mktemp("toml") / "x.toml"
    text = "".join(f"{quote_key(key)} = {written(value)}\n" for key, value in tree.items())
    path.write_text(text, newline="\n")
    node = read(path)
    assert node.plain() == tree
    rows = text.split("\n")
    for key, value in tree.items():
        assert rows[node.value[key].place.line - 1] == f"{quote_key(key)} = {written(value)}".split("\n")[0]


def test_the_nearest_word_is_suggested() -> None:
    assert did_you_mean("packges", ["packages", "exclude"]) == 'did you mean "packages"?'
    assert did_you_mean("zzz", ["packages"]) == ""
