"""HTML as values: the one door through which text becomes a page, and it escapes.

`h("a", "more & more", href="x")` is `<a href="x">more &amp; more</a>`. What is not `Html` already is text,
and is escaped; `Html` is made here alone. Names of packages, titles and the like are others' words: nothing
of them can become markup, nor turn the direction of what follows.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from urllib.parse import quote

from tmplbuild.ui.words import printable

_VOID = {"meta", "link", "br", "hr", "input", "img"}


class Html(str):
    """Text that is markup."""

    __slots__ = ()


Piece = str | Html | Iterable["Piece"] | None
"""What an element may hold: text, markup, several of them, or nothing."""


def text(found: Piece) -> Html:
    """Any piece as markup."""
    if found is None:
        return Html()
    if isinstance(found, Html):
        return found
    if isinstance(found, str):
        return Html(html.escape("\n".join(printable(line) for line in found.split("\n"))))
    return Html("".join(text(one) for one in found))


def h(tag: str, *content: Piece, **attributes: str | bool | None) -> Html:
    """An element. `class_` is class, an underscore a dash; True has no value, None is left out."""
    words = [tag]
    for name, value in attributes.items():
        name = name.rstrip("_").replace("_", "-")
        if value is True:
            words.append(name)
        elif value not in (None, False):
            words.append(f'{name}="{text(str(value))}"')
    if tag in _VOID:
        return Html(f"<{' '.join(words)}>")
    return Html(f"<{' '.join(words)}>{text(content)}</{tag}>")


def address(path: str) -> str:
    """A path of the mirror as a relative address."""
    return quote(path)


def document(head: Piece, body: Piece, **attributes: str) -> bytes:
    """A whole page."""
    page = h("html", h("head", head), h("body", body), lang="en", **attributes)
    return f"<!doctype html>\n{page}\n".encode()
