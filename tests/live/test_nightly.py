"""Three templates over some nights: built at once, unchanged, moved, and each in trouble of its own kind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.archive_factory import ArchiveFactory, Deb
from tests.archive_server import ArchiveServer
from tests.conftest import Places
from tests.live.conftest import SMALL
from tests.priorities import IDLE, Standing, watched
from tests.workshop import Run, Workshop
from tmplbuild.managers import dpkg

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.live, pytest.mark.slow]

NAMES = ("night-one", "night-two", "night-three")
UNIT = "[Unit]\nDescription=bad\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/false\n"


def tool(name: str, version: str, **more: Any) -> Deb:
    return Deb(
        name, version=version, files={f"/usr/bin/{name}": f"#!/bin/sh\necho {version}\n".encode()}, **more
    )


BAD_POSTINST = {"postinst": "#!/bin/sh\necho the moon is full >&2\nexit 1\n"}


def bad_boot(version: str) -> Deb:
    """A package whose service fails at every boot."""
    return Deb(
        "tool-three",
        version=version,
        files={"/lib/systemd/system/tool-three.service": UNIT.encode()},
        links={
            "/lib/systemd/system/multi-user.target.wants/tool-three.service": "../tool-three.service",
        },
    )


class Nights:
    """A workshop with three recipes that take a tool each from an archive of the test's own."""

    def __init__(self, place: Path, packages: Path) -> None:
        self.shop = Workshop(place / "shop", packages)
        self.archive = ArchiveFactory(place / "archive")
        self.recipes = self.shop.place / "recipes"
        self._date = time.time() - 86400
        self.debs = [tool("tool-one", "1"), tool("tool-two", "1"), tool("tool-three", "1"), tool("more", "1")]
        self.write()

    def write(self, *debs: Deb) -> None:
        """The archive's next state: these take the place of those of the same name."""
        new = {deb.name: deb for deb in debs}
        old = {deb.filename for deb in self.debs}
        self.debs = [new.get(deb.name, deb) for deb in self.debs]
        self._date += 600
        self.archive.suite("stable", self.debs, date=self._date)
        for name in old - {deb.filename for deb in self.debs}:
            (self.archive.root / name).unlink()  # as a mirror does after a while

    def start(self, server: ArchiveServer) -> None:
        """Write recipes and settings."""
        for word in ("one", "two", "three"):
            self.recipe(word, server.url)
        self.archive.key.export(self.recipes / "night" / "keys")
        self.settings()

    def recipe(self, word: str, url: str, more: str = "") -> None:
        packages = f'"procps", "tool-{word}"{more}]'
        text = SMALL.replace('"procps"]', packages).replace("small-12", f"night-{word}")
        self.shop_recipe(word).write_text(
            f'{text}[archives.local]\nmirrors = ["{url}"]\npublic = "http://archive.invalid/local"\n'
            f'suites = ["stable"]\ncomponents = ["main"]\nown_keys = true\n'
            f'keys = ["{self.archive.key.fingerprint}"]\n'
        )

    def shop_recipe(self, word: str) -> Path:
        path = self.recipes / "night" / f"{word}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def settings(self, more: str = "") -> None:
        mail = self.shop.place / "mail"
        text = (
            '[nightly]\nrecipes = ["night-*"]\nnice = 1\nionice = "idle"\n'
            f'metrics = "{self.shop.place}/tmplbuild.prom"\n'
            f"""command = ["sh", "-c", 'echo "$TMPLBUILD_SUBJECT" >> {mail}; cat >> {mail}']\n{more}"""
        )
        (self.shop.place / "settings.toml").write_text(text)

    def tmplbuild(self, *words: str) -> Run:
        general = ("--recipes", str(self.recipes), "--config", str(self.shop.place / "settings.toml"))
        return self.shop.run(*general, *words)

    def nightly(self, *words: str, status: int = 0) -> dict[str, Any]:
        """`nightly --json`; its report's rows by recipe."""
        done = self.tmplbuild("nightly", "--json", *words)
        assert done.status == status, done.err + done.out[-3000:]
        assert "Traceback" not in done.err
        self.events = done.events
        self.report = done.events[-1]["report"]
        assert self.shop.remains() == {}
        return {row["recipe"]: row for row in self.report["templates"]}

    def mail(self) -> str:
        """What the command was given since the last time."""
        path = self.shop.place / "mail"
        text = path.read_text() if path.exists() else ""
        path.unlink(missing_ok=True)
        return text

    def published(self) -> dict[str, tuple[int, int]]:
        """Inode and time of change of all that is in the template cache."""
        return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in self.shop.templates.iterdir()}

    def records(self) -> dict[str, int]:
        """When each record of a build was written."""
        return {p.name: p.stat().st_mtime_ns for p in (self.shop.place / "state/records").iterdir()}


