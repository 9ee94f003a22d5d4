"""The Atom feed has what RFC 4287 requires, whatever is in the changes."""

from __future__ import annotations

import re
import uuid
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.changes_facts import facts, file, package
from tmplbuild.changes.compare import compare
from tmplbuild.changes.comparison import Side
from tmplbuild.changes.feed import ATOM, Item, feed

WHEN = 1_700_000_000
CHANGES = compare(
    facts(),
    facts(packages=(package("bash", "2"), package("new")), files=(file("/etc/motd", "bye <&>\n"),)),
    sides=(Side("a"), Side("b")),
)
ITEMS = [
    Item("20231114T221321Z-0000000b", "2 changed", WHEN + 1, CHANGES),
    Item("20231114T221320Z-0000000a", "first build", WHEN),
]


def parsed(data: bytes) -> ElementTree.Element:
    """The feed, after everything that RFC 4287 asks of one was looked for (4.1.1, 4.1.2)."""
    assert data.startswith(b"<?xml")
    root = ElementTree.fromstring(data)
    assert root.tag == f"{{{ATOM}}}feed"
    ids = []
    for place in (root, *root.findall(f"{{{ATOM}}}entry")):
        for name in ("id", "title", "updated"):
            (one,) = place.findall(f"{{{ATOM}}}{name}")
            assert one.text or name == "title"
        ids.append(place.findtext(f"{{{ATOM}}}id") or "")
        date = place.findtext(f"{{{ATOM}}}updated") or ""
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", date)  # RFC 3339
        assert len(place.findall(f"{{{ATOM}}}content")) <= 1
    assert root.findtext(f"{{{ATOM}}}author/{{{ATOM}}}name")  # then no entry needs one
    assert len(set(ids)) == len(ids)
    assert all(uuid.UUID(one).urn == one for one in ids)
    for content in root.iter(f"{{{ATOM}}}content"):
        assert content.get("type") == "text"
        assert len(content) == 0
    allowed = {
        "author",
        "entry",
        "feed",
        "generator",
        "id",
        "link",
        "name",
        "title",
        "updated",
        "summary",
        "content",
    }
    assert {one.tag.removeprefix(f"{{{ATOM}}}") for one in root.iter()} <= allowed
    return root


def test_a_feed() -> None:
    root = parsed(feed("debian-12-x86_64", ITEMS, address="https://mirror.example.org/debian-12.atom"))
    first, second = root.findall(f"{{{ATOM}}}entry")
    assert root.findtext(f"{{{ATOM}}}updated") == "2023-11-14T22:13:21Z"
    content = first.findtext(f"{{{ATOM}}}content") or ""
    assert "  bash  1.0-1 -> 2" in content
    assert "      +bye <&>" in content
    assert first.findtext(f"{{{ATOM}}}summary") == "1 upgraded, 1 added, 1 removed; /etc: 1 file"
    assert second.findtext(f"{{{ATOM}}}content") == "first build"
    (self,) = root.findall(f"{{{ATOM}}}link")
    assert (self.get("rel"), self.get("href")) == ("self", "https://mirror.example.org/debian-12.atom")


def test_ids_stay_the_same_and_differ_by_template() -> None:
    again = [re.findall(rb"<id>(.*)</id>", feed("debian-12-x86_64", items)) for items in (ITEMS, ITEMS[:1])]
    assert again[0][:2] == again[1]
    assert again[1] != re.findall(rb"<id>(.*)</id>", feed("other", ITEMS[:1]))


def test_no_builds_are_a_feed_too() -> None:
    parsed(feed("debian-12-x86_64", []))


@given(st.text(), st.text(), st.floats(0, 4e9))
def test_any_text_is_xml(name: str, title: str, made: float) -> None:
    changes = compare(facts(files=()), facts(files=(file(f"/etc/{title}"),)), sides=(Side("a"), Side("b")))
    parsed(feed(name, [Item("key", title, made, changes)]))
