"""What all pages have: head, header, foot, and the small things in them."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tmplbuild.artifact.manifest import rfc3339
from tmplbuild.publish.health import Failure, Health
from tmplbuild.publish.indexes import KEY, Catalog
from tmplbuild.publish.model import Build, File
from tmplbuild.publish.page.assets import ASSETS
from tmplbuild.publish.page.commands import BASE, Use
from tmplbuild.publish.page.html import Html, Piece, address, document, h
from tmplbuild.publish.page.records import Record

INDEX = "index.html"
FEED = "feed.atom"
FOLDER = "templates"

NOTHING = "\N{EN DASH}"
"""What stands where there is nothing to tell."""

_POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'none'"
"""Even if a name of somebody's were markup, a browser would run nothing of it."""


@dataclass(frozen=True, slots=True)
class Site:
    """What pages are made of: the catalog, each build's record, the templates' health at `now` (seconds)."""

    catalog: Catalog
    records: dict[tuple[str, str], Record]
    health: Health
    now: int

    def record(self, build: Build) -> Record:
        """The record of a build that a page is made of."""
        return self.records[build.template, build.build]


def template_page(name: str) -> str:
    """The path of a template's page."""
    return f"{FOLDER}/{name}.html"


def template_feed(name: str) -> str:
    """The path of a template's feed."""
    return f"{FOLDER}/{name}.atom"


def build_page(build: Build) -> str:
    """The path of a build's page."""
    return f"{FOLDER}/{build.template}/{build.build}.html"


