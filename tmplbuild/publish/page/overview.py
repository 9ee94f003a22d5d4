"""index.html: all templates, by distribution."""

from __future__ import annotations

from tmplbuild.publish.indexes import KEY
from tmplbuild.publish.model import Build
from tmplbuild.publish.page.html import Html, address, h
from tmplbuild.publish.page.parts import (
    FEED,
    INDEX,
    Site,
    build_page,
    cells,
    checksum,
    commands,
    ended,
    link,
    moment,
    page,
    rows,
    search,
    state_of,
    template_page,
)
from tmplbuild.ui.words import plural, size

_COLUMNS = ("Template", "Architecture", "Variant", "Size", "Published", "Status", "SHA-256")
_LEAD = "Root file systems for OpenVZ, Proxmox VE, Incus, LXD, LXC, systemd-nspawn, Podman, Docker and WSL."


def overview(site: Site) -> bytes:
    """The page."""
    builds = site.catalog.state.current()
    families: dict[str, list[Build]] = {}
    for build in sorted(builds, key=_order):
        families.setdefault(build.distro, []).append(build)
    title = site.catalog.settings.title
    counted = f"{plural(len(builds), 'template')} of {plural(len(families), 'distribution')}"
    return page(
        site,
        INDEX,
        title,
        h(
            "div",
            h("h1", title),
            h("p", _LEAD, class_="lead"),
            h("p", counted, ", updated ", moment(site.catalog.state.made), ".", class_="quiet"),
            class_="opening",
        ),
        _finder(site, builds),
        [_family(site, name, found) for name, found in families.items()],
        None if builds else h("p", "Nothing is served at the moment.", class_="lead"),
        h(
            "p",
            "No template fits.",
            " ",
            h("button", "Show all", type="button", id="all"),
            id="none",
            hidden=True,
        ),
        _trust(site),
    )


def _order(build: Build) -> tuple[object, ...]:
    """By distribution, the newest release first, then variant and architecture."""
    numbers = tuple(-int(part) if part.isdigit() else 0 for part in build.release.split("."))
    return (build.distro, numbers, build.release, build.variant != "default", build.variant, build.arch)


def _finder(site: Site, builds: tuple[Build, ...]) -> Html:
    """Search and filter: shown by the script, which does the work."""
    states = [site.health.word(build, site.now) for build in builds]
    return h(
        "form",
        search("debian 12, arm64, wsl"),
        _choice("distro", "Distribution", [build.distro for build in builds]),
        _choice("arch", "Architecture", [build.arch for build in builds]),
        _choice("variant", "Variant", [build.variant for build in builds]),
        _choice("status", "Status", states),
        h("output", "", name="count", aria_live="polite"),
        class_="finder",
        role="search",
        aria_label="Templates",
        hidden=True,
    )


def _choice(name: str, label: str, values: list[str]) -> Html | None:
    known = sorted(set(values))
    if len(known) < 2:
        return None  # nothing to choose from
    options = [h("option", "any", value=""), *(h("option", one, value=one) for one in known)]
    return h("label", h("span", label), h("select", options, name=name))


def _family(site: Site, distro: str, builds: list[Build]) -> Html:
    body = [_row(site, build) for build in builds]
    return h(
        "section",
        h("h2", _called(builds), " ", h("span", str(len(builds)), class_="count"), id=f"family-{distro}"),
        rows(_COLUMNS, body, class_="stack templates", aria_labelledby=f"family-{distro}"),
        class_="family",
        data_distro=distro,
    )


def _called(builds: list[Build]) -> str:
    """What people call a distribution: a title's words before the release, if there are any."""
    name = builds[0].title.partition(builds[0].release)[0].strip(" -")
    return name.capitalize() if name.islower() else name or builds[0].distro.capitalize()


def _row(site: Site, build: Build) -> Html:
    archive = build.file("tar.gz")
    assert archive is not None
    state = site.health.word(build, site.now)
    more = [
        h("a", "Commands", href=f"{address(template_page(build.template))}#use"),
        link(build_page(build), "Changes", ""),
    ]
    name = (
        link(template_page(build.template), build.template, "", class_="name"),
        h("span", build.title, ended(site, build), class_="title"),
        h("span", more, class_="more"),
    )
    words = (build.template, build.title, build.release, build.suite, build.arch, build.variant)
    return cells(
        (
            ("", name),
            ("Architecture", build.arch),
            ("Variant", build.variant),
            ("Size", size(archive.size)),
            ("Published", moment(build.published, short=True)),
            ("Status", state_of(site, build)),
            ("SHA-256", checksum(archive)),
        ),
        data_words=" ".join(words).lower(),
        data_distro=build.distro,
        data_arch=build.arch,
        data_variant=build.variant,
        data_status=state,
    )


def _trust(site: Site) -> Html:
    """How what is served can be verified."""
    key = site.catalog.settings.key
    base = site.catalog.settings.url or "https://MIRROR"
    feed = h(
        "p", "What changes is told by a ", link(FEED, "feed", ""), " of all templates, and by one of each."
    )
    if not site.catalog.key:
        told = [h("p", "Nothing here is signed: checksums tell of damage, but not who made a file.")]
        check = commands((f"tmplbuild verify {base}",), "Verify this mirror")
    else:
        grouped = " ".join(key[at : at + 4] for at in range(0, len(key), 4))
        told = [
            h(
                "p",
                "Every index and every build is signed by one OpenPGP key. Compare its fingerprint with one ",
                "that you have from elsewhere, not with ",
                link(KEY, "the certificate", ""),
                " that lies here:",
            ),
            h("p", h("code", grouped, class_="key", data_copy=True)),
        ]
        check = commands((f"tmplbuild verify {base} --key {key}",), "Verify this mirror")
    return h(
        "section", h("h2", "Trust"), told, h("p", "The whole mirror is checked by:"), check, feed, id="trust"
    )
