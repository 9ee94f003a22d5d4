"""Changes as an Atom feed (RFC 4287): an entry a build, for readers of feeds and for other programs."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree

from tmplbuild import __version__
from tmplbuild.changes.comparison import Comparison
from tmplbuild.changes.text import headline, lines

ATOM = "http://www.w3.org/2005/Atom"
_SPACE = uuid.UUID("a5d1d8f0-7c0a-5b7e-9a55-3c9f0f5f4f10")  # ours; ids must stay the same for ever
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Item:
    """What becomes an entry. `key` is unique and stays the same (a build's id); `made` seconds since the
    epoch; `changes` None for a first build; `link` is the address of a page about it, if there is one."""

    key: str
    title: str
    made: float
    changes: Comparison | None = None
    link: str = ""


def feed(name: str, items: Sequence[Item], *, address: str = "") -> bytes:
    """A feed document.

    Parameters:
        name: the template's; with a key it makes the entries' ids.
        items: the newest first.
        address: where the feed itself will be found, if that is known.
    """
    ElementTree.register_namespace("", ATOM)
    root = ElementTree.Element(f"{{{ATOM}}}feed")
    _add(root, "id", _id(name))
    _add(root, "title", f"{name}: changes")
    _add(root, "updated", _date(max((item.made for item in items), default=0)))
    if address:
        _add(root, "link", "", rel="self", type="application/atom+xml", href=address)
    _add(_add(root, "author", ""), "name", "tmplbuild")
    _add(root, "generator", "tmplbuild", version=__version__)
    for item in items:
        entry = _add(root, "entry", "")
        _add(entry, "id", _id(f"{name}/{item.key}"))
        _add(entry, "title", item.title)
        _add(entry, "updated", _date(item.made))
        if item.link:
            _add(entry, "link", "", rel="alternate", type="text/html", href=item.link)
        body = "first build" if item.changes is None else "\n".join(lines(item.changes))
        _add(entry, "summary", "first build" if item.changes is None else headline(item.changes))
        _add(entry, "content", body, type="text")
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def key_of(*digests: str) -> str:
    """A key for a comparison of two templates that have no build's id."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _add(parent: ElementTree.Element, name: str, text: str, **attributes: str) -> ElementTree.Element:
    found = ElementTree.SubElement(parent, f"{{{ATOM}}}{name}", attributes)
    found.text = _NOT_XML.sub("\ufffd", text) or None
    return found


def _id(name: str) -> str:
    return uuid.uuid5(_SPACE, name.encode("utf-8", "backslashreplace").decode()).urn


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