def page(site: Site, path: str, title: str, *content: Piece, feed: str = FEED) -> bytes:
    """A whole page.

    Parameters:
        path: where it will be; all addresses in it are relative to that.
        content: of its main part.
        feed: the feed that it is offered with.
    """
    up = "../" * path.count("/")
    name = site.catalog.settings.title
    head = (
        h("meta", charset="utf-8"),
        h("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        h("meta", name="viewport", content="width=device-width, initial-scale=1"),
        h("meta", name="color-scheme", content="light dark"),
        h("meta", name="referrer", content="no-referrer"),
        h("title", title if title == name else f"{title} \N{MIDDLE DOT} {name}"),
        h("link", rel="stylesheet", href=up + ASSETS.style),
        h("link", rel="icon", type="image/svg+xml", href=up + ASSETS.icon),
        h("link", rel="alternate", type="application/atom+xml", title="Changes", href=up + address(feed)),
        h("script", "", src=up + ASSETS.script, defer=True),
    )
    body = (
        h("a", "Skip to the content", class_="skip", href="#main"),
        _header(site, up),
        h("main", *content, id="main", tabindex="-1"),
        _footer(site, up),
        h("p", "", id="said", class_="unseen", role="status"),
    )
    return document(head, body, data_root=up or "./")


def _header(site: Site, up: str) -> Html:
    links = [
        h("a", "Templates", href=f"{up}{INDEX}"),
        h("a", "Feed", href=up + FEED),
        h("a", "Trust", href=f"{up}{INDEX}#trust"),
    ]
    return h(
        "header",
        h(
            "div",
            h("a", h("span", "", class_="mark", aria_hidden="true"), site.catalog.settings.title,
              class_="brand", href=f"{up}{INDEX}"),
            h("nav", links, aria_label="Site"),
            class_="wide",
        ),
        class_="top",
    )  # fmt: skip


def _footer(site: Site, up: str) -> Html:
    indexes = ("index.json", "SHA256SUMS", "streams/v1/index.json", "meta/1.0/index-system", "aplinfo.dat")
    links = [h("li", h("a", name, href=up + name)) for name in indexes]
    if site.catalog.key:
        links.append(h("li", h("a", KEY, href=up + KEY)))
    state = site.catalog.state
    return h(
        "footer",
        h(
            "div",
            h("p", f"Generation {state.serial}, ", moment(state.made), ". Made by tmplbuild."),
            h("nav", h("ul", links), aria_label="Indexes for programs"),
            class_="wide",
        ),
    )


def path(above: Piece, here: str) -> Html:
    """The way from the first page to this one."""
    return h("nav", above, h("span", here, aria_current="page"), class_="path", aria_label="Breadcrumb")


def search(example: str) -> Html:
    """A field to search with."""
    field = h("input", type="search", name="q", autocomplete="off", spellcheck="false", placeholder=example)
    return h("label", h("span", "Search"), field)


def moment(seconds: int, *, short: bool = False) -> Html:
    """A time: "28 Nov 2026, 03:20 UTC", or only the day."""
    when = time.gmtime(seconds)
    day = f"{when.tm_mday} {time.strftime('%b %Y', when)}"
    text = day if short else f"{day}, {time.strftime('%H:%M', when)} UTC"
    return h("time", text, datetime=rfc3339(seconds))


def checksum(file: File) -> Html:
    """A file's SHA-256, whole; the style shortens it where there is no room. `verify` looks for these."""
    return h("code", file.sha256, class_="sum", data_of=file.path, data_copy=True)


def link(path: str, text: Piece, up: str, **attributes: str | bool | None) -> Html:
    """A link to a path of the mirror."""
    return h("a", text, href=up + address(path), **attributes)


def badge(word: str, text: str) -> Html:
    """A template's state: a mark, and words."""
    return h("span", h("span", "", class_="dot", aria_hidden="true"), text, class_=f"badge {word}")


def state_of(site: Site, build: Build) -> Html:
    """The state of a template whose current build this is, with what follows from it."""
    word = site.health.word(build, site.now)
    failure = site.health.failures.get(build.template)
    if failure:
        return h("div", badge("failing", "Failing"), h("span", _failing(failure), class_="hint"))
    if word == "stale":
        days = (site.now - build.published) // 86400
        return h("div", badge("stale", "Stale"), h("span", f"no new build for {days} days", class_="hint"))
    days = site.health.stale_after_days
    # the page's script says when it has become stale since
    until = rfc3339(build.published + days * 86400) if days else None
    return h("div", badge("fresh", "Fresh"), data_until=until)


def _failing(failure: Failure) -> Piece:
    times = f", {failure.times} times" if failure.times > 1 else ""
    return (
        "since ",
        moment(failure.since, short=True),
        f" in {failure.stage}{times}; the last good build is shown",
    )


def ended(site: Site, build: Build) -> Html | None:
    """That a release is not supported any more, if so."""
    today = time.strftime("%Y-%m-%d", time.gmtime(site.now))
    return badge("ended", f"support ended {build.eol}") if build.eol and build.eol < today else None


def commands(lines: tuple[str, ...], label: str) -> Html:
    """Lines for a shell, to be copied as they are."""
    pieces: list[Piece] = []
    for line in lines:
        for at, part in enumerate(line.split(BASE)):
            pieces += [h("span", BASE, class_="base"), part] if at else [part]
        pieces.append("\n")
    pieces.pop()
    return h("pre", h("code", pieces), tabindex="0", aria_label=label, role="region", data_copy=True)


def client(use: Use) -> Html:
    """How one client gets a template."""
    once = (h("p", "Once", class_="label"), commands(use.once, f"{use.name}, once")) if use.once else ()
    then = h("p", "Then", class_="label") if use.once else None
    note = h("p", use.note, class_="note") if use.note else None
    return h(
        "article",
        h("h3", use.name),
        once,
        then,
        commands(use.lines, use.name),
        note,
        class_="client",
        id=f"use-{use.id}",
    )


def cells(row: tuple[tuple[str, Piece], ...], **attributes: str) -> Html:
    """A row of a table whose cells stand below each other where there is no room: each has its name."""
    (_, first), *others = row
    return h(
        "tr",
        h("th", first, scope="row", role="rowheader"),
        [h("td", h("div", one), data_label=name, role="cell") for name, one in others],
        role="row",
        **attributes,
    )


def rows(names: tuple[str, ...], body: list[Html], **attributes: str) -> Html:
    """A table of `cells`. The roles keep it a table for readers where the style makes it a list."""
    heads = h("tr", [h("th", name, scope="col", role="columnheader") for name in names], role="row")
    return h(
        "table",
        h("thead", heads, role="rowgroup"),
        h("tbody", body, role="rowgroup"),
        role="table",
        **attributes,
    )
