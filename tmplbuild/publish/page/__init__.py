"""The pages for people: index.html, a page of each template and of each build, and feeds.

Plain files, made with the indexes and switched with them; no server has to run anything. They work without
the script, which adds search, copying and the like. `verify` follows every link of them.
"""

from __future__ import annotations

from tmplbuild.publish.health import Health
from tmplbuild.publish.indexes import Catalog
from tmplbuild.publish.page import assets, build, feeds, overview, template
from tmplbuild.publish.page.parts import FEED, FOLDER, INDEX, Site, build_page, template_page
from tmplbuild.publish.page.records import Read, Record, record_of

ROOT_NAMES = (INDEX, FEED, FOLDER, assets.FOLDER)
"""What the pages are called at the mirror's root."""


def files(catalog: Catalog, health: Health, read: Read, now: int) -> dict[str, bytes]:
    """Every file of the pages by its path below the mirror's root.

    Parameters:
        read: gives files of the mirror (manifests and records of builds).
        now: seconds since the epoch, for what has become stale.
    """
    site = Site(catalog, _records(catalog, read), health, now)
    found = {**assets.ASSETS.files, INDEX: overview.overview(site), **feeds.feeds(site)}
    state = catalog.state
    for name in state.templates():
        if state.listed(name):
            found[template_page(name)] = template.template(site, name)
        for one in state.of(name):  # also those that an index named a while ago
            found[build_page(one)] = build.build(site, one)
    return found


def _records(catalog: Catalog, read: Read) -> dict[tuple[str, str], Record]:
    found = {}
    for name in catalog.state.templates():
        builds = catalog.state.of(name)
        for at, one in enumerate(builds):
            before = next((two for two in builds[at + 1 :] if not two.withdrawn), None)
            found[name, one.build] = record_of(one, before, read)
    return found


__all__ = ["FEED", "INDEX", "ROOT_NAMES", "Read", "files"]