@pytest.fixture(scope="module")
def nights(places: Places, packages: Path) -> Nights:
    return Nights(places("nights"), packages)


@pytest.fixture(scope="module")
def server(nights: Nights) -> Iterator[ArchiveServer]:
    with nights.archive.serve() as server:
        nights.start(server)
        yield server


def gives_way(started: dict[int, Standing]) -> None:
    """Builds, and all that runs in their VEs, are as nice as the settings say."""
    rows = [one for one in started.values() if one.name != "ionice"]
    names = {one.name for one in rows}
    assert {"tmplbuild-ve", "systemd", "dpkg"} <= names
    assert [one for one in rows if one.nice < 1 or one.disk != IDLE] == []


@pytest.mark.usefixtures("server")
def test_the_first_night_builds_all_and_shares_what_they_have_in_common(nights: Nights) -> None:
    with watched("nightly") as started:
        rows = nights.nightly("--jobs", "2")
    assert {name: row["outcome"] for name, row in rows.items()} == dict.fromkeys(NAMES, "built")
    gives_way(started)
    stages = [e["of"] for e in nights.events if e["event"] == "template_event"]
    bases = [e for e in stages if e["event"] == "stage_done" and e["stage"] == "bootstrap"]
    assert [e["cached"] for e in bases].count(False) == 1  # the others waited for it, or came later
    assert "3 built" in nights.mail()
    text = (nights.shop.place / "tmplbuild.prom").read_text()
    assert 'tmplbuild_template_failed{template="night-one-x86_64"} 0' in text
    assert list((nights.shop.place / "state/reports").glob("*.json"))
    assert nights.tmplbuild("status").status == 0


def test_a_night_without_news_writes_nothing_and_asks_each_archive_once(
    nights: Nights, server: ArchiveServer
) -> None:
    before = (nights.published(), nights.records())
    asked = len(server.asked("InRelease"))
    done = nights.tmplbuild("nightly", "--quiet-unchanged")
    assert (done.status, done.out, done.err) == (0, "", "")
    assert len(server.asked("InRelease")) == asked + 1  # for three templates
    assert (nights.published(), nights.records()) == before
    assert nights.mail() == ""
    # signed anew, with the same packages
    nights.write()
    rows = nights.nightly()
    assert {row["outcome"] for row in rows.values()} == {"unchanged"}
    assert (nights.published(), nights.records()) == before


def test_a_bad_night_loses_nothing(nights: Nights, server: ArchiveServer) -> None:
    """One template is updated and gets a package more, one has a postinst that fails, one does not boot."""
    before = nights.published()
    nights.recipe("one", server.url, ', "more"')
    nights.write(tool("tool-one", "2"), tool("tool-two", "2", scripts=BAD_POSTINST), bad_boot("2"))
    looked = nights.tmplbuild("status")
    assert looked.status == 2
    rows = nights.nightly(status=1)
    assert {name: row["outcome"] for name, row in rows.items()} == {
        "night-one": "updated",
        "night-two": "failed",
        "night-three": "failed",
    }
    # the added package was installed by the update, as one that was asked for
    ran = [row["name"] for row in rows["night-one"]["stages"] if not row["cached"]]
    assert ran[0] == "upgrade"
    with nights.shop.tree("night-one-x86_64", "clean-again") as tree:
        assert "echo 2" in tree.read_text("/usr/bin/tool-one")
        assert tree.exists("/usr/bin/more")
        assert {"more", "tool-one"} <= {one.name for one in dpkg.installed(tree)}
        assert not automatic(tree.read_text("/var/lib/apt/extended_states"), "more")
    # the others are as they were
    after = nights.published()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"night-one-x86_64.tar.gz", "night-one-x86_64.manifest.json"}
    assert "the moon is full" in str(rows["night-two"]["error"])
    assert "tool-three.service" in str(rows["night-three"]["error"])
    text = nights.mail()
    for words in ("2 failed", "the moon is full", "06-upgrade.log", "night-two-x86_64.tar.gz, built"):
        assert words in text
    assert nights.tmplbuild("status").status == 1
    why = nights.tmplbuild("why", "night-two").out
    assert "is failing" in why
    assert "upgrade: failed or was interrupted in the last run" in why


