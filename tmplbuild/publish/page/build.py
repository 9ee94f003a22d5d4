"""A build's page: what it changed, and every package in it."""

from __future__ import annotations

from collections.abc import Iterator

from tmplbuild.changes.comparison import Change, Comparison, FileChange, PackageChange
from tmplbuild.publish.model import Build
from tmplbuild.publish.page.html import Html, Piece, h
from tmplbuild.publish.page.parts import (
    INDEX,
    NOTHING,
    Site,
    build_page,
    cells,
    link,
    moment,
    page,
    path,
    rows,
    search,
    template_feed,
    template_page,
)
from tmplbuild.publish.page.records import Record
from tmplbuild.publish.page.template import told
from tmplbuild.ui.words import plural, size

_UP = "../../"
_ORDER = ("upgraded", "downgraded", "changed", "added", "removed")
_OTHERS = {
    "service": "Services",
    "user": "Users",
    "group": "Groups",
    "privileged": "Setuid files",
    "trait": "Traits",
}


def build(site: Site, one: Build) -> bytes:
    """The page of a build whose files are there."""
    record = site.record(one)
    listed = any(one.build == other.build for other in site.catalog.state.listed(one.template))
    return page(
        site,
        build_page(one),
        f"{one.template} {one.build}",
        path([h("a", "Templates", href=f"{_UP}{INDEX}"), _parent(site, one)], one.build),
        h(
            "div",
            h("h1", one.template, " ", h("small", one.build)),
            h("p", told(record), class_="lead"),
            h("p", "Published ", moment(one.published), ", archives of ", moment(one.epoch), "."),
            None if listed else h("p", "No index names this build any more; its files go soon."),
            class_="opening",
        ),
        _changes(site, one, record),
        _packages(one, record),
        feed=template_feed(one.template),
    )


def _parent(site: Site, one: Build) -> Html:
    if site.catalog.state.listed(one.template):
        return h("a", one.template, href=f"{_UP}{template_page(one.template)}")
    return h("span", one.template)


def _changes(site: Site, one: Build, record: Record) -> Html:
    found = record.changes
    body: list[Piece]
    if found is None:
        body = [h("p", "There was no build before it.")]
    elif found.same:
        body = [h("p", "Nothing that is looked at.")]
    else:
        body = [*_told(found)]
    since: Piece = None
    if record.against:
        before = next(
            (two for two in site.catalog.state.of(one.template) if two.build == record.against), None
        )
        name = h("code", record.against)
        there = h("a", name, href=_UP + build_page(before)) if before else name
        since = h("p", "Since ", there, ".", class_="quiet")
    return h("section", h("h2", "Changes"), since, body, id="changes")


def _told(found: Comparison) -> Iterator[Html]:
    if found.breaking:
        rows_ = [h("li", text) for text in found.breaking]
        yield h("div", h("h3", "May break those who use it"), h("ul", rows_), class_="warning")
    for change in _ORDER:
        if changed := found.of(change):
            yield _package_changes(change, changed)
    if found.files:
        yield h("h3", "Files of /etc")
        yield h("ul", [_file(one) for one in found.files], class_="changed")
    for kind, title in _OTHERS.items():
        if others := found.kind(kind):
            yield h("h3", title)
            yield h("ul", [_other(one) for one in others], class_="changed")


def _package_changes(change: str, changed: tuple[PackageChange, ...]) -> Html:
    title = f"{plural(len(changed), 'package')} {change}"
    body = [
        cells(
            (
                ("", h("code", one.name)),
                ("Before", one.before or NOTHING),
                ("After", one.after or NOTHING),
                ("Security", _security(one)),
            )
        )
        for one in changed
    ]
    table = rows(("Package", "Before", "After", "Security"), body, class_="stack versions", aria_label=title)
    return h("div", h("h3", title), table)


def _security(one: PackageChange) -> Piece:
    if not one.security:
        return h("span", NOTHING, class_="quiet")
    return (h("span", one.urgency or "security", class_="tag alarm"), " ", " ".join(one.cves))


def _file(one: FileChange) -> Html:
    what = ", ".join((*one.what, *([one.detail] if one.detail else []))) or one.change
    name = (h("code", one.path), " ", h("span", what, class_="quiet"))
    if not one.diff:
        return h("li", name)
    diff = h("pre", h("code", one.diff), tabindex="0", aria_label=f"difference of {one.path}", role="region")
    return h("li", h("details", h("summary", name), diff))


def _other(one: Change) -> Html:
    states = " → ".join(state for state in (one.before or "not there", one.after or "not there"))
    return h("li", h("code", one.name), " ", h("span", states, class_="quiet"))


def _packages(one: Build, record: Record) -> Html:
    body = [
        cells(
            (("", h("code", found.name)), ("Version", found.version), ("Architecture", found.arch),
             ("Source", found.source or found.name)),
            data_words=f"{found.name} {found.version} {found.source or ''}".lower(),
        )
        for found in record.packages
    ]  # fmt: skip
    documents = [
        h("li", link(file.path, file.name, _UP), " ", h("span", size(file.size), class_="quiet"))
        for file in one.files
        if file.kind in ("manifest", "spdx", "cyclonedx", "provenance", "pins", "changes")
    ]
    finder = h(
        "form",
        search(""),
        h("output", "", name="count", aria_live="polite"),
        class_="finder",
        role="search",
        aria_label="Packages",
        hidden=True,
    )  # fmt: skip
    return h(
        "section",
        h("h2", "Packages ", h("span", str(len(body)), class_="count"), id="packages-are"),
        finder,
        rows(
            ("Package", "Version", "Architecture", "Source"),
            body,
            class_="stack versions",
            aria_labelledby="packages-are",
        ),
        h("h3", "For programs"),
        h("ul", documents, class_="plain"),
        id="packages",
    )
