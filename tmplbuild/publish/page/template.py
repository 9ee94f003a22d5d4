"""A template's page: what it is, how each client gets it, its builds, the files of the current one."""

from __future__ import annotations

from tmplbuild.changes.text import headline
from tmplbuild.publish.indexes.vztmpl import fixed
from tmplbuild.publish.model import Build
from tmplbuild.publish.page.commands import uses
from tmplbuild.publish.page.html import Html, Piece, h
from tmplbuild.publish.page.parts import (
    INDEX,
    NOTHING,
    Site,
    build_page,
    cells,
    checksum,
    client,
    ended,
    link,
    moment,
    page,
    path,
    rows,
    state_of,
    template_feed,
    template_page,
)
from tmplbuild.publish.page.records import Record
from tmplbuild.ui.words import size

_UP = "../"
KINDS = {
    "tar.gz": "root file system",
    "tar.xz": "root file system, for LXC and Incus",
    "plain.tar.xz": "root file system, for systemd",
    "tar.zst": "root file system, for Proxmox VE",
    "squashfs": "root file system, for Incus and LXD",
    "oci": "OCI image, for Podman, Docker, skopeo",
    "lxc": "metadata for LXC",
    "incus": "metadata for Incus and LXD",
    "wsl": "for Windows",
    "manifest": "packages, pins, digests",
    "spdx": "bill of materials, SPDX 2.3",
    "cyclonedx": "bill of materials, CycloneDX 1.5",
    "provenance": "how it was built, in-toto and SLSA",
    "pins": "what it can be built again from",
    "changes": "what changed",
    "members": "pieces, for small downloads",
    "deltas": "what differs for which client",
    "patch": "the way here from the build before",
    "sums": "checksums",
    "signature": "signature of the checksums",
    "tar.gz.asc": "signature",
}


def template(site: Site, name: str) -> bytes:
    """The page of a template that has a build that is listed."""
    builds = site.catalog.state.listed(name)
    current = builds[0]
    return page(
        site,
        template_page(name),
        name,
        path(h("a", "Templates", href=f"{_UP}{INDEX}"), name),
        h(
            "div",
            h("h1", name),
            h("p", current.title, " ", ended(site, current), class_="lead"),
            class_="opening",
        ),
        h("div", _use(site, current), _facts(site, current), class_="beside"),
        _builds(site, builds),
        _files(current),
        feed=template_feed(name),
    )


def _facts(site: Site, build: Build) -> Html:
    archive = build.file("tar.gz")
    assert archive is not None
    record = site.record(build)
    found: list[tuple[str, Piece]] = [
        ("Status", state_of(site, build)),
        ("Release", f"{build.release} ({build.suite})" if build.suite != build.release else build.release),
        ("Architecture", build.arch),
        ("Variant", build.variant),
        ("Packages", str(len(record.packages)) if record.packages else None),
        ("Published", moment(build.published)),
        ("State of the archives", moment(build.epoch)),
        ("Supported until", build.eol),
        ("Size", f"{size(archive.size)} (.tar.gz)"),
        ("SHA-256", checksum(archive)),
        ("Signed by", h("code", build.key, class_="sum", data_copy=True) if build.key else "nobody"),
        ("Check", _forced(build)),
    ]
    return h(
        "aside",
        h("h2", "Facts"),
        h("dl", [h("div", h("dt", name), h("dd", what)) for name, what in found if what]),
        class_="facts",
    )


def _forced(build: Build) -> Html | None:
    """Why the check refuses a build that was published all the same."""
    if not build.forced:
        return None
    return h("details", h("summary", "refused; published all the same"), h("span", build.forced))


def _use(site: Site, build: Build) -> Html:
    found = uses(site.catalog, build)
    chips = [h("li", h("a", use.name, href=f"#use-{use.id}")) for use in found]
    return h(
        "section",
        h("h2", "Use it"),
        h("ul", chips, class_="chips", aria_label="Clients"),
        [client(use) for use in found],
        id="use",
        class_="use",
    )


def _builds(site: Site, builds: tuple[Build, ...]) -> Html:
    body = [_build(site, build, at == 0) for at, build in enumerate(builds)]
    table = rows(
        ("Build", "Published", "Changes", "Packages"), body, class_="stack", aria_labelledby="builds-are"
    )
    feed = h("p", link(template_feed(builds[0].template), "Feed of this template", _UP))
    return h("section", h("h2", "Builds", id="builds-are"), table, feed, id="builds")


def _build(site: Site, build: Build, current: bool) -> Html:
    record = site.record(build)
    marks = [
        h("span", word, class_="tag") for word in (current and "current", build.pinned and "pinned") if word
    ]
    changed = link(build_page(build), told(record), _UP)
    packages = (
        h("a", str(len(record.packages)), href=f"{_UP}{build_page(build)}#packages")
        if record.packages
        else NOTHING
    )
    return cells(
        (
            ("", (h("code", build.build), " ", marks)),
            ("Published", moment(build.published)),
            ("Changes", changed),
            ("Packages", packages),
        )
    )


def told(record: Record) -> str:
    """What a build changed, in one line."""
    return headline(record.changes) if record.changes is not None else "first build"


def _files(build: Build) -> Html:
    body = [
        cells(
            (
                ("", link(file.path, file.name, _UP)),
                ("For", KINDS.get(file.kind, file.kind)),
                ("Size", size(file.size)),
                ("SHA-256", checksum(file)),
            )
        )
        for file in sorted(
            build.files, key=lambda one: list(KINDS).index(one.kind) if one.kind in KINDS else 99
        )
    ]
    names = [h("li", link(name, name, _UP)) for name, _ in fixed(build)]
    return h(
        "section",
        h("h2", "Files", id="files-are"),
        rows(("File", "What", "Size", "SHA-256"), body, class_="stack files", aria_labelledby="files-are"),
        h("p", "Always the current build:", class_="quiet"),
        h("ul", names, class_="plain"),
        id="files",
    )