@pytest.mark.usefixtures("server")
def test_after_a_failure_nothing_new_is_no_answer(nights: Nights) -> None:
    rows = nights.nightly("night-two", status=1)
    assert rows["night-two"]["outcome"] == "failed"
    assert rows["night-two"]["failure"]["times"] == 2
    ran = [e["of"]["stage"] for e in nights.events if e["event"] == "template_event" and "reason" in e["of"]]
    assert "upgrade" in ran


def test_archives_that_move_during_a_build_are_read_once_more(nights: Nights, server: ArchiveServer) -> None:
    """And all is well again in the morning."""
    nights.write(tool("tool-two", "3"), tool("tool-three", "3"))
    server.once("tool-two_3", lambda: nights.write(tool("tool-two", "4")))  # the mirror is updated just then
    rows = nights.nightly("--jobs", "1")
    assert [rows[name]["outcome"] for name in NAMES] == ["unchanged", "updated", "updated"]
    assert "the archives moved during the build" in str(rows["night-two"]["warnings"])
    with nights.shop.tree("night-two-x86_64", "clean-again") as tree:
        assert "echo 4" in tree.read_text("/usr/bin/tool-two")
    assert nights.tmplbuild("status").status in (0, 2)  # those that were looked at before it moved
    assert {row["outcome"] for row in nights.nightly().values()} == {"unchanged"}
    assert nights.tmplbuild("status").status == 0


def test_archives_that_keep_moving_end_in_one_clear_error(nights: Nights, server: ArchiveServer) -> None:
    before = nights.published()
    nights.write(tool("tool-two", "5"))
    server.once("tool-two_5", lambda: nights.write(tool("tool-two", "6")))
    server.once("tool-two_6", lambda: nights.write(tool("tool-two", "7")))
    rows = nights.nightly("night-two", status=1)
    assert rows["night-two"]["error"]["exit_code"] == 5
    assert "keep moving" in rows["night-two"]["error"]["what"]
    assert nights.published() == before
    assert nights.nightly("night-two")["night-two"]["outcome"] == "updated"


def test_a_template_that_grows_old_is_an_alarm_although_nobody_failed(nights: Nights) -> None:
    nights.settings("stale_after_days = 1\n")
    path = nights.shop.place / "state/records/night-one-x86_64.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "made": time.time() - 2 * 86400}))
    rows = nights.nightly("night-one", status=1)
    assert (rows["night-one"]["outcome"], rows["night-one"]["stale"]) == ("unchanged", True)
    nights.mail()
    done = nights.tmplbuild("nightly", "--quiet-unchanged")
    assert done.status == 1
    assert "last good build 2 days ago" in done.out
    assert "stale" in nights.mail()
    status = nights.tmplbuild("status", "--json", "--offline")
    assert status.status == 1
    states = {row["recipe"]: row["state"] for row in json.loads(status.out)["templates"]}
    assert states["night-one"] == "stale"
    assert (
        'tmplbuild_template_stale{template="night-one-x86_64"} 1'
        in (nights.shop.place / "tmplbuild.prom").read_text()
    )


def test_killed_in_the_middle_the_builds_are_gone_too_and_the_next_run_ends_well(
    nights: Nights, server: ArchiveServer
) -> None:
    nights.settings()
    nights.write(tool("tool-one", "8"), tool("tool-three", "8"))
    argv = nights.shop.argv(
        *("--recipes", str(nights.recipes), "--config", str(nights.shop.place / "settings.toml")),
        *("nightly", "--json"),
    )
    process = subprocess.Popen(
        argv, env=nights.shop.env, cwd=nights.shop.place, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "template_event" and event["of"]["event"] == "stage_started":
            break
    second = nights.tmplbuild("nightly")
    assert second.status == 9
    assert f"process {process.pid} holds the lock since" in second.err
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    rows = nights.nightly()
    assert {row["outcome"] for row in rows.values()} <= {"updated", "unchanged"}
    with nights.shop.tree("night-one-x86_64", "clean-again") as tree:
        assert "echo 8" in tree.read_text("/usr/bin/tool-one")
    assert not [name for name in os.listdir(nights.shop.templates) if name.startswith(".")]


def automatic(states: str, package: str) -> bool:
    """Whether apt's extended_states calls a package automatically installed."""
    for stanza in states.split("\n\n"):
        if f"Package: {package}\n" in f"{stanza}\n":
            return "Auto-Installed: 1" in stanza
    return False
