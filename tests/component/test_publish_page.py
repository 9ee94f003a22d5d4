"""The pages of a mirror, read by Chromium: with scripts and without, light and dark, on a phone and a screen.

TMPLBUILD_TEST_PICTURES=DIR keeps a picture of each, to be looked at.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.browser import Browser, browser
from tests.conftest import Places
from tests.page_mirror import FAILING, FOREIGN, HOSTILE, STALE, make, web
from tests.publishing import NAME, Gpg, Press, needs
from tmplbuild.changes.feed import ATOM

PICTURES = os.environ.get("TMPLBUILD_TEST_PICTURES")
WIDTHS = (1280, 360)
SCHEMES = ("light", "dark")

# Of every text that is seen: the ratio of its colour to what is painted behind it (WCAG 2.2, 1.4.3).
_CONTRAST = """
const numbers = (colour) => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d");
  canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const over = (top, below) => {
  const a = top[3] / 255;
  return [0, 1, 2].map((at) => top[at] * a + below[at] * (1 - a)).concat(255);
};
const behind = (node) => {
  const layers = [];
  for (let at = node; at; at = at.parentElement) layers.push(numbers(getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 255]);
};
const light = (rgb) => {
  const linear = (one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
  const [r, g, b] = rgb.map((one) => linear(one / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest(".unseen, .skip")) continue;
  const back = behind(node), front = over(numbers(getComputedStyle(node).color), back);
  const [high, low] = [light(front), light(back)].sort((a, b) => b - a);
  found.push([(high + 0.05) / (low + 0.05), walker.currentNode.data.trim().slice(0, 40)]);
}
return found;
"""

# What a reader of the page by ear, or by keyboard, has to find.
_ACCESS = """
const faults = [];
const named = (node) => node.getAttribute("aria-label") || node.getAttribute("aria-labelledby")
  || node.textContent.trim() || (node.labels && node.labels.length);
for (const tag of ["header", "main", "footer", "h1"]) {
  if (document.querySelectorAll(tag).length !== 1) faults.push(`not one ${tag}`);
}
for (const node of document.querySelectorAll("a, button, input, select, nav, table, form, [role=region]")) {
  if (!named(node)) faults.push(`no name: ${node.outerHTML.slice(0, 90)}`);
}
for (const node of document.querySelectorAll("[aria-labelledby]")) {
  if (!document.getElementById(node.getAttribute("aria-labelledby"))) faults.push(`no label: ${node.id}`);
}
const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
if (new Set(ids).size !== ids.length) faults.push("an id is there twice");
let last = 1;
for (const node of document.querySelectorAll("h1, h2, h3")) {
  const level = Number(node.tagName[1]);
  if (level > last + 1) faults.push(`a level is left out before ${node.textContent}`);
  last = level;
}
for (const table of document.querySelectorAll("table")) {
  if (!table.querySelector("th[scope=col]") || table.getAttribute("role") !== "table") faults.push("a table");
}
if (!document.documentElement.lang || !document.title) faults.push("language or title");
return faults;
"""


@pytest.fixture(scope="module")
def press(places: Places) -> Iterator[Press]:
    needs("gpg", "gpg")
    place = places("page")
    gpg = Gpg(place / "gnupg")
    yield make(place / "press", gpg, url=None, formats=["tar.xz", "tar.zst", "oci", "lxc", "incus", "wsl"])
    gpg.forget()


@pytest.fixture(scope="module")
def site(press: Press) -> Iterator[str]:
    with web(press.mirror) as address:
        yield address


@pytest.fixture(scope="module")
def window(places: Places) -> Iterator[Browser]:
    with browser(places("browser")) as made:
        yield made


def pages(press: Press) -> dict[str, str]:
    """One page of each kind, and that of hostile words."""
    state = press.state()
    builds = {name: state.listed(name)[0].build for name in (NAME, FOREIGN)}
    return {
        "index": "index.html",
        "template": f"templates/{NAME}.html",
        "build": f"templates/{NAME}/{builds[NAME]}.html",
        "hostile": f"templates/{FOREIGN}/{builds[FOREIGN]}.html",
    }


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "plain"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_every_kind_of_page_is_sound(
    press: Press, site: str, window: Browser, width: int, scheme: str, scripts: bool
) -> None:
    for name, path in pages(press).items():
        window.look(width=width, scheme=scheme, scripts=scripts, still=True)
        window.open(f"{site}/{path}")
        if PICTURES:
            place = Path(PICTURES) / f"{name}-{width}-{scheme}-{'scripts' if scripts else 'plain'}.png"
            window.picture(place)
        assert window.run("return document.documentElement.scrollWidth") <= width, name
        assert window.run(_ACCESS) == [], name
        texts = window.run(_CONTRAST)
        assert len(texts) > 20
        assert [one for one in texts if one[0] < 4.5] == [], name
        assert window.complaints() == [], name
        dark = window.run("return getComputedStyle(document.body).backgroundColor") == "rgb(19, 22, 24)"
        assert dark == (scheme == "dark")
        assert window.run("return !!document.querySelector('.finder:not([hidden])')") == (
            scripts and name != "template"
        )


def test_without_a_server_too(press: Press, window: Browser) -> None:
    window.look(width=1280)
    window.open(f"file://{press.mirror.resolve()}/index.html")
    assert window.run("return document.styleSheets.length") == 1
    assert window.run("return !document.querySelector('.finder').hidden")
    assert window.complaints() == []


def seen(window: Browser) -> list[str]:
    """The templates that are shown."""
    rows = "[...document.querySelectorAll('.templates tbody tr')].filter((row) => row.checkVisibility())"
    found: list[str] = window.run(f"return {rows}.map((row) => row.querySelector('.name').textContent)")
    return found


def test_search_and_filter(site: str, window: Browser) -> None:
    window.look(width=1280)
    window.open(f"{site}/index.html")
    assert len(seen(window)) == 11
    window.keys("/")  # the key for it
    window.keys("bookworm debian")
    assert seen(window) == [NAME, "debian-12-aarch64", "debian-12-x86", "debian-12-wsl-x86_64"]
    assert window.run("return document.querySelector('output').value") == "4 of 11 templates"
    assert (
        window.run("return [...document.querySelectorAll('.family')].filter((one) => !one.hidden).length")
        == 1
    )
    choose = "const one = document.querySelector(`select[name=${arguments[0]}]`); one.value = arguments[1];"
    choose += "one.dispatchEvent(new Event('input', {bubbles: true}))"
    window.run(choose, "arch", "arm64")
    assert seen(window) == ["debian-12-aarch64"]
    window.open(window.run("return location.href"))  # the address tells what was looked for
    assert seen(window) == ["debian-12-aarch64"]
    window.run(choose, "status", "failing")
    assert seen(window) == []
    assert window.run("return document.getElementById('none').checkVisibility()")
    window.click("#all")
    assert len(seen(window)) == 11
    window.run(choose, "status", "failing")
    assert seen(window) == [FAILING]
    window.open(f"{site}/index.html?status=stale")
    assert seen(window) == [STALE]
    assert window.complaints() == []


def test_packages_are_searched(press: Press, site: str, window: Browser) -> None:
    window.look(width=360)
    window.open(f"{site}/{pages(press)['build']}?q=libssl3")
    assert window.run("return document.querySelector('output').value") == "1 of 100 packages"


def test_copying(press: Press, site: str, window: Browser) -> None:
    """By the clipboard where the browser lets a page have it, by the older way where not."""
    window.look(width=1280)
    archive = press.state().listed(NAME)[0].file("tar.gz")
    assert archive is not None
    for allowed in (True, False):
        window.open(f"{site}/index.html")
        grant = {"permission": {"name": "clipboard-write"}, "setting": "granted" if allowed else "denied"}
        window.devtools("Browser.setPermission", origin=site, **grant)
        window.devtools(
            "Browser.setPermission", origin=site, permission={"name": "clipboard-read"}, setting="granted"
        )
        window.click(f'tr[data-words^="{NAME} "] .copy')
        said = (
            "const said = document.getElementById('said'); return new Promise((done) => { const look = () => "
        )
        said += "said.textContent ? done(said.textContent) : setTimeout(look, 10); look(); })"
        assert window.run(said) == "Copied: SHA-256"
        assert window.run("return navigator.clipboard.readText()") == archive.sha256


def test_commands_of_one_client(press: Press, site: str, window: Browser) -> None:
    window.look(width=1280)
    window.open(f"{site}/{pages(press)['template']}")
    clients = "[...document.querySelectorAll('.client')].filter((one) => one.checkVisibility())"
    shown = f"return {clients}.map((one) => one.id)"
    window.click('a[href="#use-proxmox"]')
    assert window.run(shown) == ["use-proxmox"]
    text = window.run("return document.querySelector('#use-proxmox pre').textContent")
    assert f"--url {site}/images/debian/12/amd64/default/" in text  # the address under which the page is read
    window.open(f"{site}/templates/{FAILING}.html")  # the choice is remembered
    assert window.run(shown) == ["use-proxmox"]
    window.open(f"{site}/{pages(press)['template']}#use-curl")
    assert window.run(shown) == ["use-curl"]
    window.look(width=1280, scripts=False)
    window.open(f"{site}/{pages(press)['template']}")
    assert len(window.run(shown)) == 11


def test_the_keyboard_alone(site: str, window: Browser) -> None:
    window.look(width=1280)
    window.open(f"{site}/index.html")
    window.keys("\ue004")
    assert window.run("return document.activeElement.className") == "skip"
    assert window.run("return document.activeElement.getBoundingClientRect().top") >= 0  # it comes into sight
    window.keys("\ue007\ue004")
    assert window.run("return document.activeElement.name") == "q"
    outline = window.run("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_the_theme_is_the_readers(site: str, window: Browser) -> None:
    window.look(width=1280, scheme="light")
    window.open(f"{site}/index.html")
    colour = "return getComputedStyle(document.body).backgroundColor"
    window.click(".theme")
    window.click(".theme")
    assert window.run(colour) == "rgb(19, 22, 24)"
    window.open(f"{site}/index.html")
    assert window.run(colour) == "rgb(19, 22, 24)"
    window.click(".theme")
    assert window.run(colour) == "rgb(247, 246, 243)"


def test_nothing_moves_where_the_reader_wants_it_so(site: str, window: Browser) -> None:
    for still, moves in ((True, "0s"), (False, "0.12s")):
        window.look(width=1280, still=still)
        window.open(f"{site}/index.html")
        found = window.run("return getComputedStyle(document.querySelector('.brand')).transitionDuration")
        assert found.split(",")[0] == moves


def test_what_was_fresh_is_stale_by_the_readers_clock(site: str, window: Browser) -> None:
    window.look(width=1280)
    script = window.devtools(
        "Page.addScriptToEvaluateOnNewDocument",
        source="const real = Date.now; Date.now = () => real() + 31 * 864e5",
    )
    try:
        window.open(f"{site}/index.html")
        row = f"document.querySelector('tr[data-words^=\"{NAME} \"]')"
        assert window.run(f"return {row}.dataset.status") == "stale"
        assert window.run(f"return {row}.querySelector('.badge').textContent") == "Stale"
    finally:
        window.devtools("Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"])


# -- what the pages say, without a browser -----------------------------------------------------------


def test_states_and_what_follows(press: Press) -> None:
    text = (press.mirror / "index.html").read_text()
    rows = {name: text.partition(f">{name}</a>")[2].partition("</tr>")[0] for name in (NAME, STALE, FAILING)}
    assert "Fresh" in rows[NAME]
    assert "no new build for 44 days" in rows[STALE]
    assert "in upgrade, 3 times; the last good build is shown" in rows[FAILING]
    assert "mirror.internal" not in text  # what failed in detail is nobody's business
    assert "support ended 2026-08-31" in text


def test_the_page_follows_what_the_nights_bring(press: Press, tmp_path: Path) -> None:
    """A failure alone, or its end, or time, makes a new page; nothing new makes none."""
    now = int(time.time())
    mirror = Path(shutil.copytree(press.mirror, tmp_path / "mirror", symlinks=True))
    records = press.settings.state_dir / "records"
    kept = shutil.copytree(records, tmp_path / "records")

    def serial(at: int) -> int:
        press.publish(to=mirror, now=at)
        return int(json.loads((mirror / "index.json").read_bytes())["serial"])

    try:
        first = serial(now)
        assert serial(now) == first
        (records / f"{FAILING}.failed.json").unlink()
        assert serial(now) == first + 1
        assert "Failing" not in (mirror / "index.html").read_text()
        assert serial(now + 60) == first + 1
        assert serial(now + 31 * 86400) == first + 2
        assert "Fresh" not in (mirror / "index.html").read_text()
    finally:
        shutil.copytree(kept, records, dirs_exist_ok=True)


def test_hostile_names_are_only_text(press: Press) -> None:
    for path in (press.mirror / "templates").rglob("*.html"):
        text = path.read_text()
        assert "<script>" not in text
        assert "onerror=alert(1)>" not in text
        assert "\u202e" not in text
    hostile = (press.mirror / pages(press)["hostile"]).read_text()
    assert "&lt;script&gt;document.title=&#x27;owned&#x27;&lt;/script&gt;" in hostile
    assert "<td></table>" not in hostile
    assert HOSTILE not in hostile


def test_feeds(press: Press, tmp_path: Path) -> None:
    root = ElementTree.fromstring((press.mirror / "feed.atom").read_bytes())
    entries = root.findall(f"{{{ATOM}}}entry")
    assert len(entries) == 31
    dates = [entry.findtext(f"{{{ATOM}}}updated") for entry in entries]
    assert dates == sorted(dates, reverse=True)  # type: ignore[type-var]
    one = ElementTree.fromstring((press.mirror / f"templates/{NAME}.atom").read_bytes())
    newest = one.find(f"{{{ATOM}}}entry")
    assert newest is not None
    assert "CVE-2026-1234" in newest.findtext(f"{{{ATOM}}}content", "")
    link = newest.find(f"{{{ATOM}}}link")
    assert link is not None
    assert (press.mirror / "templates" / link.get("href", "")).is_file()


def test_every_link_of_every_page_and_index_leads_somewhere(press: Press) -> None:
    """`verify` is the link checker; it finds what is taken away."""
    done = press.run("verify", str(press.mirror), "--json")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout.splitlines()[-1])["pages"] == 1 + 11 + 31


def test_nothing_of_a_page_is_elsewhere(press: Press) -> None:
    for path in [press.mirror / "index.html", *(press.mirror / "templates").rglob("*.html")]:
        for _, value in re.findall(r'(src|href)="([^"]*)"', path.read_text()):
            assert "://" not in value
            assert not value.startswith("//")
