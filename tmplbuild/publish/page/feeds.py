"""Atom feeds of what builds changed: of each template, and of all."""

from __future__ import annotations

from tmplbuild.changes.feed import Item, feed
from tmplbuild.publish.model import Build
from tmplbuild.publish.page.parts import FEED, Site, build_page, template_feed
from tmplbuild.publish.page.template import told

_MOST = 100  # entries of all templates


def feeds(site: Site) -> dict[str, bytes]:
    """Every feed by its path."""
    state = site.catalog.state
    found: dict[str, bytes] = {}
    everything: list[Build] = []
    for name in state.templates():
        builds = state.listed(name)
        everything += builds
        path = template_feed(name)
        items = [_item(site, build, "../") for build in builds]
        found[path] = feed(name, items, address=_address(site, path))
    everything.sort(key=lambda build: (build.published, build.template), reverse=True)
    items = [_item(site, build, "") for build in everything[:_MOST]]
    title = site.catalog.settings.title
    found[FEED] = feed(title, items, address=_address(site, FEED))
    return found


def _item(site: Site, build: Build, up: str) -> Item:
    record = site.record(build)
    path = build_page(build)
    return Item(
        f"{build.template}/{build.build}",
        f"{build.template} {build.build}: {told(record)}",
        build.published,
        record.changes,
        link=_address(site, path) or up + path,
    )


def _address(site: Site, path: str) -> str:
    return site.catalog.absolute(path) if site.catalog.settings.url else ""
