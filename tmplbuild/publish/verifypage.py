"""The pages of a mirror: every link of them leads to something that is there, and no checksum is another."""

from __future__ import annotations

import posixpath
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

from tmplbuild.publish.checker import Checker
from tmplbuild.publish.indexes import sums

_BUILDS = "images/"


class _Page(HTMLParser):
    """What a page names: its own anchors, what it links to, and the checksums that it shows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.digests: list[tuple[str, str]] = []
        self._of = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found["id"]} if "id" in found else set()
        self.links += [found[name] for name in ("href", "src") if name in found]
        self._of = found.get("data-of", "")

    def handle_data(self, data: str) -> None:
        if self._of:
            self.digests.append((self._of, data))
            self._of = ""


def check_pages(checker: Checker, index: dict[str, Any]) -> None:
    """Follow all links from the first page on, if the mirror says that it has one."""
    if not index.get("page"):
        return
    fixed = {line.partition("  ")[2] for line in checker.small(sums.NAME).decode().splitlines()}
    pages: dict[str, _Page] = {}
    waiting = [str(index["page"])]
    anchors: list[tuple[str, str, str]] = []
    there = fixed | checker.known.keys()
    while waiting:
        path = waiting.pop()
        if path in pages:
            continue
        with checker.noting(path):
            pages[path] = page = _Page(checker.small(path).decode())
            checker.report.pages += 1
            for link in page.links:
                target, fragment = _target(path, link)
                if target is None:
                    checker.fault(path, f"it leads elsewhere: {link}")
                elif target.endswith(".html"):
                    waiting.append(target)
                    anchors += [(path, target, fragment)] if fragment else []
                elif target.startswith(_BUILDS):
                    _of_build(checker, path, target)
                elif target not in there:
                    there.add(target)
                    _other(checker, path, target)
            for target, digest in page.digests:
                checker.named(path, target, None, digest)
    for path, target, fragment in anchors:
        if target in pages and fragment not in pages[target].ids:
            checker.fault(path, f"{target} has no #{fragment}")


def _target(path: str, link: str) -> tuple[str | None, str]:
    """The path that a link of a page leads to, None for one beyond the mirror; and its fragment."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or parts.path.startswith("/"):
        return None, ""
    if not parts.path:
        return path, parts.fragment
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(parts.path)))
    return (None if target.startswith("..") else target), parts.fragment


def _of_build(checker: Checker, path: str, target: str) -> None:
    """A file of a build: one that index.json lists, or one that is on its way out and still there."""
    if target not in checker.known:
        with checker.noting(f"{path} -> {target}"):
            checker.remote.size(target)


def _other(checker: Checker, path: str, target: str) -> None:
    """A small file: an index, a feed, a style."""
    data = checker.remote.small(target)
    if data is None:
        checker.fault(path, f"it leads to {target}, which is not there")
    elif target.endswith(".atom"):
        with checker.noting(target):
            _feed(checker, target, data)


def _feed(checker: Checker, target: str, data: bytes) -> None:
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        checker.fault(target, f"it is no feed: {error}")
        return
    if root.tag.rpartition("}")[2] != "feed":
        checker.fault(target, "it is no feed")
