"""Module streams: which are active, what is seen of an archive, and lists that are none."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.module_lists import default, stream
from tmplbuild.archives.rpmmd.modules import Modules, active, seen
from tmplbuild.errors import ResolveError, VerifyError
from tmplbuild.yamlfile import YamlError, documents


def read(path: Path, *texts: str | bytes) -> Modules:
    found = Modules()
    for number, text in enumerate(texts):
        place = path / f"{number}.yaml"
        place.write_bytes(text.encode() if isinstance(text, str) else text)
        found.read(place, "here")
    return found


def titles(modules: Modules, *wanted: str) -> list[str]:
    return [one.title for one in active(modules, wanted, "x86_64")]


NODE = stream("node:18", ["node-0:18-1.x86_64"]) + stream("node:1.20", ["node-0:20-1.x86_64"])


def test_a_stream_is_text(tmp_path: Path) -> None:
    assert titles(read(tmp_path, NODE), "node:1.20") == ["node:1.20"]


def test_nothing_is_active_by_itself(tmp_path: Path) -> None:
    assert titles(read(tmp_path, NODE)) == []


def test_the_default_stream_but_where_another_one_is_named(tmp_path: Path) -> None:
    modules = read(tmp_path, NODE, default("node:18"))
    assert titles(modules) == ["node:18"]
    assert titles(modules, "node:1.20") == ["node:1.20"]


def test_of_default_streams_the_latest_word_counts_and_a_dispute_is_none(tmp_path: Path) -> None:
    assert titles(read(tmp_path, NODE, default("node:18", 2), default("node:1.20", 1))) == ["node:18"]
    assert titles(read(tmp_path, NODE, default("node:18", 2), default("node:1.20", 2))) == []
    assert titles(read(tmp_path, NODE, default("node:gone"))) == []


def test_what_a_stream_needs_is_active_too(tmp_path: Path) -> None:
    text = NODE + stream("app:1", [], needs={"node": ["16", "18"]}) + stream("any:1", [], needs={"node": []})
    assert titles(read(tmp_path, text), "app:1") == ["app:1", "node:18"]
    assert titles(read(tmp_path, text), "any:1", "node:1.20") == ["any:1", "node:1.20"]


def test_what_a_stream_cannot_stand_with(tmp_path: Path) -> None:
    text = NODE + stream("app:1", [], needs={"node": ["-18"]})
    assert titles(read(tmp_path, text), "app:1") == ["app:1", "node:1.20"]
    with pytest.raises(ResolveError, match="cannot be had together"):
        titles(read(tmp_path, text), "app:1", "node:18")


def test_a_default_that_cannot_be_had_is_none(tmp_path: Path) -> None:
    text = NODE + stream("app:1", [], needs={"node": ["18"]}) + stream("lone:1", [], needs={"lost": ["1"]})
    modules = read(tmp_path, text, default("app:1"), default("lone:1"))
    assert titles(modules) == ["app:1", "node:18"]
    assert titles(modules, "node:1.20") == ["node:1.20"]
    both = read(tmp_path, text, default("app:1"), default("node:1.20"))
    assert titles(both) == ["node:1.20"]


def test_a_stream_that_needs_another_one_than_the_default(tmp_path: Path) -> None:
    modules = read(tmp_path, NODE, stream("app:1", [], needs={"node": ["18"]}), default("node:1.20"))
    with pytest.raises(ResolveError, match="needs node:18, which is not its module's default"):
        titles(modules, "app:1")
    assert titles(modules, "app:1", "node:18") == ["app:1", "node:18"]


@pytest.mark.parametrize(
    ("wanted", "says"), [("node:19", "there are node:1.20, node:18"), ("nodes:18", "there are node:18")]
)
def test_a_stream_that_there_is_not(tmp_path: Path, wanted: str, says: str) -> None:
    with pytest.raises(ResolveError, match="no module stream") as caught:
        titles(read(tmp_path, NODE), wanted)
    assert says in str(caught.value.hint)
    assert caught.value.exit_code == 10


def test_two_streams_of_a_module(tmp_path: Path) -> None:
    with pytest.raises(ResolveError, match="cannot be had together"):
        titles(read(tmp_path, NODE), "node:18", "node:1.20")


def test_all_builds_of_a_stream_are_seen_that_need_the_same(tmp_path: Path) -> None:
    text = stream("node:18", ["node-0:18-1.x86_64"], version=1)
    text += stream(
        "node:18", ["node-0:18-2.x86_64", "node-0:18-2.src", "left-0:1-1.noarch"], version=2, plain=["left"]
    )
    text += stream("node:20", ["node-0:20-1.x86_64"])
    modules = read(tmp_path, text)
    shown, gone, names = seen(modules, active(modules, ["node:18"], "x86_64"))
    assert shown == {"node-0:18-1.x86_64", "node-0:18-2.x86_64", "node-0:18-2.src", "left-0:1-1.noarch"}
    assert gone == {"node-0:20-1.x86_64"}
    assert names == {"node"}
    assert modules.of_package("node") == ["node:18", "node:20"]


HEAD = "document: modulemd\ndata:\n  name: a\n  stream: b\n"
NONE = [
    b"\xff\x80",
    b"a: [",
    b"a: *b",
    b"a: &b [*b]",
    b"a: !!python/object:os.system x",
    b"a: 1\na: 2",
    b"? [a]\n: b",
    b"[" * 100,
    "\n".join(" " * depth + "a:" for depth in range(100)).encode(),
    b"document: modulemd\n",
    b"document: modulemd\ndata: [1]\n",
    b"document: modulemd\ndata:\n  name: a\n",
    b'document: modulemd\ndata:\n  name: "a\\0"\n  stream: b\n',
    HEAD.encode() + b"  version: -1\n",
    HEAD.encode() + b"  version: " + b"9" * 30 + b"\n",
    HEAD.encode() + b"  artifacts: []\n  dependencies: [a]\n",
    HEAD.encode() + b"  artifacts:\n    rpms: {a: b}\n",
    HEAD.encode() + b"  artifacts:\n    rpms: [[a]]\n",
    b"document: modulemd-defaults\ndata:\n  module: a\n  stream: [b]\n",
]


@pytest.mark.parametrize("content", NONE)
def test_what_is_no_list_of_modules(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(VerifyError, match="list of modules cannot be read") as caught:
        read(tmp_path, content)
    assert caught.value.where
    assert caught.value.why


def test_other_documents_decide_nothing(tmp_path: Path) -> None:
    modules = read(tmp_path, b"---\ndocument: modulemd-translations\ndata: 5\n---\n- a\n---\n...\n")
    assert titles(modules) == []


WORDS = [
    *HEAD.split(),
    "-",
    "- ",
    "\n",
    "  ",
    "rpms:",
    "artifacts:",
    "a-1:2-3.noarch",
    "{",
    "}",
    "[",
    "]",
    "&a",
    "*a",
    "!",
    "|",
    ">",
    "'",
    '"',
    "\\",
    "#",
    "---",
    "...",
    "?",
    "\t",
]


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(WORDS), max_size=60).map("".join)))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: bytes | str) -> None:
    try:
        modules = read(tmp_path_factory.getbasetemp(), text)
        titles(modules)
    except VerifyError:
        return


@pytest.mark.parametrize(
    "text",
    [b"- a-1:" + b"a-1:" * 500_000, b"- " * 1_000_000, b"-" * 2_000_000, b"[" * 1_000_000, b"a: " * 300_000],
)
def test_a_line_without_end_takes_no_time(text: bytes) -> None:
    began = time.process_time()
    with suppress(YamlError):
        list(documents(text))
    assert time.process_time() - began < 60  # a hundredth of one is usual


def test_typed_words_and_plain_ones() -> None:
    text = "a: true\nb: 'true'\nc: ~\nd: 1.10\ne:\nf: No\n"
    assert list(documents(text, typed=True)) == [
        {"a": True, "b": "true", "c": None, "d": "1.10", "e": None, "f": False}
    ]
    assert list(documents(text)) == [{"a": "true", "b": "true", "c": "~", "d": "1.10", "e": "", "f": "No"}]
